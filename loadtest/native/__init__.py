"""Small things in C, compiled when they are first needed: a load generator, a bare echo server, a clock that steps.

Without a C compiler there is `None` instead of a path: Python versions do the work of the programs, slower, and what
needs the library is left out. `extension` builds a module of forkpolicy where no `pip install` does: for an earlier
commit, and for tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent.parent / "build" / "loadtest"


def program(name: str) -> Path | None:
    """The compiled program `name`, or None where there is no compiler."""
    return _built(HERE / f"{name}.c", BUILT / name)


def library(name: str) -> Path | None:
    """The shared library `name`, for LD_PRELOAD."""
    return _built(HERE / f"{name}.c", BUILT / f"{name}.so", "-shared", "-fPIC")


def extension(source: Path, directory: Path | None = None, *options: str) -> Path | None:
    """The module of CPython that `source` is, built beside it or in `directory`; None also without Python's headers."""
    built = (directory or source.parent) / (source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    headers = f"-I{sysconfig.get_path('include')}"
    return _built(source, built, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", headers, *options)


def _built(source: Path, built: Path, *options: str) -> Path | None:
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    built.parent.mkdir(parents=True, exist_ok=True)
    # Others may run the one that is there.
    new = built.with_name(f"{built.name}.{os.getpid()}")
    done = subprocess.run([compiler, "-O2", *options, "-o", new, source], capture_output=True, check=False)
    if done.returncode == 0:
        new.replace(built)
    return built if done.returncode == 0 else None
