"""How many cores a process may use, by real control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def real_group():
    """Two groups of this machine's own, one in the other; gone with the test."""
    if os.geteuid():
        pytest.skip("making control groups needs root")
    one = next((each for each in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup") if has_cpu(Path(each))), None)
    if one is None:
        pytest.skip("this machine lets nobody set CPU quotas")
    outer = Path(one) / f"forkpolicy-test-{os.getpid()}"
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
        yield outer, inner
    finally:
        inner.rmdir()
        outer.rmdir()


def has_cpu(top):
    try:
        return (top / "cpu.cfs_quota_us").exists() or "cpu" in (top / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False


def test_a_real_group_above(real_group):
    """The kernel's own files: a quota of half a core on the group above that of the process."""
    outer, inner = real_group
    if (outer / "cpu.max").exists():
        (outer / "cpu.max").write_text("50000 100000")
    else:
        (outer / "cpu.cfs_quota_us").write_text("50000")
    code = (
        "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "from forkpolicy.cores import usable_cores; print(usable_cores(os.getpid()))"
    )
    words = [sys.executable, "-c", code, str(inner / "cgroup.procs")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("0.5\n", "")
