"""From the lines of a source to sortable records, one line of text each, for every kind of table.

A record is a text of Latin-1 characters, because Python sorts and slices those fastest and a run of them is a plain
file. It begins with the key in sorting order and ends with the hexadecimal form of the packed entry, so that writing a
table is two `bytes.fromhex` an entry:

    cidr         family and first address, prefix length (the wider first), family and last address, entry
    the others   folded key as UTF-8, NUL, entry
    pair         the same, or between NUL and entry what a network of cidr has in front of its entry

Common lines take a short way; whatever looks in the least unusual goes through `lines.split_line` and the strict
parsers of `forkpolicy.tables.kinds`. Diagnostics are collected, never raised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.diagnostics import FirstDiagnostics
from forkpolicy.compile.expiring import Expiring
from forkpolicy.compile.lines import Item, LineError, decode_line, is_parameter_alone, split_line
from forkpolicy.compile.sorting.joined import refuse_never_equal
from forkpolicy.compile.values import check_value
from forkpolicy.errors import Diagnostic
from forkpolicy.expiry import SOON
from forkpolicy.tables import keys
from forkpolicy.tables.format import COLUMN_SEPARATOR, NETWORK_HERE, pack_value
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.columns import ANY, ANY_KEY
from forkpolicy.tables.kinds.kind import SourceKey
from forkpolicy.tables.kinds.pair import PairKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from forkpolicy.tables.format import Kind
    from forkpolicy.tables.rows import Row

# Entry heads have one width, so that a record can be cut by position: array of 4, uint8, uint32, uint8.
HEAD_CHARS: Final = 20

_V4_LENGTHS: Final = {"": (0, "20")} | {str(n): ((1 << (32 - n)) - 1, f"{n:02x}") for n in range(33)}
_V6_LENGTHS: Final = {"": (0, "80")} | {str(n): ((1 << (128 - n)) - 1, f"{n:02x}") for n in range(129)}
_V4_STRICT: Final = {key: each for key, each in _V4_LENGTHS.items() if not key or int(key) >= keys.WIDEST_V4}
_V6_STRICT: Final = {key: each for key, each in _V6_LENGTHS.items() if not key or int(key) >= keys.WIDEST_V6}
_MAPPED_HIGH: Final = 0xFFFF


@dataclass(slots=True)
class Parsed:
    """What came out of a piece of a source."""

    records: list[str] = field(default_factory=list)
    # The lines that are wrong, in the order of sources and lines.
    bad: FirstDiagnostics = field(default_factory=FirstDiagnostics)
    # What deserves one warning for the whole source: note -> (how often, first line).
    notes: dict[str, tuple[int, int]] = field(default_factory=dict)
    expiring: Expiring = field(default_factory=Expiring)

    def note(self, text: str, line: int) -> None:
        """Remember something that is worth one warning."""
        count, first = self.notes.get(text, (0, line))
        self.notes[text] = (count + 1, first)


@dataclass(frozen=True, slots=True)
class RecordParser:
    """Parses lines and rows of one source of one table. `today`: entries whose last day is before it are left out."""

    kind: Kind
    source: int
    source_name: str
    today: date
    allow_wide: bool = False
    key_attributes: tuple[str, ...] = ()
    values_as: tuple[str, ...] = ()

    @property
    def key_words(self) -> int:
        """How many words of a line are its key."""
        return max(1, len(self.key_attributes))

    def parse_lines(self, lines: list[str], first_line: int) -> Parsed:
        """Records of lines that were read as Latin-1, without line ends."""
        parsed = Parsed()
        kind = KINDS[self.kind]
        if self.key_words > 1 or self.values_as:
            for at in range(len(lines)):
                self.parse_exactly(lines, at, first_line, parsed)
        elif isinstance(kind, PairKind):
            _parse_columns(self, kind, lines, first_line, parsed)
        else:
            parse = _parse_networks if kind.stores_ranges else _parse_keys
            parse(self, lines, first_line, parsed)
        return parsed

    def parse_row(self, row: Row, parsed: Parsed) -> None:
        """The record of one entry that a program listed: no grammar, only key and value."""
        key, value, line, place = row
        try:
            parsed.records += self.records_of(Item(key, value, 0, value_is_meant=True), line, parsed)
        except ValueError as error:
            # Without a line there is no other place for it than the sentence.
            message = str(error) if line or key in str(error) else f"{key}: {error}"
            message = f"{place}: {message}" if place else message
            diagnostic = Diagnostic(self.source_name, line, 1 if line else 0, message, key, len(key))
            parsed.bad.add((self.source, line), lambda: diagnostic)

    def parse_exactly(self, lines: list[str], at: int, first_line: int, parsed: Parsed) -> None:
        """The slow and strict way for one line, `lines[at]`."""
        raw, number = lines[at], first_line + at
        if self._is_begin_of_list(raw):
            return
        item: Item | None = None
        try:
            items = self._split(raw)
            if items and raw[:1].isspace():
                self._refuse_continuation(lines, at)
            for item in items:
                records = self.records_of(item, number, parsed)
                if item.until is None or self._is_served(item, item.until, number, parsed):
                    parsed.records += records
        except ValueError as error:
            wrong = error
            parsed.bad.add((self.source, number), lambda: self._diagnostic(wrong, raw, number, item))

    def _is_served(self, item: Item, until: date, line: int, parsed: Parsed) -> bool:
        served = parsed.expiring.is_served(until, self.today)
        if served and until - self.today <= SOON:
            message = f"{item.key.replace(COLUMN_SEPARATOR, ' ')} expires when {until} is over"
            about = Diagnostic(self.source_name, line, item.column, message, severity="warning")
            parsed.expiring.name_soon(until, self.source, about)
        return served

    def _split(self, raw: str) -> list[Item]:
        return split_line(raw, self.key_words, len(KINDS[self.kind].columns))

    def _is_begin_of_list(self, raw: str) -> bool:
        """Whether a line is `mynetworks =`, which is an entry of any texts, and a mistake among pairs."""
        kind = KINDS[self.kind]
        return not (kind.takes_any_text or kind.columns) and is_parameter_alone(raw)

    def _refuse_continuation(self, lines: list[str], at: int) -> None:
        """An indented line below an entry with a value continues it in Postfix's files; here it would be an entry."""
        above = (lines[number] for number in range(at - 1, -1, -1))
        before = next((line for line in above if line.lstrip()[:1] not in ("#", ";", "")), "")
        if not before or before[0].isspace() or self._is_begin_of_list(before):
            return
        if any(item.value for item in self._split(before)):
            raise LineError(
                "this line is indented below an entry with a value, which continues it in Postfix's files: "
                "join the two lines, or take the indentation away"
            )

    def _diagnostic(self, error: ValueError, raw: str, number: int, item: Item | None) -> Diagnostic:
        column, width = (item.column, len(item.key)) if item else (0, 1)
        if isinstance(error, LineError):
            column, width = error.column or column, error.width
        try:
            shown = decode_line(raw)
        except LineError:
            shown = raw
        return Diagnostic(self.source_name, number, column or 1, str(error), shown.rstrip(), width)

    def records_of(self, item: Item, line: int, parsed: Parsed) -> list[str]:
        """The strictly parsed records of one entry. Raises ValueError."""
        if self.key_attributes:
            refuse_never_equal(item.key, self.key_attributes)
        for kind in self.values_as:
            check_value(kind, item.value, lambda text: parsed.note(text, line))
        rest = "" if item.value_is_meant else item.value or ""
        key = SourceKey(item.key, rest, lambda text: parsed.note(text, line), self.allow_wide)
        tail = self.tail(item.value)
        return [
            f"{sort_key}{self.head}{line:08x}cc{bits:02x}{tail}" for sort_key, bits in KINDS[self.kind].sort_keys(key)
        ]

    @property
    def head(self) -> str:
        """The part of an entry before its line number."""
        return f"94cc{self.source:02x}ce"

    @staticmethod
    def tail(value: str | None) -> str:
        """The part of an entry behind its prefix length."""
        return pack_value(value or None).hex()


