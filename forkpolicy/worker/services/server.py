"""One policy server that is asked, by one worker: its connections, the questions that wait for one, and how it does.

A question is asked on a connection that is free, or on a new one; MOST_CONNECTIONS at a time, and others wait in order.
Those about one message go to one connection where they can, as from Postfix: a server may know them by that.
It is over with the reply, with its time limit, or with what goes wrong. One that meets a kept connection which the
server has closed is asked again once, on a new one, as Postfix does (smtpd_policy_service_try_limit); nothing else is
ever asked twice.

A server that cannot be connected to, or that fails FAILURES times without a reply in between, rests: for a while, each
time twice as long, questions fail at once, and then one of them tries it. The other workers see that by themselves.
"""

from __future__ import annotations

import errno
import random
import re
import time
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import WorldError
from forkpolicy.worker.services.address import ServiceAddress
from forkpolicy.worker.services.connection import ServiceConnection, connecting

if TYPE_CHECKING:
    from forkpolicy.worker.seldom_log import SeldomLog
    from forkpolicy.worker.services.address import Place
    from forkpolicy.worker.world import Done
    from forkpolicy.world.dns.loop import Handle, Loop

# A server that answers one request at a time gains nothing by more; Postfix alone would make a hundred.
MOST_CONNECTIONS: Final = 20
# Postfix closes an idle one after 300 s and any after 1000 s (max_idle, max_ttl): a server that Postfix can use keeps
# ours for longer than these.
IDLE_S: Final = 100.0
OLDEST_S: Final = 900.0
TIDY_S: Final = 20.0
FAILURES: Final = 3
FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 30.0
_INSTANCE: Final = re.compile(rb"^instance=([^\r\n]+)", re.MULTILINE).search


class _Asked:
    """A question under way. `places`: where else it may try to connect."""

    __slots__ = ("connection", "done", "instance", "is_repeated", "places", "raw", "timer", "why")

    def __init__(self, raw: bytes, done: Done) -> None:
        self.raw = raw
        found = _INSTANCE(raw)
        self.instance = found[1] if found else b""
        self.done: Done | None = done
        self.timer: Handle | None = None
        self.connection: ServiceConnection | None = None
        self.is_repeated = False
        self.places: list[Place] = []
        self.why = ""


