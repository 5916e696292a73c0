"""Two small C programs, compiled when they are first needed: a load generator and a bare echo server.

Without a C compiler there is `None` instead of a path, and the Python versions do the work, slower.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent.parent / "build" / "loadtest"


def program(name: str) -> Path | None:
    """The compiled program `name`, or None where there is no compiler."""
    source, built = HERE / f"{name}.c", BUILT / name
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    BUILT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([compiler, "-O2", "-o", built, source], capture_output=True, check=False)
    return built if done.returncode == 0 else None