class _Tails(dict[str, str]):
    """Packed values by their text, of which lists have few. Simple words only; others are not for the fast way."""

    def __missing__(self, value: str) -> str:
        if value and not (value.isalnum() and value.isascii()):
            raise KeyError(value)
        if len(self) > 10_000:
            self.clear()
        tail = self[value] = RecordParser.tail(value)
        return tail


def _network_reader(*, allow_wide: bool) -> Callable[[str], tuple[str, str]]:
    """A function that gives of a common network what its record begins with, and its prefix length. It raises OSError,
    ValueError or KeyError for what the careful way has the words for.
    """
    v4_lengths = _V4_LENGTHS if allow_wide else _V4_STRICT
    v6_lengths = _V6_LENGTHS if allow_wide else _V6_STRICT
    number_of = int.from_bytes

    def read(network: str) -> tuple[str, str]:
        address, slash, length = network.partition("/")
        if ":" in address:
            packed = inet_pton(AF_INET6, address)
            first = number_of(packed, "big")
            hosts, bits = v6_lengths[length or slash]
            if first & hosts or first >> 32 == _MAPPED_HIGH:
                raise KeyError(network)
            return f"36{packed.hex()}{bits}36{first | hosts:032x}", bits
        packed = inet_pton(AF_INET, address)
        first = number_of(packed, "big")
        hosts, bits = v4_lengths[length or slash]
        if first & hosts:
            raise KeyError(network)
        return f"34{packed.hex()}{bits}34{first | hosts:08x}", bits

    return read