class AskedService:
    """The server at `endpoint`. `counts`: how often what has become of a question."""

    def __init__(self, endpoint: str, loop: Loop, seldom_log: SeldomLog) -> None:
        self.endpoint, self._loop, self._log = endpoint, loop, seldom_log
        self.counts: Counter[str] = Counter()
        self._address = ServiceAddress(endpoint, self._address_known)
        self._waiting: deque[_Asked] = deque()
        self._asked_on: dict[ServiceConnection, _Asked] = {}
        self._free: list[ServiceConnection] = []
        self._tidy_timer: Handle | None = None
        self._failures = 0
        self._rest_s = FIRST_REST_S
        self._rests_until_s = 0.0
        self._why_rests = ""
        self._trial: _Asked | None = None

    def refusal(self) -> WorldError | None:
        """Why it is not asked now: it has failed a moment ago, or one question tries whether it works again."""
        if self._failures < FAILURES:
            return None
        left_s = self._rests_until_s - time.monotonic()
        if left_s <= 0 and self._trial is None:
            return None
        self.counts["refused"] += 1
        when = f"it is asked again in {left_s:.0f} s" if left_s > 0 else "one request tries it"
        return WorldError(f"{self.endpoint}: {self._why_rests}; {when}")

    def ask(self, raw: bytes, timeout_s: float, done: Done) -> None:
        """Ask. `done` is called once, never by this call, with the reply or a WorldError."""
        refused = self.refusal()
        if refused:
            self._loop.after(0, partial(done, refused))
            return
        asked = _Asked(raw, done)
        if self._failures >= FAILURES:
            self._trial = asked
        asked.timer = self._loop.after(timeout_s, partial(self._too_late, asked, timeout_s))
        self._waiting.append(asked)
        self._go_on()

    def _go_on(self) -> None:
        """Give connections to questions that wait."""
        while self._waiting:
            connection = self._free_connection(self._waiting[0].instance)
            if connection is None and not self._has_room():
                return
            asked = self._waiting.popleft()
            if connection:
                asked.connection, self._asked_on[connection] = connection, asked
                connection.ask(asked.raw, asked.instance)
            else:
                asked.places = list(self._address.places)
                self._connect(asked)

    def _has_room(self) -> bool:
        return len(self._asked_on) < MOST_CONNECTIONS and self._address.is_known

    def _free_connection(self, instance: bytes) -> ServiceConnection | None:
        """The one that was asked about the same message, else the one that was used last, so that those which are not
        needed become idle.
        """
        while self._free:
            same = (at for at, each in enumerate(self._free) if instance and each.instance == instance)
            connection = self._free.pop(next(same, -1))
            if connection.is_quiet:
                return connection
            connection.close()
        return None

    def _connect(self, asked: _Asked) -> None:
        """Ask on a new connection, at the first place that takes one."""
        while asked.places:
            family, address = asked.places.pop(0)
            try:
                sock = connecting(family, address)
            except OSError as error:
                asked.why = _why(error)
                continue
            asked.connection = connection = ServiceConnection(sock, self._loop, self, asked.raw)
            connection.instance = asked.instance
            self._asked_on[connection] = asked
            return
        self._over(asked, f"cannot be connected to: {asked.why}", "unreachable", failures=FAILURES)

    def _address_known(self) -> None:
        if self._address.places:
            self._go_on()
            return
        while self._waiting:
            why = f"has no address: {self._address.why_none}"
            self._over(self._waiting.popleft(), why, "unreachable", failures=FAILURES)

    def connect_failed(self, connection: ServiceConnection, why: str) -> None:
        """See Owner."""
        asked = self._asked_on.pop(connection)
        asked.why = why
        self._connect(asked)
        self._go_on()

    def replied(self, connection: ServiceConnection, reply: str) -> None:
        """See Owner."""
        asked = self._asked_on.pop(connection)
        if time.monotonic() - connection.born_s < OLDEST_S:
            self._free.append(connection)
            self._tidy_timer = self._tidy_timer or self._loop.after(TIDY_S, self._tidy)
        else:
            connection.close()
        if self._failures >= FAILURES:
            self._log.event("info", "service replies again", f"{self.endpoint} replies again", key=self.endpoint)
        self._failures, self._rest_s = 0, FIRST_REST_S
        self.counts["replied"] += 1
        self._go_on()
        self._answer(asked, reply)

    def failed(self, connection: ServiceConnection, result: str, why: str, *, is_stale: bool) -> None:
        """See Owner."""
        asked = self._asked_on.pop(connection)
        if is_stale and not asked.is_repeated:
            asked.is_repeated, asked.places = True, list(self._address.places)
            self.counts["repeated"] += 1
            self._connect(asked)
        else:
            self._over(asked, why, result)
        self._go_on()

    def dropped(self, connection: ServiceConnection) -> None:
        """See Owner."""
        if connection in self._free:
            self._free.remove(connection)

    def _too_late(self, asked: _Asked, timeout_s: float) -> None:
        if asked.connection:
            # Its reply may still come: nobody else must get it.
            asked.connection.close()
            self._asked_on.pop(asked.connection, None)
        else:
            self._waiting.remove(asked)
        self._over(asked, f"no reply within {timeout_s:g} s", "late")
        self._go_on()

    def _over(self, asked: _Asked, why: str, result: str, failures: int = 1) -> None:
        """There is no reply to a question."""
        self.counts[result] += 1
        self._failures += failures
        if self._failures >= FAILURES and (asked is self._trial or time.monotonic() >= self._rests_until_s):
            self._rest(why)
        self._log.event("warning", "service failed", f"{self.endpoint}: {why}", key=self.endpoint)
        self._answer_later(asked, WorldError(f"{self.endpoint}: {why}"))

    def _rest(self, why: str) -> None:
        """Ask nothing for a while, not all workers for the same while; who waits already is not kept waiting."""
        self._why_rests = why
        self._rests_until_s = time.monotonic() + self._rest_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
        self._trial = None
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            self._answer_later(each, self.refusal())

    def _answer_later(self, asked: _Asked, answer: object) -> None:
        """Not within `ask`, whose caller has not finished."""
        if asked.timer:
            asked.timer.stop()
        self._loop.after(0, partial(self._answer, asked, answer))

    def _answer(self, asked: _Asked, answer: object) -> None:
        if asked is self._trial:
            self._trial = None
        done, asked.done = asked.done, None
        if asked.timer:
            asked.timer.stop()
        if done:
            done(answer)

    def _tidy(self) -> None:
        """Close what has been idle for long, or is old."""
        now_s, self._tidy_timer = time.monotonic(), None
        kept = []
        for connection in self._free:
            if now_s - connection.used_s >= IDLE_S or now_s - connection.born_s >= OLDEST_S:
                connection.close()
            else:
                kept.append(connection)
        self._free = kept
        if kept:
            self._tidy_timer = self._loop.after(TIDY_S, self._tidy)


def _why(error: OSError) -> str:
    # A UNIX socket says so where a TCP port lets wait.
    return "its queue of connections is full" if error.errno == errno.EAGAIN else error.strerror or str(error)
