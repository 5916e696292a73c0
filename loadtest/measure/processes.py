"""What processes cost, read from the kernel: CPU in microseconds, memory, descriptors. Linux only.

CPU comes from the clock of each process, which counts nanoseconds: the ticks of /proc/PID/stat are too coarse for a run
of seconds, and the sum of its threads' schedstat becomes less when one of them ends. A process that has ended counts as
nothing, but in `tree_cpu_us`.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def cpu_us(pids: Iterable[int]) -> float:
    """User and system time of some processes so far, with those of their threads that have ended."""
    total_ns = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total_ns += time.clock_gettime_ns(_cpu_clock(pid))
    return total_ns / 1000


def tree_cpu_us(pid: int) -> float:
    """Of a process and its descendants, with those that ended and were waited for: these in steps of 10 ms."""
    pids = [pid, *descendants(pid)]
    return cpu_us(pids) + sum(map(_ended_us, pids))


def _ended_us(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # cutime and cstime of proc(5).
        return (int(fields[13]) + int(fields[14])) * 1e6 / os.sysconf("SC_CLK_TCK")
    return 0.0


def _cpu_clock(pid: int) -> int:
    """As clock_getcpuclockid(3) makes it, which Python does not have: CPUCLOCK_SCHED of the whole process."""
    return ~pid << 3 | 2


def machine_busy_us() -> float:
    """What all cores together have been busy with so far, in steps of 10 ms."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) * 1e6 / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int) -> tuple[int, int]:
    """The proportional share of memory, and the anonymous part of it, in KiB.

    Pages that processes share count once in the sum of their shares; but a process's share grows when the others end.
    Whether it grows by itself is seen in the anonymous pages alone, which count whole for each that shares them.
    """
    pss, anonymous = smaps_kib(pid, "Pss", "Anonymous")
    return pss, anonymous


def smaps_kib(pid: int, *names: str) -> tuple[int, ...]:
    """Lines of smaps_rollup (proc(5)) by name, each in KiB."""
    found = dict.fromkeys(names, 0)
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0])
    return tuple(found.values())


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0


def title(pid: int) -> str:
    """What a forkpolicy process calls itself: "master", "log", "worker 0"; for any other its number."""
    words = command_line(pid)
    if words.startswith("forkpolicy: "):
        return words.removeprefix("forkpolicy: ").partition(" /")[0]
    return str(pid)


def command_line(pid: int) -> str:
    """With what it was started, or what it calls itself; empty when it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return ""


def everybody() -> list[int]:
    """Every process of this machine."""
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def descendants(pid: int) -> list[int]:
    """All children of a process, and theirs."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def machine() -> str:
    """Processor, cores and kernel in one line, for the head of every table of figures."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = Path("/proc/cpuinfo").read_text().count("\nprocessor") + 1
    kernel = Path("/proc/sys/kernel/osrelease").read_text().strip()
    return f"{model}, {cores} cores, Linux {kernel}"
