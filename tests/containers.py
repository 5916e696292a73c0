"""Containers with systemd as PID 1, over a root directory whose changes stay in memory. As root, with systemd-nspawn.

A scenario is a script that writes what it saw to /report. Nothing of the machine is changed, and a container has no
network but its own loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIMEOUT_S = 300
SCENARIO_UNIT = """\
[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart={python} /report/{script}
StandardOutput=file:/report/stdout
StandardError=file:/report/stderr
ExecStopPost=/bin/systemctl poweroff --no-block
"""
SCENARIO_TARGET = """\
[Unit]
Requires=basic.target scenario.service
After=basic.target
AllowIsolate=yes
"""


def why_not() -> str:
    """Why no container can run, or ""."""
    if os.environ.get("FORKPOLICY_SLOW") != "1":
        return "slow: FORKPOLICY_SLOW=1 runs it"
    if os.geteuid():
        return "needs root"
    if not shutil.which("systemd-nspawn") or not Path("/usr/lib/systemd/systemd").exists():
        return "needs systemd-nspawn: apt-get install systemd systemd-container"
    return ""


@contextlib.contextmanager
def overlay(directory: Path, lower: Path = Path("/")) -> Iterator[Path]:
    """A root directory: the files of `lower`, with changes that stay in memory. `directory` is empty."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    try:
        upper, work, root = directory / "upper", directory / "work", directory / "root"
        for path in (upper, work, root):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)
    finally:
        subprocess.run(["umount", directory], check=True)


def run_scenario(
    root: Path, python: str, script: str, report: Path, mounts: Sequence[str], timeout_s: int = TIMEOUT_S
) -> str:
    """Run `script`, which lies in the directory `report`, until it powers the container off; what systemd said."""
    system = root / "etc" / "systemd" / "system"
    (system / "scenario.service").write_text(SCENARIO_UNIT.format(python=python, script=script))
    (system / "scenario.target").write_text(SCENARIO_TARGET)
    words = ["systemd-nspawn", "-D", str(root), "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
    words += [*mounts, f"--bind={report}:/report", "-b", "systemd.unit=scenario.target"]
    container = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return container.communicate(timeout=timeout_s)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        # TERM has it end the container too; killed itself, it would leave it behind.
        container.terminate()
        return container.communicate()[0].decode(errors="replace")
