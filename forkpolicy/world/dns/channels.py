"""Channels of c-ares, and the only home of pycares: questions out, answers in, on a loop.

What we know of pycares 5.2.1 and c-ares 1.34, each seen in a run:

* A channel learns how fast its servers are: after three answers a try takes five times their average, at least 250 ms,
  whatever its time-out is. After 50 quick answers one after 0.6 s was too late for two tries of 1 s. So a channel takes
  no more questions once it has answered twice, until it is idle and `renew` gives it its servers again: it forgets then
  what it has learnt, for 10 us.
* It keeps answers without a bound, 1.5 KB each for up to an hour, and calls back inside `query()` for one that it has.
  `renew` makes it forget those, too.
* `close()` ends what is asked in another thread, and calls back from there. So everything is cancelled here first, and
  what is said after that is not heard.
* One malformed answer ends all questions of its socket.
* A callback that raises is printed and forgotten. So callbacks only put down what came, and it is read afterwards.
* Only names of hosts are asked for, with `_`, `*` and `/` besides, though a name may have any byte (RFC 2181, 11).
* Without a callback for sockets it starts a thread that does the work. There always is one.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

import pycares
from pycares import errno

from forkpolicy.errors import WorldError
from forkpolicy.world.dns.answers import NODATA, NXDOMAIN, Answer, Found, failure, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.world.dns.answers import Record
    from forkpolicy.world.dns.loop import Handle, Loop

    Came = Callable[[Answer, bool], None]

TYPES: Final = {
    "A": pycares.QUERY_TYPE_A,
    "AAAA": pycares.QUERY_TYPE_AAAA,
    "MX": pycares.QUERY_TYPE_MX,
    "PTR": pycares.QUERY_TYPE_PTR,
    "TXT": pycares.QUERY_TYPE_TXT,
}
NAMES: Final = {**{number: name for name, number in TYPES.items()}, pycares.QUERY_TYPE_CNAME: "CNAME"}
# A socket stays until the channel is renewed, two answers later: a new one for each question is 15 us more.
FLAGS: Final = pycares.ARES_FLAG_EDNS | pycares.ARES_FLAG_STAYOPEN
TRIES: Final = 2
# From the third on they would set the time-out.
MAX_ANSWERS: Final = 2
# All of them may be read in one turn of the loop, 30 us each, and one malformed answer ends them all.
MAX_IN_FLIGHT: Final = 16
NO_SOCKET: Final = -1
NOT_ASKED: Final = -1
REASONS: Final = {
    errno.ARES_ESERVFAIL: "SERVFAIL",
    errno.ARES_EREFUSED: "REFUSED",
    errno.ARES_EFORMERR: "FORMERR",
    errno.ARES_ENOTIMP: "NOTIMP",
    errno.ARES_EBADRESP: "malformed answer",
    errno.ARES_ECONNREFUSED: "the name server cannot be reached",
    NOT_ASKED: "c-ares does not ask for names with such characters",
}
# They can be the fault of the answer to another question.
OF_THE_SOCKET: Final = (errno.ARES_EBADRESP, errno.ARES_ECONNREFUSED)
# Nor would it say so of a backslash, which it takes for the beginning of an escaped byte.
_ASKABLE: Final = re.compile(r"[A-Za-z0-9._*/-]*", re.ASCII)


class Channel:
    """One channel. `order`: for its owner, which of its servers is the first one."""

    __slots__ = (
        "_answered",
        "_channel",
        "_closed",
        "_finished",
        "_loop",
        "_may_read",
        "_results",
        "_timeout_s",
        "_watches",
        "in_flight",
        "order",
    )

    def __init__(
        self,
        loop: Loop,
        servers: Sequence[str],
        timeout_s: float,
        finished: Callable[[Channel], object],
        may_read: Callable[[], bool],
    ) -> None:
        """`servers`: one at least. `finished` is called from the loop when answers came;
        `may_read` says whether answers may be read in this turn of it. Raises WorldError for servers that c-ares does
        not take.
        """
        self._loop = loop
        self._timeout_s = timeout_s
        self._finished = finished
        self._may_read = may_read
        self._watches: dict[int, Handle] = {}
        self._results: list[tuple[Came, str, str, pycares.DNSResult | None, int | None]] = []
        self._answered = 0
        self._closed = False
        self.in_flight = 0
        self.order = 0
        try:
            self._channel = pycares.Channel(
                servers=servers, timeout=timeout_s, tries=TRIES, flags=FLAGS, sock_state_cb=self._socket_state
            )
        except pycares.AresError as error:
            raise WorldError(f"the name servers {', '.join(servers)}: {error}") from error

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that it asks, each as `address:port`."""
        return tuple(self._channel.servers)

    @property
    def has_room(self) -> bool:
        """Whether it may be asked one more question."""
        return self._answered < MAX_ANSWERS and self.in_flight < MAX_IN_FLIGHT

    def renew(self, servers: Sequence[str], order: int) -> None:
        """Begin anew. Only for one without a question in flight."""
        assert not self.in_flight
        self._channel.servers = []
        self._channel.servers = servers
        self._answered = 0
        self.order = order

    def ask(self, name: str, rrtype: str, came: Came) -> None:
        """Ask. `came` is called by `read`, never here: once, with the answer and whether that may be the socket's
        fault.
        """
        self.in_flight += 1
        if _ASKABLE.fullmatch(name):
            try:
                self._channel.query(name, TYPES[rrtype], callback=partial(self._put_down, came, name, rrtype))
            except pycares.AresError as error:
                # It has called back before it raised, or it has not.
                if not any(each[0] is came for each in self._results):
                    self._put_down(came, name, rrtype, None, error.args[0])
        else:
            self._put_down(came, name, rrtype, None, NOT_ASKED)
        if self._results:
            self._loop.after(0, partial(self._finished, self))

    def read(self) -> int:
        """Hand over the answers that have come; how many."""
        results, self._results = self._results, []
        for came, name, rrtype, result, error in results:
            late = error == errno.ARES_ETIMEOUT
            came(no_answer(self._timeout_s) if late else _answer(name, rrtype, result, error), error in OF_THE_SOCKET)
        return len(results)

    def look_at_clock(self) -> None:
        """Send again what was not answered in time, or give it up. To be called some times a second."""
        if self.in_flight:
            self._channel.process_fd(NO_SOCKET, NO_SOCKET)
            self._finish()

    def close(self) -> None:
        """End: what is asked is answered no more."""
        if self._closed:
            return
        self._channel.cancel()
        self._closed = True
        self._results.clear()
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()
        self._channel.close()

    def _put_down(
        self, came: Came, name: str, rrtype: str, result: pycares.DNSResult | None, error: int | None
    ) -> None:
        """Called by c-ares, in the middle of its work."""
        self.in_flight -= 1
        # A socket without answers may be one of an address that this machine had.
        self._answered = MAX_ANSWERS if error == errno.ARES_ETIMEOUT else self._answered + 1
        self._results.append((came, name, rrtype, result, error))

    def _socket_state(self, fd: int, readable: bool, writable: bool) -> None:
        if self._closed:
            return
        before = self._watches.pop(fd, None)
        if before:
            before.stop()
        if readable or writable:
            ready = partial(self._ready, fd)
            self._watches[fd] = self._loop.watch(fd, read=readable, write=writable, ready=ready)

    def _ready(self, fd: int, may_read: bool, may_write: bool) -> None:
        if may_read and not self._may_read():
            # The loop calls again.
            return
        self._channel.process_fd(fd if may_read else NO_SOCKET, fd if may_write else NO_SOCKET)
        self._finish()

    def _finish(self) -> None:
        if self._results:
            self._finished(self)


