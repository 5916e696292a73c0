"""What is exact here and was searched for by apolicy: names, dots and brackets in values of address and host ACLs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.expression_signs import is_regex
from forkpolicy.policy.matchers.foreign import PIECES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.nodes import Word

# As texts, see foreign.py. `bar.com` inside an expression: a dot between a name and what looks like a label.
BEFORE_DOT = r"[A-Za-z0-9)\]-]"
AFTER_DOT = r"[A-Za-z]{2,}(?![A-Za-z]*[*+?{\[])|\((?:\?:)?[A-Za-z]{2,}[A-Za-z|]*\)"
LITERAL = r"(?i)(?P<local>[^\s\[\]]+@)?\[(?:IPv6:)?[0-9A-Fa-f:.]+\]"
# Names without a dot that are meant as they are.
WHOLE_NAMES = frozenset({"unknown", "localhost", "<>"})


def searched_for_warnings(words: Sequence[Word]) -> Iterator[Diagnostic]:
    """Warnings about the values of an ACL, as they stand in the policy."""
    for word in words:
        text = word.text
        if re.fullmatch(LITERAL, text):
            message = f"{text} is an expression here: whatever has one of the characters between the brackets"
            yield word.warning(message, f"the address literal itself is {_escaped(text)}")
        elif is_regex(text):
            yield from _dots(word)
        elif not text.startswith(("table:", "{", "/")) and not set(text) & set(".@") and text not in WHOLE_NAMES:
            message = f'"{text}" is the whole name here; apolicy would have searched for it'
            yield word.warning(message, f"to search for it, write /{text}/")


def _escaped(literal: str) -> str:
    return "/^" + re.sub(r"([\[\].+])", r"\\\1", literal) + "$/"


def _dots(word: Word) -> Iterator[Diagnostic]:
    pieces = re.findall(PIECES, word.text)
    for at, piece in enumerate(pieces):
        if piece == "." and at and re.fullmatch(BEFORE_DOT, pieces[at - 1][-1]) and not pieces[at - 1].startswith("\\"):
            pieces[at] = r"\." if re.match(AFTER_DOT, "".join(pieces[at + 1 :])) else "."
    escaped = "".join(pieces)
    if escaped != word.text:
        yield word.warning("a dot in an expression is any character", f"for the dot of a domain, write {escaped}")
