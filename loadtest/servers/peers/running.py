"""A peer that runs: started below a directory, on a UNIX socket there, and killed with all its children."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.measure.processes import descendants
from loadtest.servers.peers.peer import OWNER, search_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.servers.peers.peer import Peer
    from loadtest.traffic.traffic import Day


# Some read lists of a hundred thousand for a minute.
START_TIMEOUT_S = 240.0
PAUSE_S = 0.05


@contextlib.contextmanager
def running(peer: Peer, here: Path, day: Day, connections: int) -> Iterator[tuple[Path, list[int]]]:
    """Start it; its socket and its processes. Raises SetupError with its words when it does not start."""
    here.mkdir(parents=True)
    shutil.chown(here, *OWNER)
    path, log = here / "peer.sock", here / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            peer.words(here, day, connections),
            env={**os.environ, "PATH": search_path()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(path, process, peer, log)
        first = int((here / "pid").read_text()) if peer.daemon else process.pid
        yield path, [first, *descendants(first)]
    finally:
        _end(process.pid if not peer.daemon else _pid_in(here / "pid"))
        process.wait()


def _wait(path: Path, process: subprocess.Popen[bytes], peer: Peer, log: Path) -> None:
    # None of them reports that it is ready: connect until one accepts, or the process has failed.
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and _alive(process, daemon=peer.daemon):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(PAUSE_S)
    raise SetupError(f"{peer.name} did not start: {log.read_text(errors='replace').strip()[-500:]}")


def _alive(process: subprocess.Popen[bytes], *, daemon: bool) -> bool:
    """Whether it may still come: a daemon's first process ends early, and ends well."""
    code = process.poll()
    return code is None or (daemon and code == 0)


def _pid_in(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def _end(pid: int) -> None:
    if not pid:
        return
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
