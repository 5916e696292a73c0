"""Lines as Postfix reads main.cf and its text maps: comments and blank lines go, an indented line continues. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.source import SourceFile


class Logical(NamedTuple):
    """One logical line. `text`: its lines, joined by line ends; `comments`: what stood before it."""

    source: SourceFile
    numbers: tuple[int, ...]
    text: str
    comments: tuple[str, ...] = ()

    @property
    def origin(self) -> Origin:
        """Where it begins."""
        return self.source.origin(self.numbers[0])

    def origin_at(self, position: int) -> Origin:
        """The place of a character of the text."""
        return self.source.origin(self.numbers[self.text.count("\n", 0, position)])


def logical_lines(source: SourceFile) -> Iterator[Logical]:
    """In the order of the file. A comment or a blank line within a continued one does not end it."""
    numbers: list[int] = []
    texts: list[str] = []
    comments: list[str] = []
    before: tuple[str, ...] = ()
    for number, line in enumerate(source.lines, 1):
        bare = line.strip()
        if not bare:
            continue
        if bare[0] == "#":
            comments.append(bare.lstrip("#").strip())
            continue
        if line[0].isspace() and numbers:
            comments.clear()
        else:
            if numbers:
                yield Logical(source, tuple(numbers), "\n".join(texts), before)
            numbers, texts, before = [], [], tuple(comments)
            comments.clear()
        numbers.append(number)
        texts.append(bare)
    if numbers:
        yield Logical(source, tuple(numbers), "\n".join(texts), before)


def one_line(text: str) -> str:
    """A text of several lines in one."""
    return " ".join(text.split())


def shown(texts: Iterable[str], most: int = 5) -> str:
    """A few of many, for a message."""
    listed = list(texts)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
