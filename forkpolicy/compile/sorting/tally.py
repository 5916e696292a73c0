"""What a pass over sorted records finds: counts, diagnostics, and what readers may skip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from forkpolicy.compile.diagnostics import FirstDiagnostics
from forkpolicy.errors import Diagnostic
from forkpolicy.tables import keys

if TYPE_CHECKING:
    from forkpolicy.tables.format import Traits

Pair = tuple[bytes, bytes]
# A network that is not over yet: key, last address, value, entry, as its record has them.
Open = tuple[str, str, str, str]

# Where in an entry's head its source and its line end.
SOURCE_END: Final = 6
LINE_END: Final = 16

# More examples of a file order that loses do not teach more.
_MAX_ORDER_WARNINGS: Final = 5


@dataclass(slots=True)
class Tally:
    """What a pass found."""

    source_names: tuple[str, ...]
    skip_bad: bool = False
    entries: int = 0
    merged: int = 0
    nested: int = 0
    ranges: int = 0
    skipped: int = 0
    out_of_order: int = 0
    conflicts: FirstDiagnostics = field(default_factory=FirstDiagnostics)
    order_examples: list[Diagnostic] = field(default_factory=list)
    wildcard_labels: set[int] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)

    @property
    def traits(self) -> Traits:
        """What readers may skip because the table has none of it."""
        return {"wildcard_labels": sorted(self.wildcard_labels), "forms": sorted(self.forms)}

    def add(self, other: Tally) -> None:
        """Take in what another pass over another part found."""
        for name in ("entries", "merged", "nested", "ranges", "skipped", "out_of_order"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.conflicts.add_all(other.conflicts)
        self.order_examples += other.order_examples[: max(0, _MAX_ORDER_WARNINGS - len(self.order_examples))]
        self.wildcard_labels |= other.wildcard_labels
        self.forms |= other.forms

    def conflict(self, key: str, tail: str, before: str) -> None:
        """Two values for one key: `tail` is the entry that is refused, `before` the one that stands."""
        if self.skip_bad:
            self.skipped += 1
            return
        # Heads compare as their sources and lines do.
        self.conflicts.add(tail[:LINE_END], lambda: self._conflict(key, Tail.parse(tail), Tail.parse(before)))

    def _conflict(self, key: str, entry: Tail, other: Tail) -> Diagnostic:
        message = f"{key} has the value {entry.shown} here and {other.shown} at {self.place(other)}"
        hint = "remove one of the two lines"
        return Diagnostic(self.source_names[entry.source], entry.line, 0, message, hint=hint)

    def order(self, key: str, tail: str, outer: Open) -> None:
        """A network inside one of another value that stands earlier in the same file: cidr_table(5) differs there."""
        self.out_of_order += 1
        if len(self.order_examples) < _MAX_ORDER_WARNINGS:
            entry, other = Tail.parse(tail), Tail.parse(outer[3])
            message = (
                f"{network_text(key)} ({entry.shown}) stands below {network_text(outer[0])} "
                f"({other.shown}, line {other.line}), which contains "
                "it: here the most specific network wins, in cidr_table(5) the first"
            )
            self.order_examples.append(
                Diagnostic(self.source_names[entry.source], entry.line, 0, message, severity="warning")
            )

    def place(self, tail: Tail) -> str:
        """`file:line` of an entry."""
        name = self.source_names[tail.source]
        return f"{name}:{tail.line}" if tail.line else name


class Tail(NamedTuple):
    """The packed part of a record, unpacked."""

    source: int
    line: int
    value: str | None

    @classmethod
    def parse(cls, tail: str) -> Tail:
        """Of the hexadecimal text at a record's end."""
        source, line, _, value = msgpack.unpackb(bytes.fromhex(tail))
        return cls(source, line, value)

    @property
    def shown(self) -> str:
        """The value in quotes, or that there is none."""
        return "no value" if self.value is None else f'"{self.value}"'


def network_text(key: str) -> str:
    """The network of a record's key: its first address and, behind that, its prefix length."""
    return keys.network_text(bytes.fromhex(key[:-2]), int(key[-2:], 16))
