"""How this Python was built: a figure of CPU time means little without it.

Imports nothing outside the standard library, because the Makefile asks it before anything is installed.
"""

from __future__ import annotations

import platform
import sys
import sysconfig

NOT_OPTIMISED = f"""\
{sys.executable} was built without profile-guided optimisation: each request needs 10 to 15 % more CPU on it.
Debian's Python is faster: apt-get install python3 python3-venv, remove .venv, and run make again."""


def optimised() -> bool:
    """Whether it was built with profile-guided optimisation."""
    # Debian's packages are, but their build calls the compiler in its own way and leaves no trace in sysconfig.
    return sys.base_prefix == "/usr" or "--enable-optimizations" in _options()


def interpreter() -> str:
    """Its version, place and build in one line."""
    how = "the distribution's build"
    if sys.base_prefix != "/usr":
        linked = "with" if "--with-lto" in _options() else "without"
        how = f"built {'with' if optimised() else 'without'} PGO and {linked} LTO"
    return f"Python {platform.python_version()}, {sys.executable}, {how}"


def _options() -> str:
    return sysconfig.get_config_var("CONFIG_ARGS") or ""
