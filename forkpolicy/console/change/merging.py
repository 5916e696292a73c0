"""Texts compared and merged by their lines. Pure.

Two changes of one text are merged unless they touch the same lines; what is next to each other stays apart. Time is
bounded: where very many lines differ, they are taken as one replaced block.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Lines of one text times lines of the other, without what both begin and end with: a second at the worst.
_MOST_PAIRS: Final = 4_000_000
CONTEXT_LINES: Final = 3


class Line(NamedTuple):
    """A line of a difference. `sign`: `-` stands in the earlier text only, `+` in the later one only, a blank in both;
    `before`, `after`: its number there, 0 where it is not.
    """

    sign: str
    before: int
    after: int
    text: str


class Block(NamedTuple):
    """Lines `begin` to `end` of a base (from 0, the end is not in it) that others stand for."""

    begin: int
    end: int
    lines: tuple[str, ...]


class Conflict(NamedTuple):
    """Lines that both have changed: what the base has, and what each has in their place. `line`: where it begins in the
    base, from 1.
    """

    line: int
    base: tuple[str, ...]
    mine: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """A text with both changes. Where there are conflicts it has their lines and then mine, for a person to decide."""

    text: str
    conflicts: tuple[Conflict, ...]


def tidy(text: str) -> str:
    """A text with the line ends of a file, as browsers do not send them, and one at its end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if not text or text.endswith("\n") else f"{text}\n"


def lines_of(text: str) -> list[str]:
    """Its lines without their ends."""
    return text.removesuffix("\n").split("\n") if text else []


def difference(before: str, after: str, context: int = CONTEXT_LINES) -> list[list[Line]]:
    """What differs, in groups of lines with some around them; none: the texts are the same."""
    one, other = lines_of(before), lines_of(after)
    groups: list[list[Line]] = []
    end = end_after = 0
    for block in blocks(one, other):
        begin_after = end_after + block.begin - end
        if groups and block.begin - end <= 2 * context:
            groups[-1] += _same(one, end, block.begin, end_after - end)
        else:
            if groups:
                groups[-1] += _same(one, end, end + context, end_after - end)
            groups.append(list(_same(one, max(0, block.begin - context), block.begin, begin_after - block.begin)))
        groups[-1] += (Line("-", at + 1, 0, one[at]) for at in range(block.begin, block.end))
        groups[-1] += (Line("+", 0, begin_after + at + 1, text) for at, text in enumerate(block.lines))
        end, end_after = block.end, begin_after + len(block.lines)
    if groups:
        groups[-1] += _same(one, end, min(len(one), end + context), end_after - end)
    return groups


def _same(lines: Sequence[str], begin: int, end: int, shift: int) -> Iterator[Line]:
    return (Line(" ", at + 1, at + 1 + shift, lines[at]) for at in range(begin, end))


def blocks(one: Sequence[str], other: Sequence[str]) -> list[Block]:
    """What makes the one of the other, in order."""
    first = 0
    while first < min(len(one), len(other)) and one[first] == other[first]:
        first += 1
    last = 0
    while last < min(len(one), len(other)) - first and one[-1 - last] == other[-1 - last]:
        last += 1
    inner, inner_other = one[first : len(one) - last], other[first : len(other) - last]
    if not inner and not inner_other:
        return []
    if len(inner) * len(inner_other) > _MOST_PAIRS:
        return [Block(first, first + len(inner), tuple(inner_other))]
    matcher = SequenceMatcher(None, inner, inner_other, autojunk=False)
    return [
        Block(first + begin, first + end, tuple(inner_other[begin_other:end_other]))
        for tag, begin, end, begin_other, end_other in matcher.get_opcodes()
        if tag != "equal"
    ]


def merge(base: str, mine: str, theirs: str) -> Merged:
    """Both changes of a base in one text."""
    lines = lines_of(base)
    ours, others = blocks(lines, lines_of(mine)), blocks(lines, lines_of(theirs))
    merged: list[str] = []
    conflicts: list[Conflict] = []
    at = 0
    for begin, end, of_mine, of_theirs in _regions(ours, others):
        merged += lines[at:begin]
        one, other = _applied(lines, begin, end, of_mine), _applied(lines, begin, end, of_theirs)
        if not of_theirs or one == other:
            merged += one
        elif not of_mine:
            merged += other
        else:
            conflicts.append(Conflict(begin + 1, tuple(lines[begin:end]), tuple(one), tuple(other)))
            merged += [*other, *one]
        at = end
    merged += lines[at:]
    return Merged("".join(f"{line}\n" for line in merged), tuple(conflicts))


def _regions(ours: list[Block], others: list[Block]) -> Iterator[tuple[int, int, list[Block], list[Block]]]:
    """Parts of the base that one or both have changed; what overlaps is one part."""
    waiting = sorted([*((each, 0) for each in ours), *((each, 1) for each in others)], key=lambda found: found[0][:2])
    while waiting:
        block, side = waiting.pop(0)
        begin, end = block.begin, block.end
        sides: tuple[list[Block], list[Block]] = ([], [])
        sides[side].append(block)
        while waiting and _overlap(begin, end, waiting[0][0]):
            block, side = waiting.pop(0)
            sides[side].append(block)
            end = max(end, block.end)
        yield begin, end, *sides


def _overlap(begin: int, end: int, block: Block) -> bool:
    """Whether a block that does not begin earlier has a line in common, or is put in at the same place."""
    return block.begin < end or (begin == end == block.begin == block.end)


def _applied(lines: Sequence[str], begin: int, end: int, changes: Sequence[Block]) -> list[str]:
    """Lines of the base with these changes of them."""
    found: list[str] = []
    for change in changes:
        found += [*lines[begin : change.begin], *change.lines]
        begin = change.end
    return [*found, *lines[begin:end]]
