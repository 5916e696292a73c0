"""Does what commands about digests and their links ask (digest_messages.py). Raises NoSuchMailError, sqlite3.Error."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.digest_messages import (
    LINK_ACTIONS,
    DigestFailed,
    DigestsDue,
    DigestSent,
    DigestsRan,
    LinkedMail,
    ShowLink,
    UseLink,
)
from forkpolicy.gateway.domains import DIGESTS
from forkpolicy.gateway.settings import LANGUAGES
from forkpolicy.gateway.store.changes import digests_of, remove_unneeded
from forkpolicy.gateway.store.digests import (
    Terms,
    choice_of,
    choose,
    clear_failure,
    due_digests,
    note_failure,
    note_run,
    note_sent,
)
from forkpolicy.gateway.store.links import Found, find_link, linked_mail, use_link
from forkpolicy.gateway.store_messages import Changed, ChooseDigest, Refused, Reply, Scope, ShowDigestChoice
from forkpolicy.tables.keys import fold_address, fold_domain

if TYPE_CHECKING:
    import sqlite3

    from forkpolicy.gateway.settings import GatewaySettings
    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.link_tokens import LinkTokens
    from forkpolicy.gateway.store.mail_files import MailFiles
    from forkpolicy.gateway.store.mail_log import MailLog
    from forkpolicy.gateway.store.outbox import Outbox

DigestCommand = (
    ShowDigestChoice | ChooseDigest | DigestsDue | DigestSent | DigestFailed | DigestsRan | ShowLink | UseLink
)
DIGEST_COMMANDS: Final = (
    ShowDigestChoice,
    ChooseDigest,
    DigestsDue,
    DigestSent,
    DigestFailed,
    DigestsRan,
    ShowLink,
    UseLink,
)
_DAY_S: Final = 86_400.0
_NOT_YOURS: Final = Refused("not_yours", "this address is not in the scope")


class DigestAnswering:
    """A part of Answering."""

    def __init__(
        self,
        settings: GatewaySettings,
        tokens: LinkTokens,
        files: MailFiles,
        database: Database,
        outbox: Outbox,
        mail_log: MailLog,
    ) -> None:
        self._settings, self._has_log, self._tokens = settings.digest, bool(settings.store.mail_log), tokens
        self._files, self._database, self._outbox, self._mail_log = files, database, outbox, mail_log

    async def answer(self, command: DigestCommand) -> Reply:
        """The reply to one of DIGEST_COMMANDS."""
        match command:
            case ShowDigestChoice():
                if not _has(command.scope, command.address):
                    return _NOT_YOURS
                return await self._database.read(partial(choice_of, address=command.address))
            case ChooseDigest():
                return await self._choose(command)
            case ShowLink():
                return await self._database.read(partial(self._show, token=command.token))
            case UseLink():
                return await self._use(command)
            case DigestsDue():
                return await self._database.read(partial(self._due, command=command))
        await self._database.write(partial(self._note, command=command))
        return Changed(1)

    async def _choose(self, command: ChooseDigest) -> Reply:
        if not _has(command.scope, command.address):
            return _NOT_YOURS
        for name, value, known in (("schedule", command.schedule, DIGESTS), ("language", command.language, LANGUAGES)):
            if value and value not in known:
                return Refused("invalid", f"{name}: expected one of {', '.join(known)}")
        await self._database.write(partial(choose, command=command, at_s=time.time()))
        return Changed(1)

    def _due(self, connection: sqlite3.Connection, command: DigestsDue) -> Reply:
        now_s = time.time()
        token = partial(self._tokens.make, until_s=now_s + self._settings.link_days * _DAY_S)
        return due_digests(connection, command, Terms(self._settings.language, token), now_s)

    def _note(self, connection: sqlite3.Connection, command: DigestSent | DigestFailed | DigestsRan) -> None:
        now_s = time.time()
        match command:
            case DigestSent():
                note_sent(connection, command.address, command.up_to, command.queue_id, now_s)
                if not (self._has_log and command.queue_id):
                    clear_failure(connection, command.address)
                # The mail log may have said already what became of it.
                self._mail_log.catch_up(connection, command.queue_id)
            case DigestFailed():
                note_failure(connection, command.about, command.error, now_s)
            case DigestsRan():
                note_run(connection, now_s)

    def _show(self, connection: sqlite3.Connection, token: str) -> LinkedMail:
        return self._linked(connection, find_link(connection, self._tokens, token, time.time()))

    def _linked(self, connection: sqlite3.Connection, found: Found) -> LinkedMail:
        return linked_mail(connection, found, self._settings.language)

    async def _use(self, command: UseLink) -> Reply:
        if command.action not in LINK_ACTIONS:
            return Refused("invalid", f"expected one of {', '.join(LINK_ACTIONS)}")

        def use(connection: sqlite3.Connection) -> tuple[LinkedMail, int]:
            now_s = time.time()
            held = use_link(connection, self._tokens, command.token, command.action, now_s)
            linked = self._linked(connection, find_link(connection, self._tokens, command.token, now_s))
            return replace(linked, is_done=bool(held)), held

        linked, held = await self._database.write(use)
        if held and command.action == "release":
            self._outbox.wake()
        elif held:
            digests = await self._database.read(partial(digests_of, ids=(held,)))
            await self._database.write(partial(remove_unneeded, files=self._files, digests=digests))
        return linked


def _has(scope: Scope, address: str) -> bool:
    address = fold_address(address)
    return (
        scope.everything
        or address in map(fold_address, scope.addresses)
        or address.rpartition("@")[2] in map(fold_domain, scope.domains)
    )
