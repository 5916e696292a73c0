"""Throttling of policyd version 1: limits of policyd.conf, and rows of `throttle` and `throttle_rcpt` that have others.

policyd adds a row for every sender that it sees, with the limits of policyd.conf: those say nothing.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.durations import show_duration
from forkpolicy.importing.sql.patterns import Texts, unique
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.policyd.config import Config
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

WINDOWS: Final = (
    "policyd begins a counter anew when its time is over, so that nearly twice the limit may pass around that moment; "
    "here no window of that length has more than the limit"
)
SIZES: Final = "policyd adds the size that a client declares at RCPT; here a message counts once, at END-OF-MESSAGE"
_LONGEST_S: Final = 10 * 365 * 86400


class Counter(NamedTuple):
    """What is counted: the column of a limit, the setting that it has by default, `count=` of ours."""

    column: str
    setting: str
    counting: str


_OF_SENDERS: Final = (
    Counter("_count_max", "SENDERMSGLIMIT", "messages"),
    Counter("_rcpt_max", "SENDERRCPTLIMIT", "recipients"),
    Counter("_quota_max", "SENDERQUOTALIMIT", "bytes"),
)
_OF_RECIPIENTS: Final = (Counter("_count_max", "RECIPIENTMSGLIMIT", "messages"),)


class Throttles:
    """The limits of one database."""

    def __init__(self, database: Database, config: Config, draft: Draft) -> None:
        self._database, self._config, self._draft = database, config, draft
        self._reported: set[Origin] = set()

    def senders(self) -> None:
        """By client, by login or by sender, as policyd.conf says."""
        rows = self._ranked(self._database.rows("throttle"))
        if not self._config.is_given:
            self._cannot(rows, "only policyd.conf says whether _from is a login, a sender or a client")
            return
        if not self._config.is_on("SENDERTHROTTLE"):
            return
        verb = "DEFER_IF_PERMIT" if self._config.number("QUOTA_EXCEEDED_TEMP_REJECT") == 1 else "REJECT"
        action = self._draft.action("throttled", f"{verb} {self._config.text('SENDER_QUOTA_REJECTION')}")
        for terms, attribute in self._modes():
            self._sizes(terms, attribute, rows)
            for counter in _OF_SENDERS:
                self._limit(terms, attribute, counter, rows, "SENDERTIMELIMIT", action)
        if self._config.number("SENDER_THROTTLE_AUTOBLACKLIST") == 1:
            nearest = "a second rate with refused=count, and an action remember"
            self._draft.leave_out(
                self._config.origin, "SENDER_THROTTLE_AUTOBLACKLIST", "no rule of ours is equal", nearest
            )
        self._draft.note(self._config.origin, WINDOWS)
        self._draft.note(self._config.origin, SIZES)

    def recipients(self) -> None:
        """By recipient."""
        rows = self._database.rows("throttle_rcpt")
        if not self._config.is_given:
            self._cannot(rows, "policyd.conf is not given, which has the limits that a row does not have")
        elif self._config.is_on("RECIPIENTTHROTTLE"):
            verb = "DEFER_IF_PERMIT" if self._config.number("QUOTA_EXCEEDED_TEMP_REJECT") == 1 else "REJECT"
            action = self._draft.action("flooded", f"{verb} {self._config.text('RECIPIENT_QUOTA_REJECTION')}")
            self._limit([], "recipient", _OF_RECIPIENTS[0], rows, "RECIPIENTTIMELIMIT", action)

    def _ranked(self, rows: list[Row]) -> list[Row]:
        """Without the rows of senders whose domain has one of no lower priority: policyd does not take them."""
        domains = {row.get("_from"): row for row in rows if row.get("_from").startswith("@")}
        ranked = []
        for row in rows:
            domain = domains.get("@" + row.get("_from").rpartition("@")[2]) if row.get("_from")[:1] != "@" else None
            if domain and _number(domain, "_priority") >= _number(row, "_priority"):
                reason = f"the row of its domain has no lower priority ({domain.origin})"
                self._draft.leave_out(row.origin, f"throttle {row.get('_from')}", reason)
            else:
                ranked.append(row)
        return ranked

    def _cannot(self, rows: list[Row], reason: str) -> None:
        for row in rows:
            what = f"{row.table} {row.get('_from') or row.get('_rcpt')}"
            self._draft.leave_out(row.origin, what, reason, "name policyd.conf too")

    def _modes(self) -> list[tuple[list[str], str]]:
        """Terms and attribute: who has signed in is counted by login where SENDER_THROTTLE_SASL is on."""
        if self._config.number("SENDER_THROTTLE_HOST") == 1:
            return [([], "client_address")]
        modes: list[tuple[list[str], str]] = []
        signed_in = self._draft.acl("signed_in", "sasl_username", ["/./"])
        is_by_login = self._config.number("SENDER_THROTTLE_SASL") == 1
        if is_by_login:
            modes.append(([signed_in], "sasl_username"))
        if self._is_by_sender():
            modes.append(([f"!{signed_in}"] if is_by_login else [], "sender"))
        return modes

    def _is_by_sender(self) -> bool:
        return self._config.values.get("SENDER_THROTTLE_ENVELOPE", "1") == "1"

    def _limit(
        self, terms: list[str], attribute: str, counter: Counter, rows: list[Row], window: str, action: str
    ) -> None:
        """One counter: the limit of policyd.conf, and a table of the rows that have another."""
        most, window_s = self._config.number(counter.setting), self._config.seconds(window)
        by_default = self._shown(most, window_s)
        own = Texts(attribute)
        for row in rows:
            limit = self._shown(_number(row, counter.column) or most, _number(row, "_time_limit") or window_s)
            if limit and (limit != by_default or row.get("_from").startswith("@")):
                self._own(own, row, attribute, limit)
        if not (by_default or own.exact or own.domains):
            reason = f"{counter.setting} and {window} are not both set"
            self._draft.leave_out(self._config.origin, f"limits of {counter.counting} by {attribute}", reason)
            return
        values = [f"{{{attribute}}}", *([by_default] if by_default else []), f"count={counter.counting}"]
        name = f"{attribute}_{counter.counting}"
        known = ""
        if own.exact:
            kind = "cidr" if attribute == "client_address" else "key"
            table = self._draft.table(f"limits_{name}", kind, unique(own.exact), self._config.origin)
            values.append(f"limits=table:{table}")
            known = self._draft.acl(f"limited_{name}", attribute, [f"table:{table}"])
        others = self._domains(terms, own, counter, known, action)
        if not (by_default or own.exact):
            return
        many = self._draft.acl(f"many_{name}", "rate", values)
        if known and others:
            self._draft.access([*terms, known, many], action, self._config.origin)
        if by_default or not others:
            self._draft.access([*terms, *others, many], action, self._config.origin)

    def _domains(self, terms: list[str], own: Texts, counter: Counter, known: str, action: str) -> list[str]:
        """A limit that all senders of a domain share, but those with one of their own; the term for the others."""
        if not own.domains:
            return []
        origin = self._config.origin
        table = self._draft.table(f"limits_domain_{counter.counting}", "domain", unique(own.domains), origin)
        values = ["{sender_domain}", f"count={counter.counting}", f"limits=table:{table}"]
        many = self._draft.acl(f"many_domain_{counter.counting}", "rate", values)
        self._draft.access([*terms, *([f"!{known}"] if known else []), many], action, origin)
        return [f"!{self._draft.acl(f'limited_domain_{counter.counting}', 'sender', [f'table:{table}'])}"]

    def _own(self, own: Texts, row: Row, attribute: str, limit: str) -> None:
        key = row.get("_rcpt" if attribute == "recipient" else "_from")
        try:
            if attribute == "client_address":
                own.exact.append(TableEntry(str(ipaddress.ip_address(key)), limit, row.origin))
            elif attribute == "sasl_username" and "@" not in key:
                own.exact.append(TableEntry(key, limit, row.origin))
            elif key.startswith("@") and attribute != "sender":
                # Of senders who have not signed in, if those are counted.
                if not self._is_by_sender():
                    own.add_mail("", row.origin)
            else:
                own.add_mail(key, row.origin, limit)
        except ValueError:
            if row.origin not in self._reported:
                self._draft.leave_out(row.origin, f"{row.table} {key}", f"not a {attribute}, by which policyd counts")
            self._reported.add(row.origin)

    def _sizes(self, terms: list[str], attribute: str, rows: list[Row]) -> None:
        """Messages that are too large, by themselves."""
        default = self._config.number("SENDERMSGSIZE")
        action = self._draft.action("too_large", f"REJECT {self._config.text('SENDER_SIZE_REJECTION')}")
        own = Texts(attribute)
        for row in rows:
            size = _number(row, "_mail_size")
            if size and size != default:
                self._own(own, row, attribute, str(size))
        known: list[str] = []
        kind = "cidr" if attribute == "client_address" else "key"
        for which, entries in ((kind, own.exact), ("domain", own.domains)):
            if not entries:
                continue
            table = self._draft.table(f"sizes_{which}", which, unique(entries), self._config.origin)
            for most in sorted({entry.value or "" for entry in entries}, key=int):
                has_it = self._draft.acl(f"has_size_{most}", attribute, [f"table:{table}={most}"])
                too_large = self._draft.acl(f"over_{most}", "size", [f">={most}"])
                self._draft.access([*terms, *known, has_it, too_large], action, self._config.origin)
            known = [*known, f"!{self._draft.acl(f'has_size_{which}', attribute, [f'table:{table}'])}"]
        if default:
            too_large = self._draft.acl(f"over_{default}", "size", [f">={default}"])
            self._draft.access([*terms, *known, too_large], action, self._config.origin)

    @staticmethod
    def _shown(most: int, window_s: int) -> str:
        return f"{most}/{show_duration(min(window_s, _LONGEST_S))}" if most and window_s else ""


def _number(row: Row, column: str) -> int:
    text = row.get(column)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 13 else 0
