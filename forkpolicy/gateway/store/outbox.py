"""Sends what is `releasing`, one mail after the other: the only sender of a store, so that nothing is sent by two.

No mail stops it: one that fails waits `retry_s` while the others go on; only where nobody listens all of them wait.
Never raises; what needs a person is in Troubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.attempts import (
    attempt_name,
    begin_attempt,
    end_attempt,
    lose_attempt,
    mark_refused,
    mark_sent,
    mark_waiting,
    releasing_after,
    undecided,
)
from forkpolicy.gateway.store.changes import digests_of
from forkpolicy.gateway.store.mail_bytes import MailBytes, UnreadableError
from forkpolicy.gateway.store.sending import NoServerError, RefusedError, Sender, UnknownOutcomeError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.gateway.settings import ReleaseSettings
    from forkpolicy.gateway.store.attempts import Outgoing
    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.mail_files import MailFiles
    from forkpolicy.gateway.store.mail_log import MailLog
    from forkpolicy.gateway.store.troubles import Troubles

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 100
# How often the mail log is asked what became of a try.
_LOG_LOOK_S: Final = 1.0
_PART: Final = "release"


class Outbox:
    """`run` is its task; `wake` says that there is something to send."""

    def __init__(
        self, settings: ReleaseSettings, files: MailFiles, database: Database, mail_log: MailLog, troubles: Troubles
    ) -> None:
        self._settings, self._files, self._database = settings, files, database
        self._mail_log, self._troubles = mail_log, troubles
        self._woken, self._started_s = asyncio.Event(), time.time()
        self._is_ending = False
        # When a mail that failed may be tried again, by the id of its row (monotonic seconds).
        self._not_before_s: dict[int, float] = {}

    def wake(self) -> None:
        """Look at once. In the event loop's thread."""
        self._woken.set()

    def end(self) -> None:
        """Let `run` return, when the mail under way has its reply."""
        self._is_ending = True
        self._woken.set()

    async def run(self) -> None:
        """Send until `end`."""
        while not self._is_ending:
            self._woken.clear()
            try:
                await self._round()
            except (OSError, sqlite3.Error) as error:
                self._troubles.note(_PART, str(error))
            except Exception:
                # A bug of ours must not end all releases; the mail at which it happened waits.
                logger.exception("sending on failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._settings.retry_s)

    async def _round(self) -> None:
        sender = Sender(self._settings.smtp, self._settings.helo)
        now_s, last = time.monotonic(), 0
        self._not_before_s = {held: at_s for held, at_s in self._not_before_s.items() if at_s > now_s}
        try:
            while ids := await self._database.read(partial(releasing_after, held=last, most=_AT_ONCE)):
                last = ids[-1]
                for held in ids:
                    if self._is_ending:
                        return
                    if held not in self._not_before_s:
                        await self._send(sender, held)
            self._troubles.clear(_PART)
        except NoServerError as error:
            self._troubles.note(_PART, f"cannot be sent now: {error}")
        finally:
            await asyncio.to_thread(sender.close)

    async def _send(self, sender: Sender, held: int) -> None:
        # Whatever happens below, also a bug: not again at once.
        self._not_before_s[held] = time.monotonic() + self._settings.retry_s
        if await self._is_decided_by_log(held):
            return
        began_s = time.time()
        begun = await self._database.write(partial(begin_attempt, held=held, at_s=began_s))
        if begun is None:
            self._not_before_s.pop(held, None)
            return
        attempt, mail = begun
        try:
            name = attempt_name(attempt, began_s)
            reply, queue_id = await asyncio.to_thread(self._send_file, sender, mail, name)
        except FileNotFoundError:
            await self._ended(attempt, "the file of the mail is missing", partial(mark_refused, held=held))
        except RefusedError as error:
            await self._ended(attempt, str(error), partial(mark_refused, held=held))
        except WaitError as error:
            await self._ended(attempt, str(error), partial(mark_waiting, held=held))
            return
        except UnknownOutcomeError as error:
            await self._lost(attempt, held, str(error))
            raise NoServerError(str(error)) from error
        except NoServerError as error:
            await self._ended(attempt, str(error), partial(mark_waiting, held=held))
            self._not_before_s.pop(held, None)
            raise
        else:
            await self._sent(attempt, held, queue_id, reply)
        self._not_before_s.pop(held, None)

    async def _is_decided_by_log(self, held: int) -> bool:
        """Whether the row is not to be sent now: an earlier try was taken, or the mail log may still say so."""
        earlier = await self._database.read(partial(undecided, held=held))
        if earlier is None:
            return False
        if earlier.taken:
            await self._sent(earlier.id, held, earlier.queue_id, "Postfix has it, as its log says")
            return True
        since_s = self._started_s if earlier.lost_s is None else earlier.lost_s
        if self._mail_log.has_read_since(since_s):
            return False
        self._not_before_s[held] = time.monotonic() + _LOG_LOOK_S
        asyncio.get_running_loop().call_later(_LOG_LOOK_S, self._woken.set)
        return True

    async def _lost(self, attempt: int, held: int, reply: str) -> None:
        at_s = time.time()

        def change(connection: sqlite3.Connection) -> None:
            lose_attempt(connection, attempt, at_s, reply)
            mark_waiting(connection, held, reply, at_s)

        await self._database.write(change)

    def _send_file(self, sender: Sender, mail: Outgoing, name: str) -> tuple[str, str]:
        with self._files.path(mail.digest).open("rb") as file:
            try:
                content = MailBytes(file)
            except UnreadableError as error:
                raise WaitError(str(error)) from error
            return sender.send(mail, content, name)

    async def _ended(self, attempt: int, reply: str, mark: Callable[..., None]) -> None:
        at_s = time.time()

        def change(connection: sqlite3.Connection) -> None:
            end_attempt(connection, attempt, at_s, reply)
            mark(connection, reply=reply, at_s=at_s)

        await self._database.write(change)

    async def _sent(self, attempt: int, held: int, queue_id: str, reply: str) -> None:
        at_s = time.time()

        def change(connection: sqlite3.Connection) -> set[str]:
            end_attempt(connection, attempt, at_s, reply, queue_id)
            mark_sent(connection, held, queue_id, reply, at_s)
            # The mail log may have said it already, before anybody knew whose queue id that is.
            self._mail_log.catch_up(connection, queue_id)
            return digests_of(connection, (held,))

        await self._mail_log.remove_files(await self._database.write(change))