def _parse_networks(parser: RecordParser, lines: list[str], first_line: int, parsed: Parsed) -> None:
    read = _network_reader(allow_wide=parser.allow_wide)
    head, tails, append = parser.head, _Tails(), parsed.records.append
    for number, line in enumerate(lines, first_line):
        try:
            network, _, value = line.partition(" ")
            record, bits = read(network)
            append(f"{record}{head}{number:08x}cc{bits}{tails[value]}")
        except (OSError, ValueError, KeyError):
            parser.parse_exactly(lines, number - first_line, first_line, parsed)


def _parse_columns(parser: RecordParser, kind: PairKind, lines: list[str], first_line: int, parsed: Parsed) -> None:
    # One word a column, a simple one as value: no quotes, no comments, nothing but ASCII.
    words_of = re.compile(r"([!-~]+)[ \t]+" * len(kind.columns) + r"([0-9A-Za-z]*)[ \t]*").fullmatch
    columns = list(enumerate(kind.common_columns))
    read = _network_reader(allow_wide=parser.allow_wide)
    head, tails, append = parser.head, _Tails(), parsed.records.append
    for number, line in enumerate(lines, first_line):
        found = words_of(f"{line} ")
        try:
            if found is None:
                raise KeyError(line)  # noqa: TRY301 - the careful way has the words for it
            *words, value = found.groups()
            network, bits = "", "00"
            for at, common in columns:
                word = words[at]
                if word == ANY:
                    words[at] = ANY_KEY
                elif at == kind.ranged:
                    network, bits = read(word)
                    words[at] = NETWORK_HERE
                elif common and common.fullmatch(word) and len(word) <= keys.MAX_NAME_CHARS // len(words):
                    words[at] = word.lower()
                else:
                    raise KeyError(word)  # noqa: TRY301 - as above
            append(f"{COLUMN_SEPARATOR.join(words)}\0{network}{head}{number:08x}cc{bits}{tails[value]}")
        except (OSError, ValueError, KeyError):
            parser.parse_exactly(lines, number - first_line, first_line, parsed)


def _parse_keys(parser: RecordParser, lines: list[str], first_line: int, parsed: Parsed) -> None:
    is_common = KINDS[parser.kind].common.fullmatch
    head, tails, append = parser.head, _Tails(), parsed.records.append
    for number, line in enumerate(lines, first_line):
        key, _, value = line.partition(" ")
        try:
            if not is_common(key) or len(key) > keys.MAX_NAME_CHARS:
                raise KeyError(key)  # noqa: TRY301 - the careful way has the words for it
            append(f"{key.lower()}\0{head}{number:08x}cc00{tails[value]}")
        except KeyError:
            parser.parse_exactly(lines, number - first_line, first_line, parsed)
