"""White lists, black lists and spamtraps of policyd version 1: rules that pass or refuse at once."""

from __future__ import annotations

import ipaddress
import re
import time
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import show_duration
from forkpolicy.importing.sql.patterns import Texts, unique
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.policyd.config import Config
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

_GOES_ON: Final = "DUNNO"
# 192.%.%.%, 192.0.%.%, 192.0.2.%: it compares these with the client's own.
_BLOCK: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3}){0,2})((?:\.%)+)", re.ASCII)
_CAUGHT: Final = "caught_clients"
_SENDERS: Final = (("whitelist_sender", "WHITELISTSENDER"), ("blacklist_sender", "BLACKLISTSENDER"))


class Lists:
    """The lists of one database."""

    def __init__(self, database: Database, config: Config, draft: Draft) -> None:
        self._database, self._config, self._draft = database, config, draft

    def white(self) -> None:
        """Rules that pass, in policyd's order."""
        if not self._config.is_on("WHITELISTING"):
            return
        action = self._draft.action("pass", _GOES_ON)
        if self._config.number("WHITELISTNULL") == 1:
            self._draft.access([self._draft.acl("null_sender", "null_sender", [])], action, self._config.origin)
        self._clients("whitelist", action)
        if self._config.is_on("WHITELISTSENDER"):
            self._senders("whitelist_sender", action)
        if self._config.is_on("WHITELISTDNSNAME"):
            self._names("whitelist_dnsname", action)

    def black(self) -> None:
        """Rules that refuse, in policyd's order: what it adds to its black list by itself comes first."""
        if not self._config.is_on("BLACKLISTING"):
            return
        verb = "DEFER_IF_PERMIT" if self._config.number("BLACKLIST_TEMP_REJECT") == 1 else "REJECT"
        action = self._draft.action("blacklisted", f"{verb} {self._config.text('BLACKLIST_REJECTION')}")
        self._clients("blacklist", action)
        self._caught(action)
        if self._config.is_on("BLACKLIST_HELO"):
            self._helo(action)
        if self._config.is_on("BLACKLISTSENDER"):
            self._senders("blacklist_sender", action)
        if self._config.is_on("BLACKLISTDNSNAME"):
            self._names("blacklist_dnsname", action)

    def spamtraps(self) -> None:
        """Who writes to one is refused, and for a time whatever else it sends."""
        if not self._config.is_on("SPAMTRAPPING"):
            return
        traps = Texts("recipient")
        for row in self._living("spamtrap"):
            if row.get("_active") in ("", "1"):
                self._add(traps, "mail", row, "_rcpt")
        action = self._draft.action("spamtrapped", f"REJECT {self._config.text('SPAMTRAP_REJECTION')}")
        for acl in traps.acls(self._draft, "spamtrap", self._origin("spamtrap")):
            self._remember([acl], "SPAMTRAP_AUTO_EXPIRE", "spamtrap")
            self._draft.access([acl], action, self._origin("spamtrap"))

    def random_helo(self) -> None:
        """HELO_CHECK: a client with too many names."""
        config = self._config
        if not config.is_given or not config.is_on("HELO_CHECK"):
            return
        count, expire_s = config.number("HELO_MAX_COUNT"), config.seconds("HELO_AUTO_EXPIRE")
        if not 0 < count < 1000 or not expire_s:
            reason = "HELO_MAX_COUNT and HELO_AUTO_EXPIRE must be set: here, names are forgotten after a time"
            self._draft.leave_out(config.origin, "HELO_CHECK", reason, "acl NAME distinct {client_address} {helo_name}")
            return
        values = ["{client_address}", "{helo_name}", f">{count}/{show_duration(expire_s)}"]
        acl = self._draft.acl("random_helo", "distinct", values)
        self._remember([acl], "HELO_BLACKLIST_AUTO_EXPIRE", "helo")
        self._draft.access([acl], self._refusal(), config.origin)
        text = "HELO_CHECK refused the request after the last name that was allowed; this policy the name itself"
        self._draft.note(config.origin, text)

    def _refusal(self) -> str:
        return self._draft.action("blacklisted", f"REJECT {self._config.text('BLACKLIST_REJECTION')}")

    def _clients(self, table: str, action: str) -> None:
        entries = []
        for row in self._living(table):
            try:
                entries.append(TableEntry(_network(row.get(f"_{table}")), None, row.origin))
            except ValueError as error:
                self._draft.leave_out(row.origin, row.get(f"_{table}"), str(error))
        if entries:
            origin = self._origin(table)
            name = self._draft.table(f"{table}_clients", "cidr", unique(entries), origin)
            self._draft.access(
                [self._draft.acl(f"{table}_client", "client_address", [f"table:{name}"])], action, origin
            )

    def _senders(self, table: str, action: str) -> None:
        senders = Texts("sender")
        for row in self._living(table):
            self._add(senders, "mail", row, f"_{table.partition('_')[0]}")
        for acl in senders.acls(self._draft, table, self._origin(table)):
            self._draft.access([acl], action, self._origin(table))

    def _names(self, table: str, action: str) -> None:
        """A client without a name is on none of these lists."""
        names = Texts("client_name")
        for row in self._living(table):
            self._add(names, "name", row, f"_{table.partition('_')[0]}")
        for acl in names.acls(self._draft, table, self._origin(table)):
            nameless = self._draft.acl("nameless", "client_name", ["unknown"])
            self._draft.access([f"!{nameless}", acl], action, self._origin(table))

    def _helo(self, action: str) -> None:
        names = Texts("helo_name")
        for row in self._living("blacklist_helo"):
            self._add(names, "name", row, "_helo")
        for acl in names.acls(self._draft, "blacklist_helo", self._origin("blacklist_helo")):
            self._remember([acl], "BLACKLIST_HELO_AUTO_EXPIRE", "blacklist_helo")
            self._draft.access([acl], action, self._origin("blacklist_helo"))

    def _caught(self, action: str) -> None:
        """Clients that policyd would have put on its black list by itself."""
        if self._config.is_given:
            mask = ["mask=/24,/64"] if self._config.number("BLACKLIST_NETBLOCK") == 1 else []
            acl = self._draft.acl("caught", "listed", [_CAUGHT, "{client_address}", *mask])
            self._draft.access([acl], action, self._config.origin)

    def _remember(self, terms: list[str], setting: str, table: str) -> None:
        if not self._config.is_given:
            reason = f"policyd.conf is not given, whose {setting} says for how long"
            self._draft.leave_out(self._origin(table), f"{table}: putting the client on the black list", reason)
            return
        expire_s = self._config.seconds(setting)
        if not expire_s or not self._config.is_on("BLACKLISTING"):
            reason = f"{setting} is 0: never to be forgotten" if not expire_s else "BLACKLISTING is off"
            nearest = "forkpolicy state remember LIST KEY DURATION"
            self._draft.leave_out(
                self._config.origin, f"{table}: putting the client on the black list", reason, nearest
            )
            return
        mask = " mask=/24,/64" if self._config.number("BLACKLIST_NETBLOCK") == 1 else ""
        reply = f"remember {_CAUGHT} {{client_address}}{mask} {show_duration(expire_s)}"
        action = self._draft.action(f"catch_{table}", reply, is_template=True)
        self._draft.access(terms, action, self._origin(table))

    def _add(self, texts: Texts, what: str, row: Row, column: str) -> None:
        text = row.get(column)
        try:
            texts.add_mail(text, row.origin) if what == "mail" else texts.add_name(text, row.origin)
        except ValueError as error:
            nearest = f"@{text} is a domain" if what == "mail" and "@" not in text else ""
            self._draft.leave_out(row.origin, f"{row.table} {text}", str(error), nearest)

    def _living(self, table: str) -> Iterator[Row]:
        """Rows that have not expired; those that will are not carried over."""
        for row in self._database.rows(table):
            expire = row.get("_expire")
            if expire.isascii() and expire.isdigit() and 0 < int(expire) < 1 << 40:
                if int(expire) > time.time():
                    day = time.strftime("%Y-%m-%d", time.localtime(int(expire)))
                    nearest = "forkpolicy state remember LIST KEY DURATION"
                    what = f"{table} {next(iter(row.values.values()), '')}"
                    self._draft.leave_out(row.origin, what, f"it expires on {day}", nearest)
                continue
            yield row

    def _origin(self, table: str) -> Origin:
        rows = self._database.rows(table)
        return rows[0].origin if rows else self._config.origin


def _network(text: str) -> str:
    """The network of an entry. Raises ValueError."""
    if found := _BLOCK.fullmatch(text):
        numbers = found[1].split(".")
        if len(numbers) + found[2].count("%") == 4:
            return str(ipaddress.ip_network(f"{'.'.join([*numbers, *'000'][:4])}/{8 * len(numbers)}"))
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("neither an address nor a form such as 192.0.2.%: no client has it") from None
