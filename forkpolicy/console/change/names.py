"""What may stand at a place of a draft: words of the language, and names of the policy and of the draft. Pure.

By the statement and the words in front of the cursor; what was begun there is completed. The draft itself need not be
right: its own names are taken from its lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.policy.matchers.types import EXAMPLES, TYPES
from forkpolicy.policy.restricted import REFUSED_TYPES
from forkpolicy.protocol.attributes import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.policy.model import Model

MOST: Final = 50
# What `include ... restricted` lets through.
STATEMENTS: Final = ("access", "acl", "action")
REPLIES: Final = ("DUNNO", "REJECT", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "450", "550", "WARN", "log")
_WORD: Final = re.compile(r"\S*$")
_BRACE: Final = re.compile(r"\{([\w.]*)$")
_DECLARED: Final = re.compile(r"^\s*(acl|action)\s+(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Suggestions:
    """`names` in place of the characters `begin` to `end` of the text (from 0)."""

    begin: int
    end: int
    names: tuple[str, ...]


def suggest(text: str, at: int, model: Model | None) -> Suggestions:
    """What may stand at that character. `model`: the policy as it is in the files; None where it fails to load."""
    at = max(0, min(at, len(text)))
    statement = _statement(text[:at])
    found = _WORD.search(statement)
    begun = found[0] if found else ""
    words = statement[: len(statement) - len(begun)].split()
    known = _Known(text, model)
    if words[:1] == ["action"] and (brace := _BRACE.search(begun)):
        begun, names = brace[1], known.attributes
    else:
        begun, names = _after_mark(begun, words), known.names(words, begun)
    chosen = sorted({name for name in names if name.lower().startswith(begun.lower()) and name != begun})
    return Suggestions(at - len(begun), at, tuple(chosen[:MOST]))


def _statement(before: str) -> str:
    """The statement that a cursor is in, up to it: a line and those that it continues."""
    lines = before.split("\n")
    first = len(lines) - 1
    while first and lines[first][:1].isspace():
        first -= 1
    kept = [line for line in lines[first:-1] if line.lstrip()[:1] not in ("#", ";")]
    return " ".join([*kept, lines[-1]])


def _after_mark(begun: str, words: list[str]) -> str:
    """What of a word is the name: behind a `!`, a comma."""
    if words[:1] == ["access"]:
        return begun.removeprefix("!")
    return begun.rpartition(",")[2] if words[:1] == ["acl"] else begun


class _Known:
    """Names of the policy and of the draft."""

    def __init__(self, text: str, model: Model | None) -> None:
        own = [(kind.lower(), name) for kind, name in _DECLARED.findall(text)]
        self._acls = {*(model.acls if model else ()), *(name for kind, name in own if kind == "acl")}
        self._actions = {*(model.actions if model else ()), *(name for kind, name in own if kind == "action")}
        self._tables = {f"table:{name}": table.kind for name, table in (model.tables if model else {}).items()}
        self.attributes: Iterable[str] = ATTRIBUTES

    def names(self, words: list[str], begun: str) -> Iterator[str]:
        """What may follow these words."""
        match [word.lower() for word in words]:
            case []:
                yield from STATEMENTS
            case ["access", *_]:
                yield from self._acls
                if not begun.startswith("!") and words[1:]:
                    yield from self._actions
            case ["acl", _]:
                yield from (name for name in (*TYPES, *ATTRIBUTES, *self._tables) if name not in REFUSED_TYPES)
            case ["acl", _, kind, *_]:
                yield from self._values(kind)
            case ["action", _]:
                yield from REPLIES

    def _values(self, kind: str) -> Iterator[str]:
        """Values of an ACL of that type."""
        if kind == "any":
            yield from self._acls
        elif kind.startswith("table:"):
            yield from ATTRIBUTES
        else:
            yield from self._tables
            yield from EXAMPLES.get(kind, "").split()
