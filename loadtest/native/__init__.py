"""Small things in C, compiled when they are first needed: a load generator, a bare echo server, a clock that steps.

Without a C compiler there is `None` instead of a path: Python versions do the work of the programs, slower, and what
needs the library is left out.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent.parent / "build" / "loadtest"


def program(name: str) -> Path | None:
    """The compiled program `name`, or None where there is no compiler."""
    return _built(name, BUILT / name)


def library(name: str) -> Path | None:
    """The shared library `name`, for LD_PRELOAD."""
    return _built(name, BUILT / f"{name}.so", "-shared", "-fPIC")


def _built(name: str, built: Path, *options: str) -> Path | None:
    source = HERE / f"{name}.c"
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    BUILT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([compiler, "-O2", *options, "-o", built, source], capture_output=True, check=False)
    return built if done.returncode == 0 else None
