"""The records of a store, picked and printed as they are read: one line each, so that millions need no memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, Self

from forkpolicy.durations import show_duration
from forkpolicy.errors import UsageError
from forkpolicy.state import keys
from forkpolicy.state.shown import show
from forkpolicy.tables.keys import fold_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from forkpolicy.state.shown import Shown

STEP = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are asked for. Empty fields: all."""

    kind: str = ""
    name: str = ""
    key: tuple[str, ...] = ()
    glob: str = ""

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Self:
        """From those of `list` or `show`. Raises UsageError."""
        if "words" not in arguments:
            return cls(name=arguments.name, key=tuple(arguments.key))
        words = list(arguments.words)
        kind = words.pop(0) if words and words[0] in keys.KIND_BYTES else ""
        name = words.pop(0) if words else ""
        if words:
            kinds = ", ".join(keys.KIND_BYTES)
            raise UsageError(f'unexpected "{words[0]}": expected [KIND] [NAME], KIND one of {kinds}')
        return cls(kind, name, glob=fold_text(arguments.glob))

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


def print_records(store: Walked, wanted: Wanted, *, as_json: bool) -> int:
    """Print them; how many there were."""
    count = 0
    for shown, now_s in _read(store, wanted):
        print(_as_json(shown) if as_json else _as_text(shown, now_s))
        count += 1
    return count


def _read(store: Walked, wanted: Wanted) -> Iterator[tuple[Shown, float]]:
    """Each with the time at which it was read."""
    for prefix in wanted.prefixes():
        after = b""
        while found := store.walk(prefix, after, STEP):
            after, now_s = found[-1][0], store.now_s()
            records = (show(key, record, now_s) for key, record in found)
            yield from ((shown, now_s) for shown in records if shown and wanted.fits(shown))


def _as_json(shown: Shown) -> str:
    record = {"kind": shown.kind, "name": shown.name, "key": list(shown.key), **shown.facts, "ends_s": shown.ends_s}
    return json.dumps(record)


def _as_text(shown: Shown, now_s: float) -> str:
    key = " ".join(shown.key)
    return f"{shown.kind:<12} {shown.name:<16} {key:<40} {shown.text}, ends in {show_duration(shown.ends_s - now_s)}"
