"""Lines of regexp_table(5), pcre_table(5) and cidr_table(5) as rules, each with the conditions around it.

Pure. Raises UncarriedError for a table with a line that cannot be read: what stands behind it may depend on it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.map_files import UncarriedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.importing.access.map_files import Line, MapFile
    from forkpolicy.importing.left_out import Origin

_IF: Final = re.compile(r"(if|endif)(?![A-Za-z0-9])\s*(.*)", re.IGNORECASE | re.DOTALL)
_NETWORK: Final = re.compile(r"(\S+)(?:\s+(.*))?", re.DOTALL)


class Pattern(NamedTuple):
    """A pattern: an expression with its flags, or a network without. `negated`: holds where it does not match."""

    text: str
    flags: str
    negated: bool


class Rule(NamedTuple):
    """A pattern with a result, and the patterns of the `if` around it, the outermost first."""

    pattern: Pattern
    result: str
    conditions: tuple[Pattern, ...]
    origin: Origin
    comments: tuple[str, ...] = ()


def rules_of(map_file: MapFile) -> list[Rule]:
    """The rules in order. Raises UncarriedError."""
    split = _split_network if map_file.kind == "cidr" else _split_expression
    rules: list[Rule] = []
    conditions: list[Pattern] = []
    for line in map_file.lines:
        found = _IF.match(line.text)
        if found is None:
            pattern, result = _parsed(line, line.text, split)
            rules.append(Rule(pattern, result, tuple(conditions), line.origin, line.comments))
        elif found[1].lower() == "if":
            conditions.append(_parsed(line, found[2], split)[0])
        elif conditions:
            conditions.pop()
        else:
            raise UncarriedError(f"{line.origin}: endif without an if")
    if conditions:
        raise UncarriedError(f"{map_file.word}: an if without its endif")
    return rules


def _parsed(line: Line, text: str, split: Callable[[str], tuple[str, str, str]]) -> tuple[Pattern, str]:
    bare = text.lstrip("! \t")
    negations = text[: len(text) - len(bare)].count("!")
    try:
        pattern, flags, result = split(bare)
    except ValueError as error:
        raise UncarriedError(f"{line.origin}: {error}") from error
    return Pattern(pattern, flags, negations % 2 == 1), result.strip()


def _split_expression(text: str) -> tuple[str, str, str]:
    """`/expression/flags result`, with any character in place of the slashes."""
    mark = text[:1]
    if not mark or mark.isalnum() or mark == "\\":
        raise ValueError(f'"{text[:40]}": expected /expression/')
    at = 1
    while at < len(text) and text[at] != mark:
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError(f'"{text[:40]}": the expression has no second "{mark}"')
    flags, _, result = text[at + 1 :].partition(" ")
    return text[1:at], flags, result


def _split_network(text: str) -> tuple[str, str, str]:
    found = _NETWORK.match(text)
    if not found:
        raise ValueError("expected a network")
    return found[1], "", found[2] or ""
