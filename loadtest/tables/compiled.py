"""The compiled table of a list: made by the real command, verified, asked, and opened by many workers."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.tables.reader import open_table, verify_file
from loadtest.errors import SetupError
from loadtest.measure.calls import calls_us
from loadtest.measure.processes import descendants, smaps_kib
from loadtest.tables.lists import as_mail_asks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.tables.lists import Sample

KIB = 1024
WORKERS = 8


@dataclass(frozen=True, slots=True)
class LookUps:
    """CPU microseconds of a look-up in each round: of what was never asked before, and of what mail asks."""

    new_us: list[float]
    by_mail_us: list[float]


class PeakMemory(threading.Thread):
    """The largest proportional set of a process and its children together, sampled."""

    def __init__(self, pid: int) -> None:
        """`start` begins to sample."""
        super().__init__(daemon=True)
        self.pid, self.peak_kib = pid, 0
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._over.wait(0.05):
            self.peak_kib = max(
                self.peak_kib, sum(sum(smaps_kib(pid, "Pss")) for pid in (self.pid, *descendants(self.pid)))
            )

    def stop(self) -> int:
        """The peak in KiB."""
        self._over.set()
        self.join()
        return self.peak_kib


def compile_sample(sample: Sample, directory: Path) -> list[object]:
    """Compile with the real command: entries a second and peak memory."""
    (directory / "forkpolicy.toml").write_text('policy = "policy.conf"\ntables = "tables"\n')
    (directory / "policy.conf").write_text(f"table t {sample.kind} {sample.path}\n")
    command = [sys.executable, "-m", "forkpolicy.compile.command", "-c", str(directory / "forkpolicy.toml")]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    compiler = subprocess.Popen([*command, "--allow-shrink"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    memory = PeakMemory(compiler.pid)
    memory.start()
    _, diagnostics = compiler.communicate()
    took_s = time.monotonic() - started
    peak_kib = memory.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if compiler.returncode:
        raise SetupError(diagnostics.decode())
    size = (directory / "tables" / "t.lmdb").stat().st_size
    return [
        f"{took_s:.2f} s",
        f"{cpu_s:.2f} s",
        f"{sample.count / took_s:,.0f}",
        f"{peak_kib / KIB:.0f} MiB",
        f"{size / KIB / KIB:.1f} MiB",
    ]


def verified_s(directory: Path) -> str:
    """CPU time of what a worker does before it loads a table: reading all of it and comparing its digest."""
    started = time.process_time()
    verify_file(str(directory / "tables" / "t.lmdb")).close()
    return f"{time.process_time() - started:.2f} s"


def compiled_us(samples: Sequence[tuple[Sample, Path]]) -> list[LookUps]:
    """Look-ups in compiled tables of one kind, which take turns."""
    with contextlib.ExitStack() as stack:
        asked = []
        for sample, directory in samples:
            table = open_table(str(directory / "tables" / "t.lmdb"), "t", sample.kind)
            stack.callback(table.close)
            find = sample.asking(table.find)
            asked += [(find, sample.questions), (find, as_mail_asks(sample.questions))]
        rounds = calls_us(asked)
    return [LookUps(new, by_mail) for new, by_mail in zip(rounds[::2], rounds[1::2], strict=True)]


def memory_of_workers(sample: Sample, directory: Path) -> list[str]:
    """Eight processes that open the table and ask: what one has of its own, and what all have together."""
    children = []
    for _ in range(WORKERS):
        ours, theirs = os.pipe()
        go, wait = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(wait)
            _be_a_worker(sample, directory, theirs, go)
        os.close(theirs)
        os.close(go)
        children.append((pid, ours, wait))
    growth = [int(os.read(ours, 20)) for _, ours, _ in children]
    pss = sum(sum(smaps_kib(pid, "Pss")) for pid, _, _ in children)
    base = sum(sum(smaps_kib(pid, "Pss_Anon")) for pid, _, _ in children)
    # Later children hold the pipes of earlier ones too: let go of all before waiting for any.
    for _, ours, wait in children:
        os.close(wait)
        os.close(ours)
    for pid, _, _ in children:
        os.waitpid(pid, 0)
    return [f"{max(growth) / KIB:.1f} MiB", f"{(pss - base) / KIB:.0f} MiB"]


def _be_a_worker(sample: Sample, directory: Path, ready: int, go: int) -> None:
    # A forked child makes a page its own by counting a reference in it: do that to the questions first.
    for question in sample.questions:
        for text in question if sample.shape else (question,):
            text.casefold()
    # The first worker alone would own the pages that the second shares: count dirty pages, which are never shared.
    (before,) = smaps_kib(os.getpid(), "Private_Dirty")
    table = open_table(str(directory / "tables" / "t.lmdb"), "t", sample.kind)
    find = sample.asking(table.find)
    for question in sample.questions:
        find(question)
    (after,) = smaps_kib(os.getpid(), "Private_Dirty")
    os.write(ready, str(after - before).encode())
    os.read(go, 1)
    os._exit(0)
