"""The forkpolicy of an earlier commit of this checkout, to measure today's against it.

It runs on the same interpreter with the same installed packages; its part in C is built, if it has one, and it compiles
its own tables. Raises SetupError for a commit that does not exist, or whose part in C cannot be built.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from forkpolicy.worker.implementation import CHOSEN, C
from loadtest.errors import SetupError
from loadtest.native import extension

CHECKOUT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Earlier:
    """Its short name, and with which environment `python -m forkpolicy` is that commit's."""

    name: str
    environment: dict[str, str]


def earlier_build(commit: str, directory: Path) -> Earlier:
    """Put the program as it was at `commit` into `directory`."""
    name = _git("rev-parse", "--short", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    if not name:
        raise SetupError(f"{commit} is not a commit of the checkout {CHECKOUT}: see git log")
    # Not tar: Debian's Python 3.11 cannot extract that safely.
    with zipfile.ZipFile(io.BytesIO(_git("archive", "--format=zip", name.decode().strip(), "forkpolicy"))) as archive:
        archive.extractall(directory)
    # A build that lacks it is another program: what it costs would say nothing about the commit.
    if (source := directory / "forkpolicy" / "worker" / "_turn.c").exists() and CHOSEN is C and not extension(source):
        raise SetupError(f"the part in C of commit {commit} cannot be built, and that of the checkout is used")
    # Safe path: otherwise Python prefers the current directory, which is the checkout of today.
    return Earlier(name.decode().strip(), {"PYTHONPATH": str(directory), "PYTHONSAFEPATH": "1"})


def _git(*words: str) -> bytes:
    git = shutil.which("git")
    if git is None:
        raise SetupError("git is not installed: apt-get install git")
    done = subprocess.run([git, "-C", str(CHECKOUT), *words], capture_output=True, check=False)
    if done.returncode and done.stderr:
        raise SetupError(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
