"""Throttling of iRedAPD: limits of messages, bytes and sizes, of each account or of the next one above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.durations import LONGEST_S, show_duration
from forkpolicy.importing.iredapd import accounts
from forkpolicy.importing.iredapd.accounts import account_of
from forkpolicy.importing.iredapd.lists import priority
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

WINDOWS: Final = (
    "iRedAPD begins a counter anew when its period is over, so that nearly twice the limit may pass around then; "
    "here no window of that length has more than the limit"
)
_RANKS: Final = (accounts.EMAIL, accounts.DOMAIN, accounts.BELOW, accounts.ANY)


class Kind(NamedTuple):
    """Whose mail: the kind in the table, the attribute that is counted, whether it has signed in."""

    name: str
    attribute: str
    is_signed_in: bool


_KINDS: Final = (
    Kind("outbound", "sasl_username", True),
    Kind("external", "sender", False),
    Kind("inbound", "recipient", False),
)
_COUNTERS: Final = (("max_msgs", "recipients"), ("max_quota", "bytes"))
# A single message: the attribute that says it.
_SINGLE: Final = (("msg_size", "size"), ("max_rcpts", "recipient_count"))


class Throttle:
    """The limits of one database."""

    def __init__(self, database: Database, draft: Draft, signed_in: str, exempt: list[str]) -> None:
        self._draft, self._signed_in, self._exempt = draft, signed_in, exempt
        self._rows = self._known(database.rows("throttle"))

    def write(self) -> None:
        """All rules, each kind by itself."""
        for kind in _KINDS:
            rows = [row for row in self._rows if (row.get("kind") or "outbound") == kind.name]
            if not rows:
                continue
            within = "within_domain" if kind.attribute != "recipient" else "from_own_domain"
            pair = ("recipient", "{sender_domain}")
            same = self._draft.acl(within, pair[0], [pair[1]])
            terms = [*self._exempt, self._signed_in if kind.is_signed_in else f"!{self._signed_in}", f"!{same}"]
            for column, attribute in _SINGLE:
                self._single(kind, terms, rows, column, attribute)
            for column, counting in _COUNTERS:
                self._counter(kind, terms, rows, column, counting)
        if self._rows:
            self._draft.note(self._rows[0].origin, WINDOWS)
            text = "mail within one domain has no limits: that of the sender, where iRedAPD takes the login's"
            self._draft.note(self._rows[0].origin, text)

    def _known(self, rows: list[Row]) -> list[Row]:
        """Rows whose accounts are mail accounts, in the order of iRedAPD."""
        known: list[tuple[int, Row]] = []
        for row in rows:
            account = row.get("account")
            try:
                rank = _RANKS.index(account_of(account).kind)
            except ValueError:
                reason = (
                    "a limit by address of the client"
                    if account[:1].isdigit() or account == "@ip"
                    else "not a mail account"
                )
                self._draft.leave_out(
                    row.origin, f"throttle {account}", reason, "acl NAME rate {client_address} LIMIT/WINDOW"
                )
                continue
            known.append((rank, row))
        least = {rank: min(priority(row) for each, row in known if each == rank) for rank, _ in known}
        kept = []
        for rank, row in known:
            if any(other < rank and priority(row) >= most for other, most in least.items()):
                reason = f"its priority {row.get('priority')} is not below that of more specific rows"
                self._draft.leave_out(row.origin, f"throttle {row.get('account')}", reason)
            else:
                kept.append(row)
        return kept

    def _counter(self, kind: Kind, terms: list[str], rows: list[Row], column: str, counting: str) -> None:
        default, entries = self._values(rows, column, with_period=True)
        if not entries and default in ("", "-"):
            return
        name = f"{kind.name}_{counting}"
        values = [f"{{{kind.attribute}}}", *([default] if default not in ("", "-") else []), f"count={counting}"]
        if entries:
            table = self._draft.table(name, "address", entries, rows[0].origin)
            values.append(f"limits=table:{table}")
        action = self._draft.action("throttled", "REJECT Quota exceeded")
        self._draft.access([*terms, self._draft.acl(f"many_{name}", "rate", values)], action, rows[0].origin)

    def _single(self, kind: Kind, terms: list[str], rows: list[Row], column: str, attribute: str) -> None:
        default, entries = self._values(rows, column, with_period=False)
        text = "REJECT Message size exceeded" if attribute == "size" else "REJECT Too many recipients"
        action = self._draft.action(f"over_{attribute}", text)
        known: list[str] = []
        if entries:
            table = self._draft.table(f"{kind.name}_{column}", "address", entries, rows[0].origin)
            known = [f"!{self._draft.acl(f'{kind.name}_{column}', kind.attribute, [f'table:{table}'])}"]
            for most in dict.fromkeys(entry.value or "" for entry in entries):
                if most != "-":
                    own = self._draft.acl(f"{kind.name}_{column}_{most}", kind.attribute, [f"table:{table}={most}"])
                    over = self._draft.acl(f"over_{attribute}_{most}", attribute, [f">{most}"])
                    self._draft.access([*terms, own, over], action, rows[0].origin)
        if default not in ("", "-"):
            over = self._draft.acl(f"over_{attribute}_{default}", attribute, [f">{default}"])
            self._draft.access([*terms, *known, over], action, rows[0].origin)

    def _values(self, rows: list[Row], column: str, *, with_period: bool) -> tuple[str, list[TableEntry]]:
        """What holds for all, and entries of those that have another value: `-` is none, no entry the next above."""
        default, entries = "", dict[str, TableEntry]()
        for row in sorted(rows, key=lambda each: _RANKS.index(account_of(each.get("account")).kind)):
            value = _value(row, column, with_period=with_period)
            account = account_of(row.get("account"))
            if not value:
                continue
            if account.kind == accounts.ANY:
                default = value
            else:
                for pattern in account.patterns:
                    entries.setdefault(pattern, TableEntry(pattern, value, row.origin))
        return default, list(entries.values())


def _value(row: Row, column: str, *, with_period: bool) -> str:
    """A limit; `-`: none; empty: that of the next account above."""
    most, period_s = (
        priority(row, column) if len(row.get(column)) < 10 else int(row.get(column)),
        priority(row, "period"),
    )
    if not row.get(column) or most < 0 or not period_s:
        return ""
    if not most:
        return "-"
    return f"{most}/{show_duration(min(period_s, LONGEST_S))}" if with_period else str(most)
