"""What one commit will write: the rows of decisions, their lines in compressed blocks, and everything else.

Pure. Rules, sites and blocks have their texts or places here; the server gives them numbers. A text of PostgreSQL has
no character 0 (`text`), and an index no key of more than 2704 bytes (`key`: an address has at most 2048 in Postfix, but
what is not UTF-8 takes four characters a byte in the log).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.day import SLOT_MS
from forkpolicy.history.lines import Decision, Gap, Odd, Versions
from forkpolicy.history.raw_lines import BLOCK_BYTES, packed
from forkpolicy.history.schema import day_of
from forkpolicy.tables.keys import fold_address, ip_key, ip_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.history.lines import Line

Texts = tuple[str, ...]
LONGEST_KEY_BYTES: Final = 2600


class Row(NamedTuple):
    """One decision. `block`: its place among those of the day; `of_request`: client, sender, recipient, login, queue id
    and instance.
    """

    at_ms: int
    block: int
    rule: Texts
    site: Texts
    line: int
    is_cut: bool
    is_odd: bool
    id: str
    of_request: tuple[str | None, ...]


class Day:
    """The decisions of one day."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.blocks: list[bytes] = []
        self._lines: list[bytes] = []
        self._bytes = 0

    def place(self, line: bytes) -> tuple[int, int]:
        """The block that will have a line, and its number there."""
        if self._bytes + len(line) > BLOCK_BYTES and self._lines:
            self.close()
        self._lines.append(line)
        self._bytes += len(line) + 1
        return len(self.blocks), len(self._lines) - 1

    def close(self) -> None:
        """End the last block."""
        if self._lines:
            self.blocks.append(packed(self._lines))
            self._lines, self._bytes = [], 0


class Batch:
    """Lines of one file. `end`: the offset behind the last one."""

    def __init__(self, file: str) -> None:
        self.file, self.end = file, 0
        self.days: dict[str, Day] = defaultdict(Day)
        self.gaps: list[Gap] = []
        self.odd: list[tuple[str, int, str]] = []
        self.rules: set[Texts] = set()
        # With what is known of each: policy, tables, since when.
        self.sites: dict[Texts, tuple[str, str, int] | None] = {}
        # By slot of ten minutes, rule and host.
        self.rollups: Counter[tuple[int, Texts, str]] = Counter()

    def add(self, lines: Sequence[tuple[int, Line]]) -> None:
        """Each line with the offset behind it."""
        for offset, line in lines:
            match line:
                case Decision():
                    self._decision(line)
                case Gap():
                    self.gaps.append(line._replace(reason=text(line.reason)))
                case Versions():
                    site = text(line.host), text(line.id)
                    self.sites[site] = text(line.policy), text(line.tables), line.at_ms
                case Odd():
                    self.odd.append((self.file, offset, text(line.reason)))
        if lines:
            self.end = lines[-1][0]

    def close(self) -> None:
        """Nothing more comes."""
        for day in self.days.values():
            day.close()

    def _decision(self, decision: Decision) -> None:
        rule = text(decision.rule), text(decision.action.split(" ", 1)[0]), text(decision.acls)
        host = text(decision.host)
        site = host, text(decision.in_force)
        self.rules.add(rule)
        self.sites.setdefault(site, None)
        self.rollups[decision.at_ms // SLOT_MS, rule, host] += 1
        day = self.days[day_of(decision.at_ms)]
        block, line = day.place(decision.raw)
        known_by = text(decision.id), _of(decision)
        day.rows.append(Row(decision.at_ms, block, rule, site, line, decision.is_cut, decision.is_odd, *known_by))


def _of(decision: Decision) -> tuple[str | None, ...]:
    """Client, sender, recipient, login, queue id and instance: None where the protocol state has none."""
    request, sender = decision.request, decision.sender
    return (
        _client(request.get("client_address", "")),
        None if sender is None else folded(sender),
        folded(request.get("recipient") or "") or None,
        folded(request.get("sasl_username") or "") or None,
        text(request.get("queue_id") or "") or None,
        text(request.get("instance") or "") or None,
    )


@lru_cache(maxsize=20_000)
def folded(address: str) -> str:
    """An address as it is searched for."""
    return key(fold_address(address))


@lru_cache(maxsize=20_000)
def _client(address: str) -> str | None:
    found = ip_key(address)
    return ip_text(found) if found else None


def text(given: str) -> str:
    """A text that the server takes."""
    return given.replace("\0", "\\x00") if "\0" in given else given


def key(given: str) -> str:
    """A text that its indexes take, too."""
    if len(given) > LONGEST_KEY_BYTES // 4:
        given = given.encode("utf-8", "replace")[:LONGEST_KEY_BYTES].decode("utf-8", "ignore")
    return text(given)
