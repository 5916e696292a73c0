"""Questions about names that c-ares does not ask for.

A name of the DNS may have any octet (RFC 2181, 11), and macros of SPF make names of what a client has sent, such as
`srs0=hh=tt=example.org=anna._spf.example.com`. c-ares takes letters, digits, `-_./*` and refuses all others; a
backslash it takes for an escape, and a zero for the end. So dnspython writes and reads the messages, and the sockets
are those that the caller passes in: gevent's in a greenlet, the standard library's in a command.
"""

from __future__ import annotations

import contextlib
from time import monotonic
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from forkpolicy.world.dns.answers import NODATA, NXDOMAIN, Answer, Found, failure, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from socket import socket
    from types import ModuleType

    from dns.rdata import Rdata

    from forkpolicy.world.dns.answers import Record

TRIES: Final = 2
MAX_BYTES: Final = 65535


def ask(name: str, rrtype: str, servers: Sequence[str], timeout_s: float, sockets: ModuleType) -> Answer:
    """Ask, and wait for the answer: `timeout_s` a try, two tries. `servers`: `address:port` each, IPv6 in brackets;
    `sockets`: `socket`, or a module that does the same. A failure is an answer, too.
    """
    query = dns.message.make_query(
        dns.name.Name([*(label.encode("latin-1") for label in name.split(".")), b""]), rrtype
    )
    answer = failure("not asked")
    for number in range(TRIES):
        exchange = _Exchange(query, servers[number % len(servers)], monotonic() + timeout_s, sockets)
        try:
            answer = _answer(name, rrtype, exchange.run())
        except TimeoutError:
            answer = failure(f"no answer in {TRIES * timeout_s:g} s")
        except (OSError, dns.exception.DNSException) as error:
            answer = failure(f"{type(error).__name__}: {error}")
        if not answer.failed:
            break
    return answer


class _Exchange:
    """One question to one server. Raises OSError, TimeoutError for the lack of an answer, and DNSException."""

    def __init__(self, query: dns.message.Message, server: str, until_s: float, sockets: ModuleType) -> None:
        host, _, port = server.rpartition(":")
        self._server = host.strip("[]"), int(port)
        self._query, self._until_s, self._sockets = query, until_s, sockets

    def run(self) -> dns.message.Message:
        """The reply, by TCP where that by UDP is truncated."""
        with self._connected(self._sockets.SOCK_DGRAM) as sock:
            sock.send(self._query.to_wire())
            reply = self._fitting(sock)
        if not reply.flags & dns.flags.TC:
            return reply
        with self._connected(self._sockets.SOCK_STREAM) as sock:
            sock.sendall(self._query.to_wire(prepend_length=True))
            length = int.from_bytes(self._exactly(sock, 2), "big")
            return dns.message.from_wire(self._exactly(sock, length))

    @contextlib.contextmanager
    def _connected(self, kind: int) -> Iterator[socket]:
        family = self._sockets.AF_INET6 if ":" in self._server[0] else self._sockets.AF_INET
        with self._sockets.socket(family, kind) as sock:
            self._limit(sock)
            sock.connect(self._server)
            yield sock

    def _fitting(self, sock: socket) -> dns.message.Message:
        """The first datagram that is a reply to the question."""
        while True:
            self._limit(sock)
            try:
                reply = dns.message.from_wire(sock.recv(MAX_BYTES), ignore_trailing=True)
            except dns.exception.DNSException:
                # From whomever: the right one may come yet.
                continue
            if self._query.is_response(reply):
                return reply

    def _exactly(self, sock: socket, count: int) -> bytes:
        received = b""
        while len(received) < count:
            self._limit(sock)
            more = sock.recv(count - len(received))
            if not more:
                raise OSError("the connection was closed")
            received += more
        return received

    def _limit(self, sock: socket) -> None:
        """What comes next must come within the time that is left."""
        left_s = self._until_s - monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)


def _answer(name: str, rrtype: str, reply: dns.message.Message) -> Answer:
    rcode = reply.rcode()
    if rcode == dns.rcode.NXDOMAIN:
        return NXDOMAIN
    if rcode != dns.rcode.NOERROR:
        return failure(dns.rcode.to_text(rcode))
    return read(name, rrtype, _found(reply)) if reply.answer else NODATA


def _found(reply: dns.message.Message) -> Iterator[Found]:
    for records in reply.answer:
        kind, name = dns.rdatatype.to_text(records.rdtype), _text(records.name)
        for record in records:
            data = _data(record)
            if data is not None:
                yield Found(name, kind, records.ttl, data)


def _data(record: Rdata) -> Record | None:
    match record:
        case A() | AAAA():
            return str(record.address)
        case TXT():
            return b"".join(record.strings)
        case MX():
            return record.preference, _text(record.exchange)
        case PTR() | CNAME():
            return _text(record.target)
    return None


def _text(name: dns.name.Name) -> str:
    """A name as it was asked for: no escapes."""
    return ".".join(label.decode("latin-1") for label in name.labels if label)
