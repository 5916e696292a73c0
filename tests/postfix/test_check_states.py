"""At which states each restriction list asks: what check says, and what a real smtpd does."""

from __future__ import annotations

import contextlib
import socketserver
import threading

import pytest

from forkpolicy.postfix.parameters import read_postfix
from forkpolicy.postfix.restrictions import LISTS, find_call_sites
from forkpolicy.protocol.attributes import states_of
from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import PrivatePostfix

CALL_SITES = {
    name: f"check_policy_service {{ unix:private/policy, policy_context={name} }}, permit_mynetworks, reject"
    for name in LISTS
}

COMMANDS = (
    "HELO x.example", "EHLO x.example", "VRFY <b@example.com>", "ETRN example.com", "MAIL FROM:<a@example.com> SIZE=9",
    "VRFY <b@example.com>", "RCPT TO:<b@example.com>", "VRFY <b@example.com>", "DATA",
    "Subject: x\r\n\r\nx\r\n.", "QUIT",
)  # fmt: skip


EMPTY = ("", "0")


class Recorder(socketserver.ThreadingUnixStreamServer):
    """A policy server that lets everything go on, and notes the context and the state of each request, and which
    attributes have a value at which state.
    """

    daemon_threads = True

    def __init__(self, path):
        self.seen = set()
        self.valued = set()
        super().__init__(str(path), Answer)
        path.chmod(0o666)


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        request = {}
        for line in self.rfile:
            name, _, value = line.decode().rstrip("\n").partition("=")
            if name:
                request[name] = value
                continue
            self.server.seen.add((request["policy_context"], request["protocol_state"]))
            state = request["protocol_state"]
            self.server.valued |= {(name, state) for name, value in request.items() if value not in EMPTY}
            self.wfile.write(b"action=DUNNO\n\n")
            request = {}


@contextlib.contextmanager
def recording(path):
    with Recorder(path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("delay", ["yes", "no"])
@pytest.mark.parametrize("without_vrfy", ["yes", "no"])
def test_lists_ask_at_the_states_that_check_tells(directory, delay, without_vrfy):
    """Every list asks, and a session with every command: neither a state too many nor one too few,
    and no attribute with a value where none is expected.
    """
    main = {**CALL_SITES, "smtpd_delay_reject": delay, "disable_vrfy_command": without_vrfy}
    postfix = PrivatePostfix(directory / f"states-{delay}-{without_vrfy}", main=main)
    # Before Postfix, which asks about every connection when nothing is delayed.
    with recording(postfix.private / "policy") as recorder, postfix, SmtpClient(postfix.port) as session:
        for command in COMMANDS:
            session.command(command)
        told = {
            (site.list_name, state) for site in find_call_sites(read_postfix(str(postfix.etc))) for state in site.states
        }
    assert recorder.seen == told
    assert {(name, state) for name, state in recorder.valued if state not in states_of(name)} == set()
