"""Physical lines of a rule file as logical ones, each piece with its place. Pure.

A line goes on where it ends in a backslash or a `{`, and where the next one begins with a blank or a `}`; a `;` is put
between the latter two. A `#` begins a comment wherever it stands, and quotes count for nothing: postfwd takes them out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.importing.postfwd.syntax import Comment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.source import SourceFile

_GOES_ON = re.compile(r"(.*)\\\s*|(.*\{)\s*", re.DOTALL)
_CONTINUES = re.compile(r"\}|\s+\S")
_ENDED = re.compile(r";\s*\Z")


class Piece(NamedTuple):
    """Some text of a logical line and where it stands. `macro`: the macro whose text it is, if it is one's."""

    text: str
    origin: Origin
    macro: str = ""


Line = list[Piece]


def logical_lines(source: SourceFile) -> Iterator[Line | Comment]:
    """The lines in order, each behind its comments. What a file ends in the midst of is lost, as it is in postfwd."""
    last: Line = []
    buffer: Line = []
    # Comments above the last line or within it, and those that stand behind it.
    above: list[Comment] = []
    behind: list[Comment] = []
    for number, raw in enumerate(source.lines, 1):
        text, mark, comment = raw.partition("#")
        text = text.replace('"', "")
        if not text.strip():
            if mark:
                (behind if last else above).append(Comment(comment.strip()))
            continue
        if found := _GOES_ON.fullmatch(text):
            buffer.append(Piece(found[1] if found[2] is None else found[2], source.origin(number)))
            continue
        buffer.append(Piece(text, source.origin(number)))
        if last and _CONTINUES.match(text_of(buffer)):
            if not _ENDED.search(text_of(last)):
                last.append(Piece(";", last[-1].origin))
            last += buffer
            above += behind
        else:
            yield from above
            if last:
                yield last
            above, last = behind, buffer
        buffer, behind = [], []
    yield from above
    if last:
        yield last
    yield from behind


def text_of(line: Line) -> str:
    """The text without its places."""
    return line[0].text if len(line) == 1 else "".join(piece.text for piece in line)


def cut(line: Line, start: int, end: int) -> Line:
    """The pieces between two places of the text."""
    found = []
    at = 0
    for piece in line:
        first, last = max(start - at, 0), min(end - at, len(piece.text))
        if first < last:
            found.append(piece if last - first == len(piece.text) else piece._replace(text=piece.text[first:last]))
        at += len(piece.text)
    return found
