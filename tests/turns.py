"""A turn of a connection with noting parts around it, and requests with something wrong, for tests of both turns."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
import socket
import struct
import termios

from forkpolicy.policy.outcome import Outcome
from forkpolicy.worker.counters import Counters

CAPTURES = sorted((pathlib.Path(__file__).parent / "captures").glob("*.txt"))
REQUESTS = [path.read_bytes().rstrip(b"\n") + b"\n\n" for path in CAPTURES]
WANTED = ("protocol_state", "client_address", "request", "sender", "recipient", "sasl_username", "size", "tls_later")
PIECES = (
    b"\n",
    b"\r",
    b"\r\n",
    b"=",
    b"\0",
    b"\xe4",
    b"\xed\xb3\xa4",
    "é".encode(),
    b"request=",
    b"x" * 90,
    b"a=b\n",
    b"",
)
LEARNT_NAMES = (
    "request",
    "sender",
    "recipient",
    "",
    " ",
    "a b",
    "tls_later",
    "\udce4",
    "é",
    "\0",
    "request\0",
    "sender.",
)


class DecisionError(Exception):
    """What a decision raises that is a bug."""


def unread(sock):
    """How many bytes have come that were not read."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


class Decider:
    """Decides by what is wanted: a plain reply, one that must be made, one with notes, or an error."""

    def __init__(self):
        self.counters, self.layouts_epoch, self.noted = Counters(), 1, []
        self.seen, self.outcomes = [], []
        for plain in (b"action=DUNNO\n\n", b"action=OK\n\n", b"", b"action=REJECT\n\n"):
            outcome = Outcome(None)
            outcome.plain = plain
            self.outcomes.append(outcome)

    def decide(self, values):
        self.seen.append(values)
        self.noted.clear()
        length = sum(len(value or "") for value in values)
        if length % 11 == 7:
            raise DecisionError(str(length))
        if length % 7 == 3:
            self.noted.append(self.outcomes[3])
        return self.outcomes[length % 4]


class Scene:
    """One turn on one end of a pair of sockets. It is the turn's connection, and notes what it is asked for."""

    def __init__(self, implementation, read_bytes=65536):
        self.implementation, self.read_bytes = implementation, read_bytes
        self.decider, self.notes = Decider(), []
        self.client = None
        self.connect()

    def connect(self):
        if self.client:
            self.hang_up()
        self.client, self.sock = socket.socketpair()
        self.client.setblocking(False)
        self.sock.setblocking(False)
        self.turn = self.implementation.turn(self.sock, self.read_bytes, self.decider, self)

    def hang_up(self):
        self.turn.end()
        self.client.close()
        self.sock.close()

    def read_exactly(self, raw, started_ns):
        self.notes.append(("read exactly", raw, type(started_ns)))

    def finish(self, raw, started_ns, outcome, values):
        self.notes.append(("finish", raw, type(started_ns), self.decider.outcomes.index(outcome), values))
        self.turn.send(b"finished\n\n")
        self.turn.count(outcome, started_ns)

    def send_later(self, rest):
        self.notes.append(("send later", rest))

    def close(self):
        self.notes.append(("close",))

    def ask(self, raw):
        """What turns do with these bytes until all are read: all that can be seen of it but times."""
        self.notes.clear()
        self.decider.seen.clear()
        if raw:
            self.client.send(raw)
        raised = []
        while True:
            try:
                self.turn.readable()
            except DecisionError as error:
                raised.append(str(error))
            if not unread(self.sock):
                break
        sent = b""
        with contextlib.suppress(BlockingIOError):
            sent = self.client.recv(65536)
        counters = self.decider.counters
        counted = sum(count for _, count in counters.take_linear_us()) + len(counters.slow_ns)
        hits = [outcome.hits for outcome in self.decider.outcomes]
        counters.slow_ns.clear()
        return sent, raised, [*self.notes], [*self.decider.seen], hits, counted, counters.requests, self.turn.requests


def odd_names(chance):
    """Names of a request, in an order of their own, some of which nobody sends."""
    names = [line.partition(b"=")[0].decode() for line in chance.choice(REQUESTS).split(b"\n")[:-2]]
    if chance.random() < 0.5:
        chance.shuffle(names)
    names = list(dict.fromkeys([*names[: chance.randrange(len(names) + 1)], *chance.sample(LEARNT_NAMES, 3)]))
    chance.shuffle(names)
    return tuple(names)


def request_of(names, chance):
    """A request of these names."""
    values = {
        name: chance.choice(("", "x", "a@b.example", "smtpd_access_policy", "é", "\udce4", "a=b", "\0", "\r", "9" * 40))
        for name in names
    }
    values["request"] = chance.choice(("smtpd_access_policy",) * 9 + ("junk",))
    return "".join(f"{name}={values[name]}\n" for name in names).encode("utf-8", "surrogateescape") + b"\n"


def mutated(raw, chance):
    """The same with something changed, or as it is."""
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 3))):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(7):
            case 0:
                raw = raw[:at] + chance.choice(PIECES) + raw[at:]
            case 1:
                raw = raw[:at] + raw[at + chance.randrange(1, 30) :]
            case 2:
                raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
            case 3:
                lines = raw.split(b"\n")
                chance.shuffle(lines)
                raw = b"\n".join(lines)
            case 4:
                raw = raw[:at]
            case 5:
                raw += raw[:at]
            case 6:
                raw = raw.replace(b"\n", b"\r\n", chance.choice((1, -1)))
    return raw
