"""A resolver: each question is asked once however many want its answer, and answered once, within two time-outs.

`ask` never waits and never calls back by itself; answers come from the loop, a few a turn, so that many that come
together hold up nobody. `cached` is what a request at hand asks first.

Names are ASCII, in lower case, without the final dot. A failure that the answer to another question can cause (one
malformed answer ends all questions of its socket) is tried once more, on a channel that nobody else uses.

Made after the fork: c-ares sockets and its thread are of one process. Nobody else may touch it from another thread.
"""

from __future__ import annotations

from collections import Counter, deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from forkpolicy.world.dns.answers import failure
from forkpolicy.world.dns.cache import Cache
from forkpolicy.world.dns.channels import TRIES, Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.world.dns.answers import Answer, RrType
    from forkpolicy.world.dns.loop import Loop

    Done = Callable[[Answer], object]

CHANNELS: Final = 8
# A request that was decided again and answered takes 50 us.
DONE_A_TURN: Final = 8
# How often time-outs are looked at, in parts of one.
TICKS_A_TIMEOUT: Final = 20


class _Asked:
    """A question in flight, and who wants its answer."""

    __slots__ = ("by_s", "dones", "is_again", "name", "rrtype", "sent_s")

    def __init__(self, name: str, rrtype: RrType, sent_s: float, by_s: float, done: Done) -> None:
        self.name, self.rrtype = name, rrtype
        self.sent_s, self.by_s = sent_s, by_s
        self.dones = [done]
        self.is_again = False


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
        channels: int = CHANNELS,
    ) -> None:
        """`servers`: `address` or `address:port` each; empty: those of resolv.conf. `timeout_s`: of a try, two tries.
        Raises WorldError for servers that cannot be asked.
        """
        self._loop = loop
        self.timeout_s = timeout_s
        self._cache = Cache() if cache is None else cache
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._finished: deque[tuple[Done, Answer]] = deque()
        self._is_flushing = self._is_ticking = self._is_closed = False
        self._order = 0
        self._next = 0
        first = Channel(loop, servers, timeout_s, self._came)
        self.servers = tuple(first.servers)
        self._channels = [first, *(self._new_channel() for _ in range(channels - 1))]
        # Asked no more, with questions in flight.
        self._leaving: set[Channel] = set()
        self.cached = self._cache.get
        self.counts: Counter[str] = Counter()

    def ask(self, name: str, rrtype: RrType, done: Done) -> None:
        """Ask; `done` is called once, later, with the answer."""
        answer = self.cached(name, rrtype)
        if answer:
            self.counts["cached"] += 1
            self._finished.append((done, answer))
            self._flush_later()
            return
        asked = self._asked.get((name, rrtype))
        if asked:
            self.counts["joined"] += 1
            asked.dones.append(done)
            return
        now = monotonic()
        asked = _Asked(name, rrtype, now, now + TRIES * self.timeout_s, done)
        self._asked[name, rrtype] = asked
        self._send(asked, self._channel())
        self._tick_later()

    def keep(self, name: str, rrtype: str, answer: Answer) -> None:
        """Keep, and count, an answer that was had without this resolver."""
        self._cache.put(name, rrtype, answer)
        self.counts[answer.status.value] += 1

    @property
    def in_flight(self) -> int:
        """How many questions wait for their answers."""
        return len(self._asked)

    def close(self) -> None:
        """End: what is asked is dropped, and nobody is called back any more."""
        self._is_closed = True
        for channel in (*self._channels, *self._leaving):
            channel.close()
        self._asked.clear()
        self._finished.clear()

    def _send(self, asked: _Asked, channel: Channel) -> None:
        def came(answer: Answer, is_of_the_socket: bool) -> None:
            self._answered(asked, channel, answer, is_of_the_socket=is_of_the_socket)

        channel.ask(asked.name, asked.rrtype, came)

    def _channel(self) -> Channel:
        """That of the next question."""
        at = self._next = (self._next + 1) % len(self._channels)
        channel = self._channels[at]
        if channel.is_spent or channel.order != self._order:
            self._leaving.add(channel)
            channel = self._channels[at] = self._new_channel()
        return channel

    def _new_channel(self) -> Channel:
        first = self._order % len(self.servers)
        servers = self.servers[first:] + self.servers[:first]
        return Channel(self._loop, servers, self.timeout_s, self._came, self._order)

    def _came(self) -> None:
        """Read what came, and hand over the first of it."""
        if self._is_closed:
            return
        for channel in (*self._channels, *self._leaving):
            channel.read()
        for channel in [each for each in self._leaving if not each.in_flight]:
            self._leaving.remove(channel)
            channel.close()
        self._flush()

    def _answered(self, asked: _Asked, channel: Channel, answer: Answer, *, is_of_the_socket: bool) -> None:
        if self._asked.get((asked.name, asked.rrtype)) is not asked:
            # It was given up before.
            return
        if is_of_the_socket and not asked.is_again:
            asked.is_again = True
            alone = self._new_channel()
            self._leaving.add(alone)
            self._send(asked, alone)
            return
        if not answer.failed and channel.order == self._order and monotonic() - asked.sent_s >= self.timeout_s:
            # Its first server did not answer: from now on the next one is the first, or each new channel would wait
            # for it again.
            self._order += 1
        self._finish(asked, answer)

    def _finish(self, asked: _Asked, answer: Answer) -> None:
        del self._asked[asked.name, asked.rrtype]
        self.keep(asked.name, asked.rrtype, answer)
        self._finished.extend((done, answer) for done in asked.dones)

    def _flush_later(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.after(0, self._flush_now)

    def _flush_now(self) -> None:
        self._is_flushing = False
        self._flush()

    def _flush(self) -> None:
        """Hand over some answers, the others in the next turns."""
        try:
            for _ in range(min(DONE_A_TURN, len(self._finished))):
                done, answer = self._finished.popleft()
                done(answer)
        finally:
            if self._finished:
                self._flush_later()

    def _tick_later(self) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.after(self.timeout_s / TICKS_A_TIMEOUT, self._tick)

    def _tick(self) -> None:
        """Look at the clock."""
        self._is_ticking = False
        if self._is_closed:
            return
        for channel in (*self._channels, *self._leaving):
            channel.look_at_clock()
        now = monotonic()
        # In the order in which they were asked, and so in that of their ends.
        for asked in list(self._asked.values()):
            if asked.by_s > now:
                break
            self._finish(asked, failure(f"no answer in {TRIES * self.timeout_s:g} s"))
        if self._asked or any(each.in_flight for each in (*self._channels, *self._leaving)):
            self._tick_later()
        self._came()
