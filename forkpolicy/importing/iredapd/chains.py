"""Rows of (recipient, sender) with a verdict, asked in the order of iRedAPD: recipients by priority, then senders.

One table of two columns for each step; the first step that has an entry decides. A row whose priority is not that of
its kind would be asked at another place there: it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.iredapd import accounts
from forkpolicy.importing.iredapd.accounts import Account, account_of
from forkpolicy.importing.table_text import TableEntry
from forkpolicy.tables.format import COLUMN_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin

# The order in which recipients are asked, and senders for each of them; what is in one group shares a table.
_FIRST: Final = (accounts.EMAIL, accounts.DOMAIN, accounts.BELOW, accounts.ANY)
_SECOND: Final = (
    (accounts.EMAIL,),
    (accounts.EVERYWHERE,),
    (accounts.CLIENT,),
    (accounts.DOMAIN, accounts.BELOW, accounts.ANY),
    (accounts.NETWORK,),
)
_OF_CLIENTS: Final = (accounts.CLIENT, accounts.NETWORK)


class Pair(NamedTuple):
    """One row: two accounts with their priorities, and what it says of them."""

    first: str
    second: str
    verdict: str
    origin: Origin
    first_priority: int
    second_priority: int


class Step(NamedTuple):
    """One table that is asked, by the ACL that holds where it has an entry, and the verdicts in it."""

    table: str
    keys: tuple[str, str]
    verdicts: tuple[str, ...]


@dataclass
class _Read:
    pair: Pair
    first: Account
    second: Account


class Chain:
    """The rows of one plugin. `attributes`: of the first column, and of the second where it has addresses."""

    def __init__(self, draft: Draft, name: str, attributes: tuple[str, str], *, networks_last: bool = True) -> None:
        self._draft, self._name, self._attributes = draft, name, attributes
        # Greylisting compares networks as soon as addresses of clients.
        self._second = _SECOND if networks_last else (*_SECOND[:2], (accounts.CLIENT, accounts.NETWORK), _SECOND[3])

    def steps(self, pairs: list[Pair]) -> list[Step]:
        """The tables in their order."""
        read = self._in_order(self._read(pairs))
        steps = []
        for level in _FIRST:
            of_level = [each for each in read if each.first.kind == level]
            for kinds in self._second:
                rows = [each for each in of_level if each.second.kind in kinds]
                if rows:
                    steps.append(self._step(level, kinds, rows))
        return steps

    def acl(self, step: Step, verdict: str = "") -> str:
        """The ACL that holds where a step has an entry, or one with that verdict."""
        asked = f"table:{step.table}={verdict}" if verdict else f"table:{step.table}"
        return self._draft.acl(f"{step.table}_{verdict or 'found'}", asked, [f"{{{key}}}" for key in step.keys])

    def _read(self, pairs: list[Pair]) -> list[_Read]:
        read = []
        for pair in pairs:
            try:
                first, second = account_of(pair.first), account_of(pair.second)
                if first.kind not in _FIRST:
                    raise ValueError(f"{pair.first} is not an account of this side")  # noqa: TRY301
                read.append(_Read(pair, first, second))
            except ValueError as error:
                self._draft.leave_out(pair.origin, f"{self._name} {pair.first} {pair.second}", str(error))
        return read

    def _in_order(self, read: list[_Read]) -> list[_Read]:
        """Without rows that the server asks earlier than their kind says."""
        ranks = {kind: rank for rank, kinds in enumerate(self._second) for kind in kinds}
        for rank_of, priority_of in (
            (lambda each: _FIRST.index(each.first.kind), lambda each: each.pair.first_priority),
            (lambda each: ranks[each.second.kind], lambda each: each.pair.second_priority),
        ):
            read = self._ranked(read, rank_of, priority_of)
        return read

    def _ranked(
        self, read: list[_Read], rank_of: Callable[[_Read], int], priority_of: Callable[[_Read], int]
    ) -> list[_Read]:
        least: dict[int, int] = {}
        for each in read:
            rank = rank_of(each)
            least[rank] = min(least.get(rank, priority_of(each)), priority_of(each))
        kept = []
        for each in read:
            above = [priority for rank, priority in least.items() if rank < rank_of(each)]
            is_network = each.second.kind == accounts.NETWORK
            if above and priority_of(each) >= min(above) and not is_network:
                reason = f"its priority {priority_of(each)} is not below that of more specific rows"
                self._draft.leave_out(each.pair.origin, f"{self._name} {each.pair.first} {each.pair.second}", reason)
            else:
                kept.append(each)
        return kept

    def _step(self, level: str, kinds: tuple[str, ...], rows: list[_Read]) -> Step:
        is_client = kinds[0] in _OF_CLIENTS
        entries: dict[str, TableEntry] = {}
        # Of a domain alone and of all below it, the first counts for the domain itself.
        for each in sorted(rows, key=lambda row: (row.first.kind == accounts.BELOW, row.second.kind == accounts.BELOW)):
            for first in each.first.patterns:
                for second in each.second.patterns:
                    key = f"{first}{COLUMN_SEPARATOR}{second}"
                    entries.setdefault(key, TableEntry(key, each.pair.verdict, each.pair.origin))
        name = f"{self._name}_{level}_{kinds[0]}"
        kind = "pair:address,network" if is_client else "pair:address,address"
        table = self._draft.table(name, kind, list(entries.values()), rows[0].pair.origin)
        keys = (self._attributes[0], "client_address" if is_client else self._attributes[1])
        return Step(table, keys, tuple(dict.fromkeys(each.pair.verdict for each in rows)))
