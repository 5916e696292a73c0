"""White and black lists of iRedAPD: by recipient (amavisd_wblist), of outgoing mail, by the name of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.importing.iredapd.chains import Chain, Pair
from forkpolicy.importing.sql.patterns import NAME, unique
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.iredapd.settings import Settings
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row


class Lists:
    """The lists of one database."""

    def __init__(self, database: Database, settings: Settings, draft: Draft) -> None:
        self._database, self._settings, self._draft = database, settings, draft
        discards = settings.is_on("WBLIST_DISCARD_INSTEAD_OF_REJECT")
        self._refusal = "DISCARD Policy discard" if discards else "REJECT Blacklisted"

    def reverse_names(self, exempt: list[str]) -> None:
        """Clients by the name of their address."""
        tables: dict[str, list[TableEntry]] = {"w": [], "b": []}
        for row in self._database.rows("wblist_rdns"):
            name, verdict = row.get("rdns").lower(), row.get("wb").lower()
            if not NAME.fullmatch(name.removeprefix(".")) or verdict not in tables:
                self._draft.leave_out(row.origin, f"wblist_rdns {name} {verdict}", "expected a name and W or B")
                continue
            names = [name.removeprefix("."), name] if name.startswith(".") else [name]
            tables[verdict] += [TableEntry(each, None, row.origin) for each in names]
        if not tables["b"]:
            return
        terms = list(exempt)
        for verdict, wished in (("w", "welcome_names"), ("b", "refused_names")):
            if not tables[verdict]:
                continue
            origin = tables[verdict][0].origin or self._database.rows("wblist_rdns")[0].origin
            table = self._draft.table(wished, "domain", unique(tables[verdict]), origin)
            acl = self._draft.acl(wished, "reverse_client_name", [f"table:{table}"])
            terms.append(acl if verdict == "b" else f"!{acl}")
        self._draft.access(
            terms, self._draft.action("refused_name", self._refusal), self._database.rows("wblist_rdns")[0].origin
        )

    def mail(self, signed_in: str) -> None:
        """By recipient and sender, and of who has signed in by login and recipient."""
        outgoing = self._pairs("outbound_wblist", senders_first=True)
        if outgoing and not self._settings.is_on("WBLIST_BYPASS_OUTGOING_EMAIL"):
            self._write(Chain(self._draft, "outgoing", ("sasl_username", "recipient")), outgoing, [signed_in], "DUNNO")
        incoming = self._pairs("wblist", senders_first=False)
        if incoming:
            sender = self._draft.acl("null_sender", "null_sender", [])
            chain = Chain(self._draft, "incoming", ("recipient", "sender"))
            self._write(chain, incoming, [f"!{signed_in}", f"!{sender}"], "OK")
            text = "lists of recipients are not asked about mail of who has signed in: only iRedMail knows who is local"
            self._draft.note(incoming[0].origin, text)

    def _write(self, chain: Chain, pairs: list[Pair], terms: list[str], welcome: str) -> None:
        for step in chain.steps(pairs):
            for verdict in step.verdicts:
                reply = welcome if verdict == "w" else self._refusal
                action = self._draft.action("welcome" if verdict == "w" else "blacklisted", reply)
                self._draft.access([*terms, chain.acl(step, verdict)], action, pairs[0].origin)

    def _pairs(self, table: str, *, senders_first: bool) -> list[Pair]:
        """The rows with their accounts: `users` has one's own, `mailaddr` those of others."""
        own = {row.get("id"): row for row in self._database.rows("users")}
        others = {row.get("id"): row for row in self._database.rows("mailaddr")}
        pairs = []
        for row in self._database.rows(table):
            first = own.get(row.get("sid" if senders_first else "rid"))
            second = others.get(row.get("rid" if senders_first else "sid"))
            verdict = row.get("wb").lower()
            if first is None or second is None or verdict not in ("w", "b"):
                what = f"{table} rid={row.get('rid')} sid={row.get('sid')} {row.get('wb')}"
                self._draft.leave_out(
                    row.origin, what, "its rows of users and mailaddr are not there, or it is not W or B"
                )
                continue
            pairs.append(
                Pair(first.get("email"), second.get("email"), verdict, row.origin, priority(first), priority(second))
            )
        return pairs


def priority(row: Row, column: str = "priority") -> int:
    """A priority; 0 where there is none."""
    text = row.get(column)
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10 else 0
