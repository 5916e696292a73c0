"""Rule files of postfwd as syntax trees: macros expanded, rules split into items. Pure.

The language is the program's, not its manual's (postfwd 1.35, `read_config_file` and `parse_config_line`): macros are
text that is put in before a line is split at its semicolons, and an item ends its key at the first operator in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.importing.left_out import LeftOut
from forkpolicy.importing.postfwd.lines import Line, cut, logical_lines, text_of
from forkpolicy.importing.postfwd.syntax import Comment, Item, Mistake, Node, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.source import SourceFile

_DEFINITION = re.compile(r"\s*(&&[-\w]+)\s*\{\s*(.*?)\s*;?\s*\}[\s;]*", re.ASCII | re.DOTALL)
_MACRO = re.compile(r"&&[-\w]+", re.ASCII)
_OPERATOR = re.compile(r"[=~<>]=|[<>]|[=!][=~<>]|=")
# Two ways to write one operator.
_TURNED = {"<=": "=<", "~=": "=~", ">=": "=>"}
# A rule that is longer was made by macros that contain themselves.
_MAX_CHARS = 1 << 20
_MAX_EXPANSIONS = 1000
_SHOWN_CHARS = 80


class _WrongError(ValueError):
    """Why postfwd ignores a line."""


class Grammar:
    """Reads files one after another: macros hold from the line of their definition on, in later files too."""

    def __init__(self) -> None:
        self._macros: dict[str, Line] = {}

    def nodes(self, source: SourceFile) -> Iterator[Node]:
        """Rules, comments and mistakes, in order."""
        for line in logical_lines(source):
            if isinstance(line, Comment):
                yield line
            elif node := self._node(line):
                yield node

    def _node(self, line: Line) -> Node | None:
        text, origin = text_of(line), line[0].origin
        if "&&" in text and (found := _DEFINITION.fullmatch(text)):
            self._macros[found[1]] = cut(line, *found.span(2))
            return None
        try:
            items, never = _items(self._expanded(line))
        except _WrongError as error:
            return Mistake(LeftOut(origin, _shown(text), f"postfwd ignores this line: {error}"))
        if all(item.key != "action" for item in items):
            reason = "postfwd ignores a rule without an action"
            return Mistake(LeftOut(origin, _shown(text), reason, "its manual promises WARN: action=WARN"))
        return Rule(items, origin, never)

    def _expanded(self, line: Line) -> Line:
        """The line with the text of macros in place of their names. Raises _WrongError."""
        for _ in range(_MAX_EXPANSIONS):
            text = text_of(line)
            found = _MACRO.search(text)
            if not found:
                return line
            if len(text) > _MAX_CHARS:
                break
            line = self._put_in(line, text, found[0])
        raise _WrongError("a macro that contains itself")

    def _put_in(self, line: Line, text: str, name: str) -> Line:
        body = self._macros.get(name)
        if body is None:
            raise _WrongError(f"the macro {name} is not defined above it")
        expanded: Line = []
        at = 0
        for found in re.finditer(rf"\s*{name}\s*", text, re.ASCII):
            longer = _MACRO.search(text, found.start())
            if longer and longer[0] != name:
                raise _WrongError(f"it takes {longer[0]} for {name}, whose name is its beginning: rename one of them")
            expanded += cut(line, at, found.start())
            # The macro that the rule names is the one that people know the items by.
            outer = next((piece.macro for piece in cut(line, *found.span()) if piece.macro), "") or name
            expanded += [piece._replace(macro=outer) for piece in body]
            at = found.end()
        return expanded + cut(line, at, len(text))


def _items(line: Line) -> tuple[tuple[Item, ...], str]:
    """The items of a rule, and why it never fires if it does not. Raises _WrongError."""
    fields = _fields(line)
    while fields and not text_of(fields[-1]):
        fields.pop()
    never = ""
    items = []
    for at, field in enumerate(fields):
        text = text_of(field)
        if text.strip():
            items.append(_item(text, field))
        elif not text or at in (0, len(fields) - 1):
            where = "a blank behind its last semicolon" if at == len(fields) - 1 else "nothing between two semicolons"
            never = f"postfwd never lets it fire: it takes {where} for an item that is never met"
        else:
            raise _WrongError("a blank alone between two semicolons")
    if not items:
        raise _WrongError("there is nothing in it")
    return tuple(items), never


def _fields(line: Line) -> list[Line]:
    fields: list[Line] = [[]]
    for piece in line:
        first, *others = piece.text.split(";")
        if first:
            fields[-1].append(piece._replace(text=first) if others else piece)
        fields += [[piece._replace(text=other)] if other else [] for other in others]
    return fields


def _item(text: str, field: Line) -> Item:
    found = _OPERATOR.search(text)
    if not found:
        raise _WrongError(f"{_shown(text)!r} compares nothing")
    key = text[: found.start()].strip()
    operator = _TURNED.get(found[0], found[0])
    # It is taken apart twice: where a value begins with a sign, the second time finds a longer operator.
    joined = f"{found[0]}{text[found.end() :].strip()}"
    again = _OPERATOR.search(joined)
    value = joined[again.end() :] if again else ""
    if key.split() != [key]:
        raise _WrongError(f"{_shown(text)!r} has {'a blank in' if key else 'nothing in place of'} its item")
    if not value:
        raise _WrongError(f"{_shown(text)!r} has no value")
    place = field[0] if len(field) == 1 else next(piece for piece in field if piece.text.strip())
    return Item(key, operator, value, place.origin, place.macro)


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
