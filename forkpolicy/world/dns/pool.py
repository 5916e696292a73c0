"""The channels of a resolver: which one takes the next question, when it begins anew, and whom it asks first.

Eight take questions in turn, so that few questions share a socket. One that takes no more is put aside until all it has
was answered; others are opened meanwhile. Few answers are read in one turn of the loop, and others have theirs.

Servers without settings are those of resolv.conf, which is read again when it has changed.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from forkpolicy.world.dns.channels import Channel
from forkpolicy.world.dns.few_a_turn import FewATurn
from forkpolicy.world.dns.resolv_conf import servers_of, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from forkpolicy.world.dns.channels import Came
    from forkpolicy.world.dns.loop import Loop

CHANNELS: Final = 8
# More are left over from a time with many questions in flight.
MAX_IDLE: Final = 4 * CHANNELS
# Answers, 30 us each; those that one socket has beyond that are read along.
READ_A_TURN: Final = 8
# Channels, each of which may send all its questions again, 15 us each.
LOOKED_AT_A_TURN: Final = 4
LOOK_EVERY_S: Final = 5


class Pool:
    """All channels of a process. `came` is called from the loop after answers were handed over."""

    def __init__(
        self, loop: Loop, servers: Sequence[str], timeout_s: float, came: Callable[[], None], resolv_conf: Path
    ) -> None:
        """Raises WorldError for servers that c-ares does not take."""
        self._loop = loop
        self._is_given = bool(servers)
        self._timeout_s = timeout_s
        self._came = came
        self._resolv_conf = resolv_conf
        self._version = version_of(resolv_conf)
        self._looked_s = monotonic()
        self._order = 0
        self._turn, self._read_in_turn = -1, 0
        self._to_look = FewATurn(loop, LOOKED_AT_A_TURN, Channel.look_at_clock)
        self._open: deque[Channel] = deque()
        self._aside: set[Channel] = set()
        self.servers = tuple(servers) or servers_of(resolv_conf)
        self._begin()

    def ask(self, name: str, rrtype: str, came: Came, *, alone: bool = False) -> int:
        """Ask, `alone` on a channel that has no other question; which server was the first one."""
        channel = self._opened() if alone else self._next()
        if alone:
            self._aside.add(channel)
        channel.ask(name, rrtype, came)
        return channel.order

    def was_late(self, order: int) -> None:
        """The server that was first in that order did not answer in time: the next one is the first from now on. Or
        each channel would wait for it again.
        """
        if order == self._order:
            self._order += 1

    def look_at_clock(self) -> bool:
        """Send again or give up what was not answered in time, soon; whether something is still in flight."""
        for channel in (*self._open, *self._aside):
            self._to_look.put(channel)
        self._to_look.run()
        return any(channel.in_flight for channel in (*self._open, *self._aside))

    def close(self) -> None:
        """End all questions: nobody is called back any more."""
        for channel in (*self._open, *self._aside):
            channel.close()
        self._to_look.clear()
        self._open.clear()
        self._aside.clear()

    def _next(self) -> Channel:
        """The next one that has room."""
        for _ in range(len(self._open)):
            channel = self._open.popleft()
            if not channel.in_flight:
                self._renew(channel)
            if channel.has_room:
                break
            self._aside.add(channel)
        else:
            channel = self._opened()
        self._open.append(channel)
        if len(self._open) < CHANNELS:
            self._open.appendleft(self._opened())
        return channel

    def _opened(self) -> Channel:
        channel = Channel(self._loop, self._in_order(), self._timeout_s, self._finished, self._may_read)
        channel.order = self._order
        return channel

    def _renew(self, channel: Channel) -> None:
        self._look_at_resolv_conf()
        if not channel.has_room or channel.order != self._order:
            channel.renew(self._in_order(), self._order)

    def _in_order(self) -> tuple[str, ...]:
        first = self._order % len(self.servers)
        return self.servers[first:] + self.servers[:first]

    def _finished(self, channel: Channel) -> None:
        self._read_in_turn += channel.read()
        if channel in self._aside and not channel.in_flight:
            self._aside.remove(channel)
            if len(self._open) < MAX_IDLE:
                self._renew(channel)
                self._open.append(channel)
            else:
                channel.close()
        self._came()

    def _may_read(self) -> bool:
        if self._turn != self._loop.turn:
            self._turn, self._read_in_turn = self._loop.turn, 0
        return self._read_in_turn < READ_A_TURN

    def _look_at_resolv_conf(self) -> None:
        if self._is_given or monotonic() < self._looked_s + LOOK_EVERY_S:
            return
        self._looked_s = monotonic()
        version = version_of(self._resolv_conf)
        if version != self._version:
            self._version = version
            self.servers = servers_of(self._resolv_conf)
            self._begin()

    def _begin(self) -> None:
        """With servers that are new."""
        # Every channel gets them, the first one first.
        self._order += len(self.servers) - self._order % len(self.servers)
        channel = self._opened()
        self._open.append(channel)
        # In one form, with their ports.
        self.servers = channel.servers
