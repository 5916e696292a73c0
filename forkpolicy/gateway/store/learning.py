"""Has the scanner learn mail that a person released as no spam, or deleted as spam: rspamd's controller by HTTP.

200: learnt; 208: known already; 404: rspamd has no place for statistics now (without redis it says that of each mail),
so the mail is kept and tried again, as where nobody listens or the password is wrong; everything else: failed. The file
stays until then. Never raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store.changes import remove_unneeded
from forkpolicy.gateway.store.controller import Controller
from forkpolicy.gateway.store.mail_bytes import MailBytes, UnreadableError

if TYPE_CHECKING:
    from forkpolicy.gateway.settings import ScannerSettings
    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.mail_files import MailFiles
    from forkpolicy.gateway.store.troubles import Troubles

_TIMEOUT_S: Final = 30.0
_LATER_S: Final = 300.0
_DAY_S: Final = 86_400.0
_AT_ONCE: Final = 50
# Of those that were put off, tried in one round.
_MOST_LATER: Final = 1000
_MOST_PUT_OFF: Final = 3
_PART: Final = "learning"
# By the status of rspamd's controller.
_STATES: Final = {200: "learnt", 208: "known", 404: "later", 401: "later", 403: "later"}


class Lesson(NamedTuple):
    """A mail to learn. `kind`: spam or ham."""

    id: int
    kind: str
    digest: str
    wanted_s: float


class Learning:
    """`run` is its task; `wake` says that there is something to learn."""

    def __init__(
        self, settings: ScannerSettings, give_up_days: int, files: MailFiles, database: Database, troubles: Troubles
    ) -> None:
        self._settings, self._give_up_s = settings, give_up_days * _DAY_S
        self.controller = Controller(settings)
        self._files, self._database, self._troubles = files, database, troubles
        self._woken = asyncio.Event()
        self._is_ending = False

    @property
    def is_on(self) -> bool:
        """Whether there is a scanner to learn."""
        return bool(self._settings.controller)

    def wake(self) -> None:
        """Look at once. In the event loop's thread."""
        self._woken.set()

    def end(self) -> None:
        """Let `run` return, when the mail under way has its reply."""
        self._is_ending = True
        self._woken.set()

    async def run(self) -> None:
        """Have mail learnt until `end`."""
        while self.is_on and not self._is_ending:
            self._woken.clear()
            try:
                await self._round()
            except (OSError, sqlite3.Error) as error:
                self._troubles.note(_PART, str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _LATER_S)

    async def _round(self) -> None:
        # What was put off is last, so that it keeps nothing else from being learnt.
        later = await self._database.read(partial(_wanted, state="later", most=_MOST_LATER))
        while lessons := await self._database.read(partial(_wanted, state="wanted", most=_AT_ONCE)):
            if not await self._learn_all(lessons):
                return
        if await self._learn_all(later):
            self._troubles.clear(_PART)

    async def _learn_all(self, lessons: list[Lesson]) -> bool:
        """Whether the scanner learns now: it does not when it puts off one mail after the other."""
        put_off = 0
        for each in lessons:
            if self._is_ending:
                return False
            state, words = await asyncio.to_thread(self._learn, each)
            await self._note(each, state, words)
            put_off = put_off + 1 if state == "later" else 0
            if put_off:
                self._troubles.note(_PART, f"{self._settings.controller}: {words}")
            if put_off == _MOST_PUT_OFF:
                return False
        return not put_off

    async def _note(self, lesson: Lesson, state: str, words: str) -> None:
        if state == "later" and time.time() - lesson.wanted_s > self._give_up_s:
            state = "failed"
        await self._database.write(partial(_noted, lesson=lesson, state=state, words=words))
        if state != "later":
            await self._database.write(partial(remove_unneeded, files=self._files, digests=(lesson.digest,)))

    def _learn(self, lesson: Lesson) -> tuple[str, str]:
        """What became of it, and the scanner's words."""
        try:
            file = self._files.path(lesson.digest).open("rb")
        except FileNotFoundError:
            return "failed", "the file of the mail is missing"
        with file:
            try:
                return self._post(f"/learn{lesson.kind}", MailBytes(file))
            except (OSError, http.client.HTTPException, ValueError, UnreadableError) as error:
                return "later", getattr(error, "strerror", None) or str(error) or type(error).__name__

    def _post(self, path: str, mail: MailBytes) -> tuple[str, str]:
        answer = self.controller.post(path, mail, _TIMEOUT_S)
        words = _words(answer.body) or answer.reason
        return _STATES.get(answer.status, "failed"), f"{answer.status} {words}"


def _words(body: bytes) -> str:
    """What the scanner says, on one line."""
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        document = json.loads(text)
        text = str(document.get("error", "")) if isinstance(document, dict) else text
    return "".join(each if each.isprintable() else " " for each in text)[:200].strip()


def _wanted(connection: sqlite3.Connection, state: str, most: int) -> list[Lesson]:
    question = """SELECT learning.id, class, digest, at_s FROM learning JOIN message ON message.id = learning.message
      WHERE state = ? ORDER BY learning.id LIMIT ?"""
    return [Lesson(*row) for row in connection.execute(question, (state, most))]


def _noted(connection: sqlite3.Connection, lesson: Lesson, state: str, words: str) -> None:
    # Not where a person has changed their mind meanwhile. `at_s` stays that of the wish.
    connection.execute("UPDATE learning SET state = ?, words = ? WHERE id = ?", (state, words, lesson.id))
