"""Channels of c-ares, and the only home of pycares: questions out, answers in, on a loop.

What we know of pycares 5.2.1 and c-ares 1.34, each seen in a run:

* A channel learns how fast its servers are: after three answers a try takes five times their average, at least 250 ms,
  whatever its time-out is. After 50 quick answers one after 0.6 s was too late for two tries of 1 s. So a channel takes
  no more questions once it has answered twice (`is_spent`); to make another costs 30 us.
* It keeps answers without a bound, 1.5 KB each for up to an hour, and calls back inside `query()` for one that it has.
* `close()` ends what is asked in another thread, and there calls back what watches sockets. So everything is cancelled
  here first, and what is said after that is not heard.
* One malformed answer ends all questions of its socket.
* A callback that raises is printed and forgotten. So callbacks only put down what came, and it is read afterwards.
* Without a callback for sockets it starts a thread that does the work. There always is one.
"""

from __future__ import annotations

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
TRIES: Final = 2
# From the third on they would set the time-out.
ANSWERS_OF_A_CHANNEL: Final = 2
NO_SOCKET: Final = -1
REASONS: Final = {
    errno.ARES_ESERVFAIL: "SERVFAIL",
    errno.ARES_EREFUSED: "REFUSED",
    errno.ARES_EFORMERR: "FORMERR",
    errno.ARES_ENOTIMP: "NOTIMP",
    errno.ARES_EBADRESP: "malformed answer",
    errno.ARES_ETIMEOUT: "no answer in time",
    errno.ARES_ECONNREFUSED: "the name server cannot be reached",
    errno.ARES_EBADNAME: "not a valid name",
}
# They can be the fault of the answer to another question.
OF_THE_SOCKET: Final = (errno.ARES_EBADRESP, errno.ARES_ECONNREFUSED)


class Channel:
    """One channel. `came`, once for each question: its answer, and whether it may be the socket's fault."""

    __slots__ = ("_answered", "_channel", "_closed", "_finished", "_loop", "_results", "_watches", "in_flight", "order")

    def __init__(
        self, loop: Loop, servers: Sequence[str], timeout_s: float, finished: Callable[[], None], order: int = 0
    ) -> None:
        """`servers`: empty for those of resolv.conf. `finished` is called from the loop when answers came. `order`:
        for the owner. Raises WorldError for servers that c-ares does not take.
        """
        self._loop = loop
        self._finished = finished
        self._watches: dict[int, Handle] = {}
        self._results: list[tuple[Came, str, str, pycares.DNSResult | None, int | None]] = []
        self._answered = 0
        self._closed = False
        self.in_flight = 0
        self.order = order
        try:
            self._channel = pycares.Channel(
                servers=servers or None,
                timeout=timeout_s,
                tries=TRIES,
                sock_state_cb=self._socket_state,
            )
        except pycares.AresError as error:
            raise WorldError(f"DNS: {', '.join(servers) or 'the servers of resolv.conf'}: {error}") from error

    @property
    def servers(self) -> list[str]:
        """The servers that it asks, each as `address:port`."""
        return self._channel.servers

    @property
    def is_spent(self) -> bool:
        """Whether it should be asked no more, since its time-outs would not be those that were set."""
        return self._answered >= ANSWERS_OF_A_CHANNEL

    def ask(self, name: str, rrtype: str, came: Came) -> None:
        """Ask; `came` is called by `read`, never here."""
        self.in_flight += 1
        try:
            callback = partial(self._put_down, came, name, rrtype)
            # As bytes, which its types do not say that it takes: it would make A-labels of what is not ASCII.
            self._channel.query(name.encode("ascii"), TYPES[rrtype], callback=callback)  # type: ignore[arg-type]
        except (pycares.AresError, UnicodeError):
            # pycares may have called back before it raised.
            if not any(each[0] is came for each in self._results):
                self._put_down(came, name, rrtype, None, errno.ARES_EBADNAME)
        if self._results:
            self._loop.after(0, self._finished)

    def read(self) -> None:
        """Hand over the answers that have come."""
        while self._results:
            came, name, rrtype, result, error = self._results.pop()
            came(_answer(name, rrtype, result, error), error in OF_THE_SOCKET)

    def look_at_clock(self) -> None:
        """Send again what was not answered in time, or give it up. To be called some times a second."""
        if self.in_flight:
            self._channel.process_fd(NO_SOCKET, NO_SOCKET)

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
        if error != errno.ARES_ETIMEOUT:
            self._answered += 1
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
        self._channel.process_fd(fd if may_read else NO_SOCKET, fd if may_write else NO_SOCKET)
        if self._results:
            self._finished()


def _answer(name: str, rrtype: str, result: pycares.DNSResult | None, error: int | None) -> Answer:
    if result is not None:
        return read(name, rrtype, (_found(each) for each in result.answer if each.type in NAMES))
    if error == errno.ARES_ENOTFOUND:
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
