"""SPF in a worker: at once where the resolver has every record in its cache, else in a greenlet of its own.

pyspf asks for one record after the other, in the middle of its evaluation. So it runs first with what is cached, and
ends at the first record that is not; then once more in a greenlet, which waits for each record. Questions of one
message are equal for all of its recipients and ACLs: they share one check, and its result for a minute.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import gevent
import gevent.socket
from gevent.hub import Waiter

from forkpolicy.errors import WorldError
from forkpolicy.policy.answers import MustWait
from forkpolicy.world.dns.records import WaitingLookup, records_of
from forkpolicy.world.spf import TEMPERROR, SpfAnswer, check

if TYPE_CHECKING:
    from forkpolicy.state.store import Question
    from forkpolicy.worker.names import Names
    from forkpolicy.worker.world import Done
    from forkpolicy.world.dns.answers import Answer, Record, RrType
    from forkpolicy.world.spf import Spf

# The time for which a resolver keeps the shortest-lived record.
KEPT_S: Final = 60
MAX_KEPT: Final = 10_000
# As many as may wait in a worker by default. One that nobody waits for any more goes on for 20 s, so that what it finds
# is cached when the client tries again.
MAX_CHECKS: Final = 1000


class AskedSpf:
    """Of one worker."""

    def __init__(self, names: Names, receiver: str = "") -> None:
        """`names` has the resolver; `receiver`: the name of this host in headers, unless it is the one it has."""
        self._names, self._receiver = names, receiver
        self._loop = gevent.get_hub().loop
        self._kept: dict[Spf, tuple[SpfAnswer, float]] = {}
        self._kept_from = names.cached
        self._running: dict[Spf, list[Done]] = {}

    def ask(self, question: Question[object]) -> SpfAnswer:
        """The answer, where no record is missing. Raises MustWait where one is, and WorldError for a client without an
        address or above MAX_CHECKS.
        """
        asked = cast("Spf", question)
        if self._kept_from is not self._names.cached:
            # Another resolver: other servers may say something else.
            self._kept, self._kept_from = {}, self._names.cached
        answer, until_s = self._kept.get(asked, (None, 0.0))
        if answer and monotonic() < until_s:
            return answer
        if asked in self._running:
            raise MustWait
        try:
            return self._keep(asked, check(asked, self._cached, self._receiver))
        except MustWait:
            if len(self._running) >= MAX_CHECKS:
                raise WorldError(f"{MAX_CHECKS} SPF checks wait for the DNS already") from None
            raise

    def begin(self, question: Question[object], _raw: bytes, done: Done) -> None:
        """Ask; `done` gets the answer later."""
        asked = cast("Spf", question)
        if asked in self._running:
            self._running[asked].append(done)
        else:
            self._running[asked] = [done]
            gevent.spawn(self._run, asked)

    def _run(self, question: Spf) -> None:
        answer: object
        try:
            lookup = WaitingLookup(self._names.resolver, self._wait, gevent.socket)
            answer = self._keep(question, check(question, lookup, self._receiver))
        except Exception as error:  # noqa: BLE001 - whatever bug this is, somebody waits
            answer = error
        for done in self._running.pop(question):
            # From the loop: what they do must not switch, and this greenlet could.
            self._loop.run_callback(done, answer)

    def _keep(self, question: Spf, answer: SpfAnswer) -> SpfAnswer:
        """The DNS may answer in a moment what it does not answer now."""
        if answer.result != TEMPERROR:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[question] = answer, monotonic() + KEPT_S
        return answer

    def _cached(self, name: str, rrtype: str) -> tuple[Record, ...]:
        """A look-up that does not wait."""
        answer = self._names.cached(name, cast("RrType", rrtype))
        if answer is None:
            raise MustWait
        return records_of(name, rrtype, answer)

    def _wait(self, name: str, rrtype: RrType) -> Answer:
        """For an answer of the resolver, in a greenlet."""
        waiter: Waiter[Answer] = Waiter()
        self._names.ask(name, rrtype, waiter.switch)
        return waiter.get()
