"""How many cores a process may use, by made-up control groups."""

from __future__ import annotations

import os

import pytest

from forkpolicy.cores import usable_cores

V2 = "31 23 0:28 {root} {at} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 {root} {at} rw,relatime - cgroup cgroup rw,cpu,cpuacct"
OTHER = "33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    """What the affinity allows."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


@pytest.fixture
def machine(tmp_path):
    """A made-up machine: writes /proc's files and those of groups, and asks about process 7."""

    def cores(mounts, groups, files):
        proc = tmp_path / "proc"
        for pid in ("7", "self"):
            (proc / pid).mkdir(parents=True, exist_ok=True)
        filled = [each.replace("{at}", str(tmp_path / name)).replace("{root}", root) for each, name, root in mounts]
        (proc / "self" / "mountinfo").write_text("\n".join([OTHER, *filled]) + "\n")
        (proc / "7" / "cgroup").write_text("\n".join(["5:memory:/elsewhere", *groups]) + "\n")
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return usable_cores(7, proc)

    return cores


ONE_V2, ONE_V1 = [(V2, "u", "/")], [(V1, "c", "/")]
SERVICE = "0::/mail.slice/forkpolicy.service"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"u/mail.slice/forkpolicy.service/cpu.max": "150000 100000"}, 1.5),
        ({"u/mail.slice/cpu.max": "200000 100000"}, 2),
        ({"u/cpu.max": "300000 100000", "u/mail.slice/cpu.max": "max 100000"}, 3),
        ({"u/mail.slice/cpu.max": "50000 100000", "u/mail.slice/forkpolicy.service/cpu.max": "400000 100000"}, 0.5),
        ({"u/mail.slice/cpu.max": "1600000 100000"}, 8),
        ({"u/mail.slice/cpu.max": "what is this"}, 8),
        ({"u/other.slice/cpu.max": "100000 100000"}, 8),
    ],
)
def test_version_2(machine, files, cores):
    """The least of the affinity and of the quotas from the group up to the top."""
    assert machine(ONE_V2, [SERVICE], files) == cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"c/a/b/cpu.cfs_quota_us": "-1", "c/a/b/cpu.cfs_period_us": "100000"}, 8),
        ({"c/a/b/cpu.cfs_quota_us": "150000", "c/a/b/cpu.cfs_period_us": "50000"}, 3),
        ({"c/a/cpu.cfs_quota_us": "150000", "c/a/cpu.cfs_period_us": "100000"}, 1.5),
        ({"c/cpu.cfs_quota_us": "100000", "c/cpu.cfs_period_us": "100000"}, 1),
        ({"c/a/cpu.cfs_quota_us": "100000", "c/a/cpu.cfs_period_us": "0"}, 8),
    ],
)
def test_version_1(machine, files, cores):
    """The same, where the controller has a hierarchy of its own."""
    assert machine(ONE_V1, ["2:cpu,cpuacct:/a/b", "1:cpuset:/"], files) == cores


def test_both_versions_at_once(machine):
    """A hybrid machine: quotas stand where the controller is."""
    files = {"c/a/cpu.cfs_quota_us": "200000", "c/a/cpu.cfs_period_us": "100000", "u/a/cpu.max": "300000 100000"}
    assert machine([*ONE_V2, *ONE_V1], ["2:cpu,cpuacct:/a", "0::/a"], files) == 2


def test_a_container_that_sees_its_own_group_alone(machine):
    """The kernel tells the group's name outside, and what is mounted is that group or one above it."""
    files = {"c/cpu.cfs_quota_us": "200000", "c/cpu.cfs_period_us": "100000"}
    assert machine([(V1, "c", "/docker/4711")], ["2:cpu,cpuacct:/docker/4711"], files) == 2
    assert machine([(V1, "c", "/docker/4711")], ["2:cpu,cpuacct:/docker/4711/inner"], files) == 2
    assert machine([(V1, "c", "/docker/4711")], ["2:cpu,cpuacct:/docker/4712"], files) == 2


def test_nothing_to_be_seen(machine, tmp_path):
    """No control groups mounted, or no /proc: the affinity is all that is known."""
    assert machine([], [SERVICE], {}) == 8
    assert usable_cores(7, tmp_path / "nowhere") == 8
