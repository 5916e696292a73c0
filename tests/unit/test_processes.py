"""What the kernel says of processes: CPU of threads that have ended, and a process that stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loadtest.measure.processes import cpu_us
from loadtest.servers.pausing import is_there, pause

BURNT_S = 0.05
# A second thread, so that one of both runs when the signal comes.
BUSY = """\
import threading

def turn():
    while True:
        pass

threading.Thread(target=turn, daemon=True).start()
print(flush=True)
turn()
"""


def test_cpu_of_a_thread_that_has_ended_stays():
    """The thread that prepares a reload ends after a while: what it cost was spent all the same."""
    before_us = cpu_us([os.getpid()])
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    assert cpu_us([os.getpid()]) >= before_us + BURNT_S * 1e6


def burn():
    """So much CPU of this thread."""
    while time.thread_time() < BURNT_S:
        pass


def test_a_process_that_has_ended_counts_as_nothing():
    """No error either: pids may have gone by the time that they are measured."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert cpu_us([process.pid]) == 0
    assert not is_there(process.pid)
    with pytest.raises(ProcessLookupError):
        pause(process.pid)


def test_a_paused_process_stands_still():
    """All its threads, as soon as `pause` returns."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            for _ in range(20):
                pause(process.pid)
                tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
                assert [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks] == ["T", "T"]
                os.kill(process.pid, signal.SIGCONT)
        finally:
            process.kill()
