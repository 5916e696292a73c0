"""Rule files of postfwd, versions 1 to 3. Characters become a syntax tree in `grammar`, that a draft in `translate`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.importing.formats import Format
from forkpolicy.importing.postfwd.grammar import Grammar
from forkpolicy.importing.postfwd.original import original
from forkpolicy.importing.postfwd.program import Program
from forkpolicy.importing.postfwd.translate import Translator
from forkpolicy.importing.source import read_source

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs

# An action, a name of a rule or a macro: no other format has them at these places.
_RULES = re.compile(r"(?m)^\s*(?:[^#\n]*;)?\s*(?:action\s*=|id\s*=|&&[\w-]+\s*[{;])")


def read(inputs: Inputs, draft: Draft) -> None:
    """All files as one rule set, in the order in which they are named. Raises ConfigError."""
    grammar = Grammar()
    nodes = [node for path in inputs.paths for node in grammar.nodes(read_source(path, inputs.files))]
    Translator(Program(nodes), draft, inputs.files).translate()


def looks_like(text: str) -> bool:
    """Whether a text is a rule file of postfwd."""
    return bool(_RULES.search(text))


def same_reply(theirs: str, ours: str) -> bool:
    """Postfix folds the first word, and blanks in a row are one here."""
    return _folded(theirs) == _folded(ours)


def _folded(reply: str) -> list[str]:
    first, *rest = reply.split() or [""]
    return [first.upper(), *rest]


FORMAT = Format("postfwd", "postfwd, versions 1 to 3", read, looks_like, original, same_reply=same_reply)
