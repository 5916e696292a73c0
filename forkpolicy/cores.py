"""How many cores a process may use: its affinity, and the CPU quotas of its control group and of every group above it.

cgroups(7), both versions and both at once. A quota stands in `cpu.max` (version 2), or in `cpu.cfs_quota_us` and
`cpu.cfs_period_us` (version 1); one on a slice or a pod holds for everything below it. Linux only; raises nothing but
OSError for a process that does not exist.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def usable_cores(pid: int, proc: Path = Path("/proc")) -> float:
    """The cores that a process may use. `proc`: where the kernel's files about processes are. Raises OSError."""
    return min([float(len(os.sched_getaffinity(pid))), *_quotas(pid, proc)])


def _quotas(pid: int, proc: Path) -> Iterator[float]:
    """Each quota that holds for the process, in cores. None where nothing can be seen of its groups."""
    try:
        groups = (proc / str(pid) / "cgroup").read_text().splitlines()
        mounts = (proc / "self" / "mountinfo").read_text().splitlines()
    except OSError:
        return
    hierarchies = dict(_hierarchies(mounts))
    for line in groups:
        # Number of the hierarchy, its controllers (none: version 2), and the group; proc(5).
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        name = "cpu" if "cpu" in controllers.split(",") else controllers
        if name in hierarchies:
            yield from _quotas_above(group, *hierarchies[name])


def _hierarchies(mounts: list[str]) -> Iterator[tuple[str, tuple[str, Path]]]:
    """The mounted hierarchies that can have quotas, "cpu" of version 1 and "" of version 2: the group that is mounted,
    and where.
    """
    for line in mounts:
        # ID, parent, device, root, mount point, options ..., "-", type, source, options of the file system; proc(5).
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        root, mount_point = before.split(" ")[3:5]
        if kind == "cgroup2":
            yield "", (root, Path(mount_point))
        elif kind == "cgroup" and "cpu" in options.split(" ")[-1].split(","):
            yield "cpu", (root, Path(mount_point))


def _quotas_above(group: str, root: str, mount_point: Path) -> Iterator[float]:
    """The quotas of a group and of those above it, as far up as they are mounted."""
    below = os.path.relpath(group, root)
    # A container may see its own group alone, mounted as the top: what it is called outside leads nowhere here.
    directory = mount_point if below.startswith("..") else Path(os.path.normpath(mount_point / below))
    while True:
        quota = _quota(directory)
        if quota:
            yield quota
        if directory == mount_point:
            return
        directory = directory.parent


def _quota(directory: Path) -> float | None:
    """The quota of one group, in cores; None without one."""
    try:
        quota, period = (directory / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (directory / "cpu.cfs_quota_us").read_text()
            period = (directory / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        # "max" (version 2) and -1 (version 1): no quota.
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
