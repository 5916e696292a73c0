"""What tests of real server processes share."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import pathlib
import struct
import tempfile
import termios
import threading

import pytest

from forkpolicy.compile.command import main as compile_main
from forkpolicy.control_client import look
from forkpolicy.documents import plain
from forkpolicy.status_document import StatusDocument
from loadtest.clients.policy_client import PolicyClient
from loadtest.errors import SetupError
from loadtest.servers.server import Server
from tests.process.waiting import CHANGES, ended

POLICY = """
table domains domain domains
acl from_us sender table:domains
acl to_us recipient table:domains
acl signed_in authenticated
action prove_it REJECT 5.7.1 authenticate first
access from_us to_us !signed_in prove_it
"""
# The beginning of a request of so many bytes cannot be handed over; by default requests are shorter.
TOO_LONG_BYTES = 200_000
LONG_REQUESTS = "max_request = 1000000"


def request(sender="a@example.com", recipient="b@example.com", **more):
    """One request at RCPT, as bytes."""
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "client_address": "203.0.113.5",
        "sender": sender,
        "recipient": recipient,
        **more,
    }
    return ("".join(f"{name}={value}\n" for name, value in attributes.items()) + "\n").encode()


FORGED, FINE = request(), request("x@elsewhere.example")
REJECT = "REJECT 5.7.1 authenticate first"


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def unread_bytes(sock):
    """How much was sent that the other end has not read yet (SIOCOUTQ, unix(7))."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


@pytest.fixture
def folder():
    """A directory that unprivileged workers may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-test-") as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


class NearServer(Server):
    """Compiles, and asks for its status, within this process. A program takes 0.3 s of CPU to start, and hundreds of
    tests need no more than what it does; those of the programs themselves start them.
    """

    def compile(self, *arguments):
        if self._environment or threading.current_thread() is not threading.main_thread():
            return super().compile(*arguments)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = compile_main(["-c", str(self.settings), *arguments])
        if status:
            raise SetupError(f"forkpolicy-compile ended with {status}:\n{said.getvalue()}")
        return None

    def status(self):
        return json.loads(json.dumps(plain(StatusDocument.of(look(str(self.directory / "control"), 10.0)))))


@pytest.fixture
def make_server(folder):
    """A function that makes servers, each stopped at the end, whatever happened to it; none of their processes
    survive.
    """
    made = []

    def make(policy=POLICY, name="server", extra="", **more):
        server = NearServer(folder / name, policy, sources={"domains": "example.com\n"}, **more)
        if extra:
            text = server.settings.read_text()
            server.settings.write_text(text.replace("[server]\n", f"[server]\n{extra}\n"))
        server.compile()
        made.append(server)
        for directory in {server.directory, server.log.parent}:
            CHANGES.watch(directory)
        return server

    yield make
    for server in made:
        pids = server.process_ids() if server.process else []
        server.stop()
        for pid in pids:
            ended(pid)


@pytest.fixture
def server(make_server):
    """One server with two workers, running."""
    server = make_server(workers=2)
    server.start()
    return server


@pytest.fixture
def client(server):
    """One connection to it."""
    with PolicyClient(server.socket_path) as client:
        yield client
