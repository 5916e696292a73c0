"""`forkpolicy top` on a terminal, as an operator has it, and in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pyte
import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import request
from tests.process.waiting import eventually

HIDE_RICH = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "rich" else find(name, *more)
"""


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
    """A terminal of some size with `top` in it; `screen` is what an operator sees."""

    def __init__(self, server, rows, columns, words=(), **environment):
        self.master, theirs = pty.openpty()
        self._resize(theirs, rows, columns)
        self.settings = termios.tcgetattr(theirs)
        self.raw = b""
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        kept = {name: text for name, text in os.environ.items() if name not in ("LINES", "COLUMNS", "NO_COLOR")}
        self.process = subprocess.Popen(
            [*FORKPOLICY, "top", "-d", "0.1", "-c", str(server.settings), *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm", **environment},
            start_new_session=True,
            # Its own terminal: so the interrupt key is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads here
        )
        self.theirs = theirs

    @staticmethod
    def _resize(fd, rows, columns):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        self._resize(self.master, rows, columns)

    def shows(self, text):
        """Read on until the screen has a text; the screen's lines."""
        until = time.monotonic() + 30
        while text not in "\n".join(self.screen.display):
            assert time.monotonic() < until, "\n".join(self.screen.display)
            self._read(1)
        return self.screen.display

    def _read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            data = os.read(self.master, 65536)
            self.raw += data
            self._stream.feed(data)

    def wait(self):
        """Read on until it ends; the exit status."""
        ended = os.pidfd_open(self.process.pid)
        while ended not in (ready := select.select([self.master, ended], [], [], 30)[0]):
            assert ready
            self._read(0)
        os.close(ended)
        self._read(0)
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

    def make(rows, columns, words=(), **environment):
        made.append(Terminal(server, rows, columns, words, **environment))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (10, 50)])
def test_a_screen_has_what_matters_most(terminal, client, rows, columns):
    """State, rates, each worker, the rule that fired, the denied domain and the keys; nothing wraps."""
    client.ask(request("a@example.com", "b@example.com"))
    own = terminal(rows, columns)
    own.shows("example.com")
    # The screen is drawn from its top.
    lines = own.shows("q quit  p pause")
    assert lines[0].startswith("forkpolicy  serving  generation 1  up 00:")
    assert "requests/s" in lines[1]
    assert lines[-1].startswith("q quit  p pause")
    text = "\n".join(lines)
    for words in ("worker", "busy", "p99", "hits/s", "policy.conf:7: access", "denied/s"):
        assert words in text
    assert all(len(line) == columns for line in lines)


@pytest.mark.parametrize(("rows", "columns"), [(6, 20), (2, 10), (1, 1)])
def test_a_screen_may_be_tiny(terminal, rows, columns):
    """The state is what stays, cut where it must be."""
    lines = terminal(rows, columns).shows("forkpolicy"[:columns])
    assert lines[0] == "forkpolicy  serving  "[:columns].rstrip().ljust(columns)


def test_keys_sort_and_pause(terminal):
    """`s` takes the next column of workers, `r` the totals of rules, `p` stops the clock; the last line says so."""
    own = terminal(24, 80)
    own.shows("s workers by worker")
    own.press(b"s")
    own.shows("s workers by busy")
    own.press(b"r")
    own.shows("r rules by total")
    own.press(b"p")
    own.shows("p resume")
    own.press(b"\x1b[A")
    own.press(b" ")
    own.shows("p pause")


def test_a_new_size_is_drawn_at_once(terminal):
    """Also while it is paused."""
    own = terminal(24, 80)
    own.shows("p pause")
    own.press(b"p")
    own.shows("p resume")
    own.resize(10, 50)
    assert own.shows("p resume")[-1].startswith("q quit  p resume")


@pytest.mark.parametrize(
    ("key", "status"),
    [(b"q", 0), (b"xQ", 0), (b"\x03", 130), (signal.SIGTERM, 143)],
    ids=["q", "Q", "ctrl-c", "TERM"],
)
def test_the_terminal_is_as_it_was(terminal, key, status):
    """Whatever ends it: modes, cursor and the screen before."""
    own = terminal(24, 80)
    own.shows("q quit")
    if isinstance(key, bytes):
        own.press(key)
    else:
        own.process.send_signal(key)
    assert own.wait() == status
    assert termios.tcgetattr(own.theirs) == own.settings
    assert own.raw.rstrip().endswith((b"\x1b[?25h\x1b[?1049l", b"\x1b[?1049l"))
    assert b"\x1b[?25h" in own.raw


def test_a_master_that_goes_away_is_reported_until_it_is_back(server, terminal):
    """The numbers of its last look stay."""
    own = terminal(24, 80)
    own.shows("serving")
    server.stop()
    own.shows("no reply")
    own.shows("no master is running there")
    server.start()
    own.shows("serving")


def test_no_color_means_no_colour(terminal):
    """A screen still moves the cursor; it has no attribute."""
    own = terminal(24, 80, NO_COLOR="1")
    own.shows("q quit")
    assert not re.search(rb"\x1b\[[0-9;]*m", own.raw)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONPATH": "hidden"}], ids=["dumb", "no rich"])
def test_a_terminal_without_a_screen_gets_text(terminal, folder, environment):
    """As a pipe does; without rich it is said how to get the screen."""
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE_RICH)
    chosen = {name: str(hidden) if text == "hidden" else text for name, text in environment.items()}
    own = terminal(24, 200, ("-n", "1"), **chosen)
    assert own.wait() == 0
    assert b"sockets  " in own.raw
    assert b"\x1b" not in own.raw
    assert (b"pip install 'forkpolicy[terminal]'" in own.raw) == ("PYTHONPATH" in environment)


def test_once_is_text_with_rates(server, client):
    """Two looks, one text."""
    client.ask(request("a@example.com", "b@example.com"))
    done = server.command("top", "--once", "-d", "0.6")
    assert done.returncode == 0
    assert done.stdout.count("\nsockets  ") == 1
    assert done.stdout.count(" requests/s ") == 1
    assert "policy.conf:7: access from_us" in done.stdout
    assert "\x1b" not in done.stdout
