"""Whether `forkpolicy history ingest`, as it runs on a host, keeps up with a steady rate of decisions: it is started
with settings of its own, the log is written at that rate, and looked at is how far behind it is. Raises SetupError.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.decision_ids import decision_ids
from loadtest.errors import SetupError
from loadtest.measure.processes import cpu_us
from loadtest.servers.server import FORKPOLICY
from loadtest.traffic.past_decisions import file_begins

if TYPE_CHECKING:
    from io import RawIOBase
    from pathlib import Path

    from loadtest.traffic.past_decisions import PastDecisions

_PARTS_A_SECOND = 10
_CATCH_UP_S = 30.0


class Kept(NamedTuple):
    """How it went: decisions a second, the most that were written and not yet taken in, cores that the ingester kept
    busy with its start, and seconds from the last decision until all were in.
    """

    rate: float
    most_behind: int
    cores: float
    caught_up_s: float


def keeping_up(folder: Path, past: PastDecisions, rate: int, seconds: float) -> Kept:
    """Write for so many seconds."""
    settings, log = folder / "keeping-up.toml", folder / "keeping-up.json"
    settings.write_text(f'[history]\nlog = "{log}"\npath = "{folder / "keeping-up"}"\n')
    with log.open("wb", buffering=0) as written:
        written.write(file_begins(decision_ids()(), time.time()))
        command = [*FORKPOLICY, "history", "-c", str(settings), "ingest"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as ingester:
            try:
                return _measured(folder / "keeping-up" / "ingest.sqlite", ingester.pid, written, past, rate, seconds)
            except SetupError as error:
                ingester.terminate()
                raise SetupError(f"{error}: {ingester.communicate()[1][-300:]}") from error
            finally:
                ingester.terminate()


def _measured(positions: Path, pid: int, written: RawIOBase, past: PastDecisions, rate: int, seconds: float) -> Kept:
    """`positions`: where the ingester keeps how far it has read."""
    started_s, decisions, most_behind = time.monotonic(), 0, 0
    sizes = [written.tell()]
    while (elapsed_s := time.monotonic() - started_s) < seconds:
        due = int(elapsed_s * rate) - decisions
        for _, line in past.decisions(due, time.time(), 0.0) if due else ():
            written.write(line)
            sizes.append(written.tell())
        decisions += due
        most_behind = max(most_behind, _behind(positions, sizes))
        time.sleep(1 / _PARTS_A_SECOND)
    ended_s = time.monotonic()
    while _behind(positions, sizes):
        if time.monotonic() - ended_s > _CATCH_UP_S:
            raise SetupError(f"{_behind(positions, sizes)} decisions are not taken in after {_CATCH_UP_S:g} s")
        time.sleep(0.05)
    caught_up_s = time.monotonic() - ended_s
    return Kept(decisions / seconds, most_behind, cpu_us([pid]) / 1e6 / (time.monotonic() - started_s), caught_up_s)


def _behind(positions: Path, sizes: list[int]) -> int:
    """Lines that are not taken in. `sizes`: of the file after each line."""
    offset = 0
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(_opened(positions)) as connection:
        offset = (connection.execute("SELECT max(offset) FROM positions").fetchone()[0]) or 0
    return sum(size > offset for size in sizes)


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)
