"""The text of a policy as one list of lines, what it includes in its place, and what the words of each line mean. Pure.

A line is as the file has it. Words that name something lead to it: an ACL or an action to its declaration, a table to
its page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.console.links import link
from forkpolicy.console.links import table as table_link
from forkpolicy.errors import ConfigError
from forkpolicy.files import WILDCARD, SnapshotFiles
from forkpolicy.policy.parser import RESTRICTED, is_comment, parse_policy, read_lines
from forkpolicy.policy.restricted import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Model, Rule
    from forkpolicy.policy.nodes import Statement

_WORDS: Final = re.compile(r"\s+|\S+")
_TABLE: Final = re.compile(r"!?table:([A-Za-z0-9_.-]+)")


class Piece(NamedTuple):
    """A part of a line. `link`: where what it names is, empty where it names nothing."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `kind`: the first word of its statement in small letters, `comment` for what says nothing, `more` for
    what goes on from the line before, `file` for the name of a file that begins, or goes on, here. `rule`: the one that
    begins in it. `depth`: how many includes deep. `name`: what it declares.
    """

    path: str
    number: int
    kind: str
    text: str
    depth: int
    restricted: bool
    rule: Rule | None = None
    name: str = ""


def lines_of(loaded: Loaded) -> list[Line]:
    """All lines of a policy, in the order in which its rules are asked."""
    return list(_Listing(loaded).lines())


def pieces_of(line: Line, model: Model, where: Mapping[str, str]) -> tuple[Piece, ...]:
    """The words of a line. `where`: the address of each name that is declared."""
    text = line.text
    if line.kind in ("comment", "file"):
        return (Piece(text),)
    words = [found[0] for found in _WORDS.finditer(text)]
    names = [at for at, word in enumerate(words) if not word.isspace()]
    if not names:
        return (Piece(text),)
    keyword = words[names[0]].lower()
    # A line that goes on has values, or the ACLs of a rule: what is a name of the policy there is meant as one.
    linked = set(names) if text[:1].isspace() else _linked(keyword, names)
    return tuple(Piece(word, _link(word, model, where) if at in linked else "") for at, word in enumerate(words))


def _linked(keyword: str, names: list[int]) -> set[int]:
    if keyword == "access":
        return set(names[1:])
    if keyword == "acl":
        return set(names[2:])
    return set(names[1:2]) if keyword == "table" else set()


def _link(word: str, model: Model, where: Mapping[str, str]) -> str:
    if found := _TABLE.match(word):
        return table_link(found[1]) if found[1] in model.tables else ""
    name = word.lstrip("!").rstrip(",")
    if name in model.tables and name not in model.acls:
        return table_link(name)
    return where.get(name, "")


class _Listing:
    def __init__(self, loaded: Loaded) -> None:
        self._files = SnapshotFiles(loaded.snapshot)
        self._top = loaded.settings.policy
        parsed = parse_policy(self._top, self._files)
        self._restricted = frozenset(parsed.restricted)
        self._statements: dict[tuple[str, int], Statement] = {
            (place_of(each).path, place_of(each).line): each for each in parsed.statements
        }
        self._rules = {(rule.place.path, rule.place.line): rule for rule in loaded.policy.model.rules if rule.place}

    def lines(self) -> Iterator[Line]:
        yield from self._of_file(self._top, 0)

    def _of_file(self, path: str, depth: int) -> Iterator[Line]:
        restricted = path in self._restricted
        yield Line(path, 0, "file", path, depth, restricted)
        try:
            lines = read_lines(path, self._files)
        except ConfigError:
            return
        if lines and not lines[-1]:
            lines.pop()
        for number, text in enumerate(lines, 1):
            line = self._line(path, number, text, depth, restricted)
            yield line
            if line.kind == "include" and not restricted:
                for each in self._included(path, text):
                    yield from self._of_file(each, depth + 1)
                    yield Line(path, number, "file", path, depth, restricted)

    def _line(self, path: str, number: int, text: str, depth: int, restricted: bool) -> Line:
        if is_comment(text):
            return Line(path, number, "comment", text, depth, restricted)
        kind = "more" if text[0].isspace() else text.split(maxsplit=1)[0].lower()
        statement = self._statements.get((path, number))
        name = getattr(getattr(statement, "name", None), "text", "") if statement else ""
        return Line(path, number, kind, text, depth, restricted, self._rules.get((path, number)), name)

    def _included(self, path: str, text: str) -> list[str]:
        words = text.split()
        if len(words) < 2:
            return []
        wanted = str(Path(path).parent / words[1])
        if words[2:] != [RESTRICTED] and WILDCARD.search(words[1]):
            return self._files.glob(wanted)
        return [wanted]


def addresses(model: Model) -> dict[str, str]:
    """Of each name that a rule or an ACL may use, the address of the line that declares it."""
    found = {}
    for name, action in model.actions.items():
        if action.place:
            found[name] = place_link(action.place.path, action.place.line)
    for name, acl in model.acls.items():
        found[name] = place_link(acl.word.place.path, acl.word.place.line)
    return found


def place_link(path: str, line: int) -> str:
    """The page of rules, from a line on."""
    return link("/rules", at=f"{path}:{line}") + f"#{anchor(path, line)}"


def anchor(path: str, line: int) -> str:
    """The name of a line within a page."""
    return f"{Path(path).name}-{line}"