def no_answer(timeout_s: float) -> Answer:
    """None came within all tries of `timeout_s`."""
    return failure(f"no answer in {TRIES * timeout_s:g} s")


def _answer(name: str, rrtype: str, result: pycares.DNSResult | None, error: int | None) -> Answer:
    if result is not None:
        return read(name, rrtype, (_found(each) for each in result.answer if each.type in NAMES))
    # A name that is too long, or has an empty label, nobody has.
    if error in (errno.ARES_ENOTFOUND, errno.ARES_EBADNAME):
        return NXDOMAIN
    if error == errno.ARES_ENODATA:
        return NODATA
    assert error is not None
    return failure(REASONS.get(error) or f"c-ares: {errno.strerror(error)!s}")


def _found(record: pycares.DNSRecord) -> Found:
    return Found(str(record.name), NAMES[record.type], record.ttl, _data(record.data))


def _data(data: object) -> Record:
    match data:
        case pycares.ARecordData() | pycares.AAAARecordData():
            return data.addr
        case pycares.TXTRecordData():
            return data.data
        case pycares.MXRecordData():
            return (data.priority, str(data.exchange))
        case pycares.PTRRecordData():
            return str(data.dname)
        case pycares.CNAMERecordData():
            return str(data.cname)
    raise AssertionError(f"a record that NAMES does not have: {data!r}")
