"""The logger process under a stream of lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

# Writes `lines` on each of so many ticks, a tick every `tick_s`, and shows what that has cost the logger.
STREAM = """
import json, pathlib, signal, sys
from forkpolicy.master.processes.logger import Logger
from forkpolicy.master.processes.targets import FileTarget
path, ticks, tick_s, lines, style = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
logger = Logger(FileTarget(path), style, "a log")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
logger.start()
signal.setitimer(signal.ITIMER_REAL, tick_s, tick_s)
for tick in range(ticks):
    signal.sigwait([signal.SIGALRM])
    for number in range(lines):
        logger.pipe.event("info", "a line", number=tick * lines + number)
status = pathlib.Path(f"/proc/{logger.pid}/status").read_text()
woken = next(line for line in status.splitlines() if line.startswith("voluntary"))
logger.finish()
print(json.dumps({"woken": int(woken.split()[1]), "dropped": logger.losses.at_pipe.take()}))
"""


def streamed(tmp_path, *, ticks, tick_s, lines, style="logfmt"):
    """The cost of a stream, and its numbers in the order in which they were written."""
    path = tmp_path / "log"
    words = [sys.executable, "-c", STREAM, path, ticks, tick_s, lines, style]
    result = subprocess.run([*map(str, words)], check=True, capture_output=True, text=True, timeout=50)
    # It is the last field in both styles.
    numbers = [int(re.findall("[0-9]+", line)[-1]) for line in path.read_text().splitlines()]
    return json.loads(result.stdout), numbers


def test_a_stream_of_lines_does_not_wake_the_logger_for_each(tmp_path):
    """A thousand lines, one a millisecond: fifty reads a second are enough for them."""
    cost, numbers = streamed(tmp_path, ticks=1000, tick_s=0.001, lines=1)
    assert numbers == list(range(1000))
    assert cost["woken"] < 200


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_nothing_is_lost_at_fifty_thousand_lines_a_second(tmp_path, style):
    """The pauses are as short as the pipe needs them."""
    cost, numbers = streamed(tmp_path, ticks=100, tick_s=0.01, lines=500, style=style)
    assert cost["dropped"] == 0
    assert numbers == list(range(50_000))
