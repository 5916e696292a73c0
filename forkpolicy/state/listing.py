"""The records of a store that somebody asks for, read in steps: millions need no memory.

`Wanted` says which. Raises StateError.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Protocol, Self

from forkpolicy.errors import UsageError
from forkpolicy.state import keys
from forkpolicy.state.shown import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.state.shown import Shown

STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are asked for. Empty fields: all."""

    kind: str = ""
    name: str = ""
    key: tuple[str, ...] = ()
    glob: str = ""

    @classmethod
    def of_words(cls, words: Sequence[str], glob: str = "") -> Self:
        """`[KIND] [NAME]`, and a pattern of keys as they are folded. Raises UsageError."""
        words = list(words)
        kind = words.pop(0) if words and words[0] in keys.KIND_BYTES else ""
        name = words.pop(0) if words else ""
        if words:
            kinds = ", ".join(keys.KIND_BYTES)
            raise UsageError(f'unexpected "{words[0]}": expected [KIND] [NAME], KIND one of {kinds}')
        return cls(kind, name, glob=glob)

    @property
    def text(self) -> str:
        """The same in words."""
        named = f" of {' '.join([self.name, *self.key])}" if self.name else ""
        return f"{f' by {self.kind}' if self.kind else ''}{named}{f' that is like {self.glob}' if self.glob else ''}"

    def prefixes(self) -> Iterator[bytes]:
        """What the keys of such records begin with."""
        for kind, kind_bytes in keys.KIND_BYTES.items():
            if self.kind in ("", kind):
                for each in kind_bytes:
                    yield keys.prefix(each, self.name, self.key)

    def fits(self, shown: Shown) -> bool:
        """Whether a record of such a prefix is one."""
        return not self.glob or fnmatchcase(" ".join(shown.key), self.glob)


class Walked(Protocol):
    """What records are read from: a live map, or the store of an engine."""

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """As Store.walk."""

    def now_s(self) -> float:
        """Its clock."""


def records(store: Walked, wanted: Wanted) -> Iterator[tuple[Shown, float]]:
    """Each with the time at which it was read."""
    for prefix in wanted.prefixes():
        after = b""
        while found := store.walk(prefix, after, STEP):
            after, now_s = found[-1][0], store.now_s()
            every = (show(key, record, now_s) for key, record in found)
            yield from ((shown, now_s) for shown in every if shown and wanted.fits(shown))
