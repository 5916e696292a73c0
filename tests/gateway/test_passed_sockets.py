"""Sockets that systemd has bound and passes: what the store does with them, and leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.gateway.stores import LmtpClient, Store
from tests.process.waiting import eventually

NAMES = ("store", "store-spam", "store-virus")
# bash, as dash knows no number of two digits. LISTEN_PID is the pid of the shell, which exec gives to the store.
PASS = 'LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=store:store:store exec "$@" 3<&{} 4<&{} 5<&{}'
DEADLINE_S = 20
MAIL = b"From: news@example.org\r\nSubject: hello\r\n\r\nHello\r\n"


@pytest.fixture
def sockets(tmp_path):
    """Three that listen, as those of forkpolicy-store.socket."""
    (tmp_path / "private").mkdir()
    with contextlib.ExitStack() as stack:
        bound = {}
        for name in NAMES:
            bound[name] = stack.enter_context(socket.socket(socket.AF_UNIX))
            bound[name].bind(str(tmp_path / "private" / name))
            bound[name].listen()
        yield bound


def start(store, sockets):
    """A store to which they are passed, in another order than that of its causes."""
    fds = [sockets[name].fileno() for name in reversed(NAMES)]
    command = [sys.executable, "-m", "forkpolicy", "held", "-c", str(store.settings), "serve"]
    words = ["bash", "-c", PASS.format(*fds), "bash", *command]
    store.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, pass_fds=fds)
    return store.process


def test_each_socket_is_known_by_what_it_is_bound_to(tmp_path, sockets):
    """One unit gives all of them one name; mail of each has its cause. Their files stay when the store ends."""
    store = Store(tmp_path)
    before = {name: (tmp_path / "private" / name).stat().st_ino for name in NAMES}
    assert "takes mail" in start(store, sockets).stderr.readline()
    for name in NAMES:
        with LmtpClient(store.sockets / name) as client:
            assert client.send("a@example.org", ["bob@example.com"], MAIL, queue_id=name)[0].startswith("250")
    assert store.rows("SELECT queue_id, cause FROM message ORDER BY id") == [
        ("store", "policy"),
        ("store-spam", "spam"),
        ("store-virus", "virus"),
    ]
    assert store.stop() == 0
    assert {name: (tmp_path / "private" / name).stat().st_ino for name in NAMES} == before


def test_mail_that_comes_while_no_store_runs_waits_in_the_socket(tmp_path, sockets):
    """It is taken by the next one: the store was killed, and nobody was turned away."""
    store = Store(tmp_path)
    assert "takes mail" in start(store, sockets).stderr.readline()
    store.kill()
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(DEADLINE_S)
        waiting.connect(str(store.sockets / "store"))
        start(store, sockets)
        assert waiting.recv(64).startswith(b"220 ")
    store.stop()


def test_a_socket_that_the_settings_do_not_name_is_a_mistake(tmp_path, sockets):
    """The unit and gateway.toml must say the same: both places are named."""
    store = Store(tmp_path)
    store.settings.write_text(store.settings.read_text().replace('"private"', '"elsewhere"'))
    process = start(store, sockets)
    said = process.communicate(timeout=DEADLINE_S)[1]
    store.process = None
    assert process.returncode != 0
    assert f"systemd has passed the socket {tmp_path}/private/store" in said
    assert "[store] sockets" in said
    assert "Traceback" not in said


def test_sockets_of_another_process_are_not_taken(tmp_path):
    """LISTEN_PID is another one's: the store makes its own."""
    store = Store(tmp_path)
    command = [sys.executable, "-m", "forkpolicy", "held", "-c", str(store.settings), "serve"]
    environment = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "3"}
    store.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    eventually((store.sockets / "store-virus").is_socket, DEADLINE_S)
    assert "takes mail" in store.process.stderr.readline()
    assert store.stop() in (0, -signal.SIGTERM)
