"""kill -9 of every process, and a full disk, while decisions are logged and taken in: what reached the log is found
once, and what did not is named.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loadtest.clients.policy_client import LostReplyError, PolicyClient
from loadtest.measure.processes import title
from tests.process.conftest import request
from tests.process.waiting import eventually

POLICY = """
table domains domain domains
acl from_us sender table:domains
action prove_it REJECT 5.7.1 see {code}
access from_us prove_it
"""
ROUNDS = 3


@pytest.fixture
def server(make_server):
    """A server whose log is in a directory of its own."""
    server = make_server(POLICY)
    server.log_file = server.directory / "decisions" / "log.json"
    server.log_file.parent.mkdir()
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "decisions/log.json"\npath = "history"\n')
    return server


def started_ingester(server):
    """The ingester as a process."""
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(server.settings)]
    return subprocess.Popen(words, stderr=subprocess.DEVNULL)


def logged(server):
    """The ids of all decisions in the log."""
    found = []
    for path in server.log_file.parent.iterdir():
        for line in path.read_bytes().splitlines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            found += [fields["id"]] if fields["event"] == "decision" else []
    return found


def found(server):
    """Those that `find` prints."""
    printed = server.command("history", "find", "to:b@example.com", "--most", "1000000", "--json").stdout
    return [json.loads(line)["id"] for line in printed.splitlines()]


class Asking:
    """A client that asks until it is stopped, over every loss of its connection; the codes that it was given."""

    def __init__(self, server):
        self._server, self.codes, self._stop = server, [], threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.is_set():
            try:
                with PolicyClient(self._server.socket_path) as client:
                    while not self._stop.is_set():
                        self.codes.append(client.ask(request()).split()[-1])
            except (OSError, LostReplyError):
                continue

    def goes_on(self):
        """Wait for another answer."""
        before = len(self.codes)
        eventually(lambda: len(self.codes) > before + 50)


def processes_of(server, name):
    """Those of the running server with a title."""
    return [pid for pid in server.process_ids() if title(pid).startswith(name)]


def test_a_kill_of_any_process_under_load_loses_and_doubles_nothing(server):
    """Worker, logger, ingester, then the master, and a rotation; each decision of the log is found, and found once."""
    server.start()
    ingester = started_ingester(server)
    try:
        for number in range(ROUNDS):
            with Asking(server) as asking:
                asking.goes_on()
                for name in ("worker", "history"):
                    os.kill(processes_of(server, name)[0], signal.SIGKILL)
                    asking.goes_on()
                ingester.kill()
                ingester.wait()
                ingester = started_ingester(server)
                asking.goes_on()
                # As logrotate would, while the ingester reads.
                server.log_file.rename(server.log_file.with_suffix(f".json.{number}"))
                asking.goes_on()
                children = server.process_ids()
                server.process.kill()
                server.process.wait()
            eventually(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in children))  # noqa: B023
            server.start()
            with Asking(server) as asking:
                asking.goes_on()
        last = asking.codes[-1]
        eventually(lambda: server.command("history", "find", f"id:{last}").returncode == 0)
    finally:
        ingester.kill()
        ingester.wait()
    assert server.command("history", "ingest", "--once").returncode == 0
    codes = logged(server)
    assert len(codes) == len(set(codes))
    assert sorted(found(server)) == sorted(codes)
    assert last in codes


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_of_the_log_is_a_gap(server):
    """Decisions go on; how many are missing is named by `find`, and all others are found."""
    directory = server.log_file.parent
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", directory], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        server.start()
        with PolicyClient(server.socket_path) as client:
            codes = [client.ask(request()).split()[-1] for _ in range(1000)]
            eventually(lambda: server.status()["history"]["lost"]["target"] > 0)
            subprocess.run(["mount", "-o", "remount,size=50m", directory], check=True)
            codes.append(client.ask(request()).split()[-1])
            eventually(lambda: codes[-1] in server.log_file.read_text())
        assert server.command("history", "ingest", "--once").returncode == 0
        kept = found(server)
        assert set(kept) <= set(codes)
        assert len(kept) == len(set(kept))
        missing = server.command("history", "find", "to:b@example.com").stderr
        assert f": {len(codes) - len(kept)} log line" in missing
        assert codes[-1] in kept
    finally:
        server.stop()
        subprocess.run(["umount", directory], check=True)
