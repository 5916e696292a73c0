"""Lines of a log file and of its rotated ones (`NAME.1`, `NAME.2.gz`, `NAME-20261128.xz`) within a time span.

Only lines that are wanted are read as lines: blocks are searched for bytes, and in a file that is not compressed the
first block is found by its time. Files that were last written before the span are not opened. The caller's rights
apply. Raises HistoryError where a file cannot be read.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import time
import zlib
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from forkpolicy.history.errors import HistoryError
from forkpolicy.postfix.mail_lines import line_time_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Search = Callable[[bytes, int], re.Match[bytes] | None]

_COMPRESSED: Final = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
_ROTATED: Final = re.compile(r"(?:[.-]\d[\d-]{0,14})?(\.gz|\.bz2|\.xz|)")
_BLOCK_BYTES: Final = 1 << 20
_LONGEST_LINE_BYTES: Final = 1 << 16
NARROWER: Final = "ask for a shorter time"
# Lines without a time that may follow each other, of another program.
_MOST_TIMELESS: Final = 50


class LogFiles:
    """A log by its path. `give_up_s`: by the monotonic clock, when a search ends, with a HistoryError."""

    def __init__(self, path: str, now_s: float, give_up_s: float = inf) -> None:
        self.name = path
        self._path, self._now_s, self._give_up_s = Path(path), now_s, give_up_s

    def lines(self, text: str, since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines that have the text, in any case, each with its time, the oldest first."""
        return self._lines([text], since_s, until_s)

    def lines_with(self, texts: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines that have any of the texts, the same way."""
        return self._lines(texts, since_s, until_s)

    def lines_of(self, queue_ids: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines about these queue ids, the same way."""
        return self._lines([f"]: {each}: " for each in queue_ids], since_s, until_s)

    def _lines(self, texts: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        wanted = [re.escape(each.lower().encode("utf-8", "surrogateescape")) for each in texts]
        search = re.compile(b"|".join(wanted)).search
        for path in self._files(since_s):
            try:
                with _opened(path) as stream:
                    if path.suffix not in _COMPRESSED:
                        stream.seek(self._start(stream, path.stat().st_size, since_s))
                    yield from self._lines_in(stream, search, since_s, until_s)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise _unreadable(path, error) from error

    def _files(self, since_s: float) -> list[Path]:
        found = []
        try:
            for each in self._path.parent.iterdir():
                name = _ROTATED.fullmatch(each.name, len(self._path.name))
                if name and each.name.startswith(self._path.name) and (written_s := each.stat().st_mtime) >= since_s:
                    found.append((written_s, each))
            if not found:
                self._path.stat()
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return [path for _, path in sorted(found)]

    def _lines_in(
        self, stream: IO[bytes], search: Search, since_s: float, until_s: float
    ) -> Iterator[tuple[float, str]]:
        while block := stream.read(_BLOCK_BYTES):
            block += stream.readline(_LONGEST_LINE_BYTES)
            if time.monotonic() > self._give_up_s:
                raise HistoryError(f"the search of the mail log {self.name} was given up, as it took long: {NARROWER}")
            for line in _lines_with(block, search):
                at_s = line_time_s(line, self._now_s)
                if at_s is not None and since_s <= at_s <= until_s:
                    yield at_s, line
            first_s = line_time_s(block[:_LONGEST_LINE_BYTES].decode("utf-8", "surrogateescape"), self._now_s)
            if first_s is not None and first_s > until_s:
                return

    def _start(self, stream: IO[bytes], size: int, since_s: float) -> int:
        """Where the first line of the span begins, or a little before it."""
        low, high = 0, size
        while high - low > _BLOCK_BYTES:
            middle = (low + high) // 2
            stream.seek(middle)
            stream.readline(_LONGEST_LINE_BYTES)
            at_s = self._next_time_s(stream)
            if at_s is not None and at_s < since_s:
                low = middle
            else:
                high = middle
        stream.seek(low)
        if low:
            stream.readline(_LONGEST_LINE_BYTES)
        return stream.tell()

    def _next_time_s(self, stream: IO[bytes]) -> float | None:
        for _ in range(_MOST_TIMELESS):
            line = stream.readline(_LONGEST_LINE_BYTES).decode("utf-8", "surrogateescape")
            if not line or (at_s := line_time_s(line, self._now_s)) is not None:
                return at_s if line else None
        return None


def _opened(path: Path) -> IO[bytes]:
    compressed = _COMPRESSED.get(path.suffix)
    return cast("IO[bytes]", compressed(path)) if compressed else path.open("rb")


def _lines_with(block: bytes, search: Search) -> Iterator[str]:
    """Lines of a block in which, folded, something is found."""
    folded = block.lower()
    end = 0
    while found := search(folded, end):
        start = block.rfind(b"\n", 0, found.start()) + 1
        end = block.find(b"\n", found.start())
        end = end if end >= 0 else len(block)
        yield block[start:end].decode("utf-8", "surrogateescape")


def _unreadable(path: Path, error: Exception) -> HistoryError:
    reason = getattr(error, "strerror", None) or str(error)
    hint = "members of its group (adm, usually) may" if isinstance(error, PermissionError) else "[history] mail_log"
    return HistoryError(f"the mail log {path} cannot be read: {reason.lower()} ({hint})")
