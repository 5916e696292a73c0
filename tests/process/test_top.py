"""`forkpolicy top` on a terminal, as an operator has it, and in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import request
from tests.process.waiting import eventually

CLEAR = b"\x1b[H\x1b[J"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-d", "-1"), "argument -d: expected 0.1 to 86400 seconds, found '-1'"),
        (("-d", "0"), "expected 0.1 to 86400 seconds, found '0'"),
        (("-d", "nan"), "found 'nan'"),
        (("-d", "1e9"), "found '1e9'"),
        (("-d", "soon"), "found 'soon'"),
        (("-n", "-2"), "argument -n: expected a number of looks from 1 on, found '-2'"),
        (("-n", "0"), "found '0'"),
    ],
)
def test_intervals_and_counts_have_bounds(make_server, words, expected):
    """Wrong usage, in words, before anybody is asked."""
    done = make_server().command("top", *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_the_domains_that_are_denied_most_are_counted(make_server):
    """Also where no decision is logged; a stranger's bytes come as text."""
    server = make_server(decisions="none")
    server.write_policy("acl all protocol_state RCPT\naction no REJECT go away\naccess all no\n")
    server.start()
    with PolicyClient(server.socket_path) as client:
        for sender in ("a@spam.example", "b@SPAM.example", "c@x\x1b[31m.example", "x@[red]y[/red]", ""):
            assert client.ask(request(sender)) == "REJECT go away"
    expected = {"spam.example": 2, "x\\x1b[31m.example": 1, "[red]y[/red]": 1, "<>": 1}
    eventually(lambda: denied(server) == expected)
    server.reload()
    assert denied(server) == {}


def denied(server):
    return {each["domain"]: each["count"] for each in server.status()["denied_senders"]}


def test_into_a_pipe_looks_follow_each_other(server):
    """As many as asked for, the second with rates; no escape sequence."""
    done = server.command("top", "-n", "2", "-d", "0.1")
    assert done.returncode == 0
    assert done.stdout.count("\nsockets  ") == 2
    assert done.stdout.count(" requests/s ") == 1
    assert "\x1b" not in done.stdout


class Terminal:
    """A terminal of some size with `top` in it."""

    def __init__(self, server, rows, columns):
        self.master, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.settings = termios.tcgetattr(theirs)
        environment = {name: text for name, text in os.environ.items() if name not in ("LINES", "COLUMNS")}
        words = [*FORKPOLICY, "top", "-d", "0.1", "-c", str(server.settings)]
        self.process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            # Its own terminal: so the interrupt key is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads here
        )
        self.theirs = theirs
        self._seen = b""

    def screen(self):
        """The next whole one."""
        until = time.monotonic() + 30
        while self._seen.count(CLEAR) < 2:
            assert time.monotonic() < until
            self._seen += os.read(self.master, 65536)
        _, screen, rest = self._seen.split(CLEAR, 2)
        self._seen = CLEAR + rest
        return screen.decode().split("\r\n")

    def wait(self):
        """Read on until it ends; the exit status."""
        ended = os.pidfd_open(self.process.pid)
        while ended not in (ready := select.select([self.master, ended], [], [], 30)[0]):
            assert ready
            os.read(self.master, 65536)
        os.close(ended)
        return self.process.wait()

    def press(self, key):
        os.write(self.master, key)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.theirs)
        os.close(self.master)


@pytest.fixture
def terminal(server):
    """A function that makes a terminal."""
    made = []

    def make(rows, columns):
        made.append(Terminal(server, rows, columns))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (6, 20), (2, 1), (1, 10)])
def test_a_screen_fits_the_terminal(terminal, rows, columns):
    """However small it is: no line is longer, and no row scrolls away."""
    small = terminal(rows, columns)
    for _ in range(2):
        *lines, last = small.screen()
        assert last == ""
        assert len(lines) <= max(1, rows - 1)
        assert all(len(line) <= columns for line in lines)


@pytest.mark.parametrize(("key", "status"), [(b"q", 0), (b"xQ", 0), (b"\x03", 130)], ids=["q", "Q", "interrupt"])
def test_a_key_ends_it(terminal, key, status):
    """q at once, other keys nothing, the interrupt key as ever; and the terminal is as it was."""
    own = terminal(24, 80)
    own.screen()
    own.press(key)
    assert own.wait() == status
    assert termios.tcgetattr(own.theirs) == own.settings
