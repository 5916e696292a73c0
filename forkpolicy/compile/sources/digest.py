"""The digest of everything that decides a table's content: its declaration, options, and all of its sources."""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.compile.sources import registry
from forkpolicy.compile.sources.csvfile import CsvSource
from forkpolicy.compile.sources.mmdb import MmdbSource
from forkpolicy.compile.sources.registry import STDIN, TextSource
from forkpolicy.compile.values import STRICT
from forkpolicy.tables.format import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.compile.feeds import FeedFiles
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.rows import Row


class SourceDigest:
    """Grows as sources are read. With several `flags` there is a digest for each, and the sources are read once."""

    def __init__(self, declaration: TableDeclaration, *flags: str) -> None:
        shape: tuple[object, ...] = (
            FORMAT_VERSION,
            declaration.name,
            declaration.kind,
            declaration.sources,
            declaration.key_words,
        )
        # Of the others only warnings depend.
        shape = (*shape, *(kind for kind in declaration.values_as if kind in STRICT))
        self._digests = [hashlib.sha256(repr((*shape, each)).encode()) for each in flags]

    def begin_source(self, index: int) -> None:
        """Before each source: a line that moves from one source to the next is a change."""
        self.add_text(b"\0%d\0" % index)

    def add_text(self, text: bytes) -> None:
        """A part of a text source."""
        for each in self._digests:
            each.update(text)

    def adding(self, placed: Iterator[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
        """The same rows of another source, each added with the name of what it stands in."""
        for name, row in placed:
            # As releases without a place in a row wrote it: equal sources have equal digests.
            text = f"({name!r}, Row(key={row.key!r}, value={row.value!r}, line={row.line!r}))"
            self.add_text(text.encode("utf-8", "surrogateescape"))
            yield name, row

    def hexdigests(self) -> list[str]:
        """What they are so far, in the order of the flags."""
        return [each.hexdigest() for each in self._digests]


def digest_sources(declaration: TableDeclaration, feeds: FeedFiles, *flags: str) -> list[str]:
    """The digests alone, without parsing: for --if-changed. Raises ConfigError, OSError, ValueError, CannotWriteError.

    A pipe gives what it has but once: with one among the sources nothing is read, and ValueError says so.
    """
    words = range(len(declaration.sources))
    opened = [registry.fetched(registry.open_source(declaration, index), feeds) for index in words]
    files = [source.path for source in opened if isinstance(source, TextSource | CsvSource)]
    if not all(path != STDIN and Path(path).is_file() for path in files):
        raise ValueError("not all of its sources can be read twice")
    digest = SourceDigest(declaration, *flags)
    for index, source in enumerate(opened):
        digest.begin_source(index)
        if isinstance(source, TextSource):
            for block in source.blocks():
                digest.add_text(block.text)
        elif isinstance(source, MmdbSource):
            digest.add_text(source.read_digest())
        else:
            deque(digest.adding(registry.placed_rows(source)), maxlen=0)
    return digest.hexdigests()
