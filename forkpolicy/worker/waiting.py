"""The requests of a worker that wait for an answer: of an engine, of the DNS, of a service.

No greenlet waits. The first ACL that has no answer raises its question; the request is parked with its memo, and its
connection serves nothing else. The answer's callback puts it into the memo and decides again, in the callback: what was
answered before is in the memo, so everything is asked and counted once. The generation that has begun a request also
ends it.

A request waits for `[state] budget` seconds at most, for everything together. Then, or at once where too many wait
already, what it still asks for has no answer: an ACL of the store fails, one of the world cannot be known.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, Protocol

import gevent
from gevent.event import Event

from forkpolicy.errors import ForkpolicyError, StateError, WorldError
from forkpolicy.policy.answers import MustWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.model import Acl
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Values
    from forkpolicy.worker.generation import Generation
    from forkpolicy.worker.seldom_log import SeldomLog
    from forkpolicy.worker.world import Asker

# Requests that have waited too long, decided in one turn of the loop: a millisecond.
EXPIRED_A_TURN: Final = 16
# Of all places one ACL may take a half: a name server that is down must leave some to the engine.
SHARE: Final = 2
_ENDS: Final = "the worker ends"


class Client(Protocol):
    """The connection of a parked request."""

    def answered(self, parked: Parked, outcome: Outcome, /) -> None:
        """Its request is decided."""


class Parked:
    """A request that waits. `wait` has the question that it waits for; None: nothing, it is decided or given up."""

    __slots__ = (
        "client",
        "deadline_ns",
        "generation",
        "is_late",
        "memo",
        "parked_ns",
        "raw",
        "started_ns",
        "values",
        "wait",
    )

    def __init__(self, generation: Generation, wait: MustWait, raw: bytes, values: Values, started_ns: int) -> None:
        self.generation = generation
        self.memo = generation.policy.detach()
        self.wait: MustWait | None = wait
        self.raw, self.values = raw, values
        self.started_ns, self.parked_ns = started_ns, perf_counter_ns()
        self.deadline_ns = started_ns + int(generation.loaded.settings.state.budget * 1e9)
        self.is_late = False
        self.client: Client | None = None


class Waiting:
    """Of one worker. `one_less` is set whenever a request waits no longer."""

    def __init__(self, world: Asker, seldom_log: SeldomLog, report_bug: Callable[[Exception], None]) -> None:
        self._world = world
        self._seldom_log, self._report_bug = seldom_log, report_bug
        self._parked: dict[Parked, None] = {}
        self._by_acl: Counter[Acl] = Counter()
        self._last_of: dict[Generation, Callable[[], None]] = {}
        self._timer = gevent.get_hub().loop.timer(0)
        self._due_ns = 0
        self._gives_up = False
        self.one_less = Event()

    def __len__(self) -> int:
        return len(self._parked)

    @property
    def generations(self) -> set[Generation]:
        """Those that will decide what waits."""
        return {each.generation for each in self._parked}

    def parked(self, generation: Generation, wait: MustWait, raw: bytes, values: Values, started_ns: int) -> Parked:
        """A request that has just raised MustWait, before another one is decided."""
        return Parked(generation, wait, raw, values, started_ns)

    def begin(self, parked: Parked, client: Client) -> Outcome | None:
        """Ask its question; the outcome, where it comes to one at once. Else `client` is called with it later."""
        assert parked.wait is not None
        outcome = self._go_on(parked, parked.wait)
        if outcome is None:
            parked.client = client
            self._parked[parked] = None
            if not self._due_ns or parked.deadline_ns < self._due_ns:
                self._wake_at(parked.deadline_ns)
        return outcome

    def forget(self, parked: Parked) -> None:
        """Its connection is closed: nobody wants to know any more."""
        self._end_wait(parked)
        self._remove(parked)

    def give_up(self) -> None:
        """Decide all of them now, with what has been answered, and whatever comes at once: the worker ends."""
        self._gives_up = True
        for parked in list(self._parked):
            self._expire(parked, _ENDS)

    def when_done(self, generation: Generation, done: Callable[[], None]) -> None:
        """Call back once no request of a generation waits any more: now, perhaps."""
        if any(each.generation is generation for each in self._parked):
            self._last_of[generation] = done
        else:
            done()

    def _go_on(self, parked: Parked, wait: MustWait) -> Outcome | None:
        """Ask. Where it may not be asked any more, decide again without the answer."""
        policy = parked.generation.policy
        while True:
            refused = self._refusal(parked, wait.acl)
            if refused is None:
                parked.wait = wait
                self._by_acl[wait.acl] += 1
                asker = parked.generation.store if wait.acl.remembering else self._world
                asker.begin(wait.question, parked.raw, partial(self._answered, parked, wait))
                return None
            policy.receive(parked.memo, wait, refused)
            policy.resume(parked.memo)
            try:
                return parked.generation.decide(parked.values)
            except MustWait as another:
                wait = another.with_traceback(None)
                parked.memo = policy.detach()

    def _refusal(self, parked: Parked, acl: Acl) -> ForkpolicyError | None:
        """Why a question may not be asked."""
        state = parked.generation.loaded.settings.state
        if self._gives_up:
            return _no_answer(acl, _ENDS)
        if parked.is_late:
            return _no_answer(acl, f"no answer within {state.budget:g} s ([state] budget)")
        if len(self._parked) >= state.max_waiting and parked not in self._parked:
            return self._too_many(acl, f"{len(self._parked)} requests wait already ([state] max_waiting)")
        if self._by_acl[acl] * SHARE >= state.max_waiting:
            return self._too_many(acl, f"half of [state] max_waiting ({state.max_waiting}) wait for {acl.name} already")
        return None

    def _too_many(self, acl: Acl, why: str) -> ForkpolicyError:
        self._seldom_log.event("warning", "too many wait", why, key=acl.name)
        return _no_answer(acl, why)

    def _answered(self, parked: Parked, wait: MustWait, answer: object) -> None:
        """An answer has come. One that nobody waits for any more is too late."""
        if parked.wait is not wait:
            return
        self._end_wait(parked)
        self._decide_again(parked, wait, answer)

    def _decide_again(self, parked: Parked, wait: MustWait, answer: object) -> None:
        policy = parked.generation.policy
        policy.receive(parked.memo, wait, answer)
        policy.resume(parked.memo)
        outcome: Outcome | None
        try:
            outcome = parked.generation.decide(parked.values)
        except MustWait as another:
            parked.memo = policy.detach()
            outcome = self._go_on(parked, another.with_traceback(None))
        except Exception as error:  # noqa: BLE001 - whose answer came along with this one must get theirs
            self._report_bug(error)
            outcome = parked.generation.on_error
        if outcome is not None:
            assert parked.client is not None
            parked.client.answered(parked, outcome)
            self._remove(parked)

    def _expire(self, parked: Parked, why: str) -> None:
        wait = parked.wait
        if wait is None:
            return
        self._end_wait(parked)
        parked.is_late = True
        self._seldom_log.event("warning", "waited too long", f"acl {wait.acl.name}: {why}", key=wait.acl.name)
        self._decide_again(parked, wait, _no_answer(wait.acl, why))

    def _end_wait(self, parked: Parked) -> None:
        if parked.wait:
            acl = parked.wait.acl
            self._by_acl[acl] -= 1
            if not self._by_acl[acl]:
                del self._by_acl[acl]
            parked.wait = None

    def _remove(self, parked: Parked) -> None:
        self._parked.pop(parked, None)
        self.one_less.set()
        if self._last_of and parked.generation in self._last_of:
            self.when_done(parked.generation, self._last_of.pop(parked.generation))

    def _wake_at(self, due_ns: int) -> None:
        self._due_ns = due_ns
        self._timer.stop()
        self._timer.close()
        self._timer = gevent.get_hub().loop.timer(max(due_ns - perf_counter_ns(), 0) / 1e9)
        self._timer.start(self._expire_due)

    def _expire_due(self) -> None:
        now_ns, self._due_ns = perf_counter_ns(), 0
        due = (each for each in self._parked if each.deadline_ns <= now_ns)
        for parked in list(islice(due, EXPIRED_A_TURN)):
            budget_s = parked.generation.loaded.settings.state.budget
            self._expire(parked, f"no answer within {budget_s:g} s ([state] budget)")
        if self._parked:
            self._wake_at(min(each.deadline_ns for each in self._parked))


def _no_answer(acl: Acl, why: str) -> ForkpolicyError:
    return StateError(why) if acl.remembering else WorldError(why)
