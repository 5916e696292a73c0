"""A resolver: each question is asked once however many want its answer, and answered once, within two time-outs.

`ask` never waits and never calls back by itself; answers come from the loop, a few a turn, so that many that come
together hold up nobody. `cached` is what a request at hand asks first.

Names are ASCII, in lower case, without the final dot. A failure that the answer to another question can cause (one
malformed answer ends all questions of its socket) is tried once more, on a channel that nobody else uses.

Made after the fork: c-ares sockets and its thread are of one process. Nobody else may touch it from another thread.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from forkpolicy.world.dns.answers import failure
from forkpolicy.world.dns.cache import Cache
from forkpolicy.world.dns.channels import TRIES, no_answer
from forkpolicy.world.dns.few_a_turn import FewATurn
from forkpolicy.world.dns.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.world.dns.answers import Answer, RrType
    from forkpolicy.world.dns.loop import Loop

    Done = Callable[[Answer], object]

RESOLV_CONF: Final = Path("/etc/resolv.conf")
# A request that was decided again and answered takes 50 us, a question that is sent 40 us.
DONE_A_TURN: Final = 8
SENT_A_TURN: Final = 8
# Their answers are kept, 5 us each.
LATE_A_TURN: Final = 64
# A socket for 16 of them at least.
MAX_ASKED: Final = 8192
# How often time-outs are looked at, in parts of one.
TICKS_A_TIMEOUT: Final = 10


class _Asked:
    """A question in flight, and who wants its answer."""

    __slots__ = ("by_s", "dones", "is_again", "name", "order", "rrtype", "sent_s")

    def __init__(self, name: str, rrtype: RrType, by_s: float, done: Done) -> None:
        self.name, self.rrtype, self.by_s = name, rrtype, by_s
        self.dones = [done]
        self.is_again = False
        self.sent_s = 0.0
        self.order = 0


class Resolver:
    """The resolver of one process. `counts`: how many questions had which result (the statuses of answers, `cached`,
    `joined`).
    """

    def __init__(
        self,
        loop: Loop,
        servers: Sequence[str] = (),
        timeout_s: float = 1.0,
        *,
        cache: Cache | None = None,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        """`servers`: `address` or `address:port` each; empty: those of `resolv_conf`. `timeout_s`: of a try, two tries.
        Raises WorldError for servers that c-ares does not take.
        """
        self._loop = loop
        self.timeout_s = timeout_s
        self._cache = Cache() if cache is None else cache
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._to_send = FewATurn(loop, SENT_A_TURN, self._send)
        self._finished = FewATurn[tuple["Done", "Answer"]](loop, DONE_A_TURN, lambda each: each[0](each[1]))
        self._is_ticking = self._is_closed = False
        self._pool = Pool(loop, servers, timeout_s, self._finished.run, resolv_conf)
        self.cached = self._cache.get
        self.counts: Counter[str] = Counter()

    @property
    def servers(self) -> tuple[str, ...]:
        """Who is asked, each as `address:port`."""
        return self._pool.servers

    @property
    def in_flight(self) -> int:
        """How many questions wait for their answers."""
        return len(self._asked)

    def ask(self, name: str, rrtype: RrType, done: Done) -> None:
        """Ask; `done` is called once, later, with the answer."""
        answer = self.cached(name, rrtype)
        if answer:
            self.counts["cached"] += 1
            self._finish_later(done, answer)
            return
        asked = self._asked.get((name, rrtype))
        if asked:
            self.counts["joined"] += 1
            asked.dones.append(done)
            return
        if len(self._asked) >= MAX_ASKED:
            answer = failure("too many questions wait for their answers")
            self.counts[answer.status.value] += 1
            self._finish_later(done, answer)
            return
        asked = _Asked(name, rrtype, monotonic() + TRIES * self.timeout_s, done)
        self._asked[name, rrtype] = asked
        self._to_send.add(asked)
        self._tick_later(self.timeout_s / TICKS_A_TIMEOUT)

    def keep(self, name: str, rrtype: str, answer: Answer) -> None:
        """Keep, and count, an answer that was had without this resolver."""
        self._cache.put(name, rrtype, answer)
        self.counts[answer.status.value] += 1

    def close(self) -> None:
        """End: what is asked is dropped, and nobody is called back any more."""
        self._is_closed = True
        self._pool.close()
        self._to_send.clear()
        self._asked.clear()
        self._finished.clear()

    def _send(self, asked: _Asked) -> None:
        if not self._is_wanted(asked):
            return
        asked.sent_s = monotonic()
        came = partial(self._came, asked)
        asked.order = self._pool.ask(asked.name, asked.rrtype, came, alone=asked.is_again)

    def _came(self, asked: _Asked, answer: Answer, is_of_the_socket: bool) -> None:
        if not self._is_wanted(asked):
            return
        if is_of_the_socket and not asked.is_again:
            asked.is_again = True
            self._to_send.add(asked)
            return
        if not answer.failed and monotonic() - asked.sent_s >= self.timeout_s:
            self._pool.was_late(asked.order)
        self._finish(asked, answer)

    def _finish(self, asked: _Asked, answer: Answer) -> None:
        del self._asked[asked.name, asked.rrtype]
        self.keep(asked.name, asked.rrtype, answer)
        for done in asked.dones:
            self._finished.put((done, answer))

    def _finish_later(self, done: Done, answer: Answer) -> None:
        self._finished.put((done, answer))
        self._finished.run_later()

    def _is_wanted(self, asked: _Asked) -> bool:
        """Whether it was not given up."""
        return self._asked.get((asked.name, asked.rrtype)) is asked

    def _tick_later(self, delay_s: float) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.after(delay_s, self._tick)

    def _tick(self) -> None:
        """Look at the clock."""
        self._is_ticking = False
        if self._is_closed:
            return
        is_busy = self._pool.look_at_clock()
        now = monotonic()
        # In the order in which they were asked, and so in that of their ends.
        late = list(islice(takewhile(lambda asked: asked.by_s <= now, self._asked.values()), LATE_A_TURN))
        for asked in late:
            self._finish(asked, no_answer(self.timeout_s))
        if is_busy or self._asked:
            self._tick_later(0 if len(late) == LATE_A_TURN else self.timeout_s / TICKS_A_TIMEOUT)
        self._finished.run()
