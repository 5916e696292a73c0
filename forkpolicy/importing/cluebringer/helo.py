"""CheckHelo: names of HELO that are no names, that nobody may use, that change too often."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import LONGEST_S, show_duration
from forkpolicy.importing.cluebringer.logic import Condition, both, term
from forkpolicy.importing.sql.patterns import unique
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from forkpolicy.importing.cluebringer.policies import Policies
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

_COLUMNS: Final = (
    "useblacklist",
    "blacklistperiod",
    "usehrp",
    "hrpperiod",
    "hrplimit",
    "rejectinvalid",
    "rejectip",
    "rejectunresolvable",
)
_IP: Final = r"/^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$/"
_LITERAL: Final = r"/^\[.*\]$/"
_NAME: Final = r"/^[\w-]+(\.[\w-]+)+$/"
_CAUGHT: Final = "helo_blacklisted"
_INVALID: Final = "REJECT Invalid HELO/EHLO; Must be a FQDN or an address literal, not '{helo_name}'"


class Helo:
    """The rules of one database."""

    def __init__(self, database: Database, policies: Policies, draft: Draft) -> None:
        self._database, self._policies, self._draft = database, policies, draft
        self._distinct: dict[str, str] = {}

    def write(self) -> None:
        """All rules, for each combination of settings."""
        white = sender_ips(self._database.rows("checkhelo_whitelist"), "helo_whitelist", self._draft)
        known = [term(f"!{name}") for name in white]
        for condition, settings, row in self._policies.effective("checkhelo", _COLUMNS):
            when = both(condition, *known)
            if settings.get("rejectinvalid") == "1":
                self._invalid(when, settings, row)
            if settings.get("useblacklist") == "1":
                self._black(when, settings, row)
            if settings.get("usehrp") == "1":
                self._random(when, settings, row)

    def _invalid(self, when: Condition, settings: dict[str, str], row: Row) -> None:
        action = self._draft.action("invalid_helo", _INVALID, is_template=True)
        is_ip = self._draft.acl("helo_is_ip", "helo_name", [_IP])
        if settings.get("rejectip") == "1":
            self._rules(when, [is_ip], action, row.origin)
        literal, name = (
            self._draft.acl("helo_is_literal", "helo_name", [_LITERAL]),
            self._draft.acl("helo_is_name", "helo_name", [_NAME]),
        )
        some = self._draft.acl("helo", "helo_name", ["/./"])
        self._rules(when, [some, f"!{is_ip}", f"!{literal}", f"!{name}"], action, row.origin)
        if settings.get("rejectunresolvable") == "1":
            nearest = "reject_unknown_helo_hostname in smtpd_helo_restrictions"
            self._draft.leave_out(
                row.origin, "RejectUnresolvable", "no ACL asks whether a name has an address", nearest
            )

    def _black(self, when: Condition, settings: dict[str, str], row: Row) -> None:
        names = [each for each in self._database.rows("checkhelo_blacklist") if each.get("disabled") != "1"]
        entries = [TableEntry(each.get("helo"), None, each.origin) for each in names if each.get("helo")]
        if not entries:
            return
        table = self._draft.table("helo_blacklist", "key", unique(entries), names[0].origin)
        acl = self._draft.acl("helo_blacklist", "helo_name", [f"table:{table}"])
        action = self._draft.action("blacklisted_helo", "REJECT Invalid HELO/EHLO; Blacklisted")
        period_s = _seconds(settings.get("blacklistperiod", ""))
        if period_s:
            reply = f"remember {_CAUGHT} {{client_address}} {show_duration(period_s)}"
            self._rules(when, [acl], self._draft.action("catch_helo", reply, is_template=True), row.origin)
            caught = self._draft.acl("caught_helo", "listed", [_CAUGHT, "{client_address}"])
            self._rules(when, [caught], action, row.origin)
        else:
            self._rules(when, [acl], action, row.origin)

    def _random(self, when: Condition, settings: dict[str, str], row: Row) -> None:
        period_s, most = _seconds(settings.get("hrpperiod", "")), _seconds(settings.get("hrplimit", ""))
        if not period_s or not 0 < most <= 1000:
            self._draft.leave_out(row.origin, "UseHRP", "HRPPeriod and HRPLimit (1 to 1000) must be set")
            return
        limit = f">{most}/{show_duration(period_s)}"
        if limit not in self._distinct:
            self._distinct[limit] = self._draft.acl(
                "random_helo", "distinct", ["{client_address}", "{helo_name}", limit]
            )
        action = self._draft.action("random_helo_refused", "REJECT Invalid HELO/EHLO; HRP limit exceeded")
        self._rules(when, [self._distinct[limit]], action, row.origin)

    def _rules(self, when: Condition, terms: list[str], action: str, origin: Origin) -> None:
        for each in when:
            self._draft.access([*sorted(each), *terms], action, origin)


def sender_ips(rows: list[Row], name: str, draft: Draft) -> list[str]:
    """An ACL of the networks of a white list, `SenderIP:192.0.2.0/24`; none where it is empty."""
    entries: list[TableEntry] = []
    for row in rows:
        text = row.get("source")
        if row.get("disabled") == "1":
            continue
        kind, _, address = text.partition(":")
        try:
            network = ipaddress.ip_network(address if kind.lower() == "senderip" else "", strict=False)
            entries.append(TableEntry(str(network), None, row.origin))
        except ValueError:
            draft.leave_out(row.origin, f"{row.table} {text}", "expected SenderIP:NETWORK: the server cannot use it")
    if not entries:
        return []
    table = draft.table(name, "cidr", unique(entries), rows[0].origin)
    return [draft.acl(name, "client_address", [f"table:{table}"])]


def _seconds(text: str) -> int:
    return min(int(text), LONGEST_S) if text.isascii() and text.isdigit() and len(text) < 13 else 0
