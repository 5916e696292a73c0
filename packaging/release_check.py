"""Whether this checkout can be released: every step of the list below, with its result. `make release-check`.

    release_check.py [--quick] [STEP ...]

Every step runs whatever became of the ones before; the status is 1 if one failed. --quick leaves out those that take
minutes. Needs a network for the lock file and the locked packages, and root for the other releases of Debian. Files go
to build/release/. Run by the Python of the development environment.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parents[1]
OUT = TOP / "build" / "release"
# What a wheel and an sdist must have, whatever else they have.
IN_WHEEL = (
    "share/man/man8/forkpolicy.8",
    "share/forkpolicy/conf/policy.conf",
    "share/forkpolicy/systemd/forkpolicy.service",
)
IN_SDIST = ("packaging/lock.txt", "conf/policy.conf", "tests/conftest.py", "forkpolicy/worker/_turn.c", "PKG-INFO")


class Failed(Exception):  # noqa: N818 - a result, not an error of the program
    """A step's answer is no; the text says why."""


class Step(NamedTuple):
    """A function that returns what it found or raises Failed; `slow`: minutes."""

    check: Callable[[], str]
    slow: bool


STEPS: dict[str, Step] = {}


def step(*, slow: bool = False) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Add a function to the list, in the order of this file."""

    def add(check: Callable[[], str]) -> Callable[[], str]:
        STEPS[check.__name__.replace("_", "-")] = Step(check, slow)
        return check

    return add


def run(*words: str | Path, cwd: Path = TOP) -> str:
    """Standard output. Raises Failed with the last lines of a command that failed or is missing."""
    try:
        done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Failed(f"{words[0]} is missing") from error
    if done.returncode:
        raise Failed("\n".join((done.stdout + done.stderr).splitlines()[-15:]) or f"status {done.returncode}")
    return done.stdout


def version() -> str:
    """The version in forkpolicy/__init__.py."""
    match = re.search(r'^__version__ = "(.+)"$', (TOP / "forkpolicy" / "__init__.py").read_text(), re.MULTILINE)
    if not match:
        raise Failed("forkpolicy/__init__.py has no __version__")
    return match[1]


@step()
def clean_tree() -> str:
    """Nothing that is not committed."""
    if changed := run("git", "status", "--porcelain"):
        raise Failed(f"not committed:\n{changed}")
    return run("git", "log", "-1", "--format=%h %s").strip()


@step()
def changelog() -> str:
    """The newest heading is this version, with a date."""
    match = re.search(r"^## (.+)$", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    if not match or not re.fullmatch(rf"{re.escape(version())}, \d{{4}}-\d\d-\d\d", match[1]):
        raise Failed(f"CHANGELOG.md begins with {match and match[1]!r}, expected '## {version()}, YYYY-MM-DD'")
    return match[1]


@step()
def lock() -> str:
    """`make lock` would change nothing."""
    before = {path: path.read_bytes() for path in (TOP / "packaging").glob("*.txt")}
    try:
        run("make", "lock")
        changed = [path.name for path in before if path.read_bytes() != before[path]]
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    if changed:
        raise Failed(f"make lock changes {', '.join(changed)}")
    return "up to date"


@step()
def sdist_and_wheel() -> str:
    """Built from a copy of what git has, the wheel from the sdist; complete, metadata valid."""
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "tree").mkdir(parents=True)
    run("git", "archive", "-o", OUT / "tree.tar", "HEAD")
    run("tar", "-C", OUT / "tree", "-xf", OUT / "tree.tar")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", OUT / "dist", cwd=OUT / "tree")
    (sdist,), (wheel,) = (OUT / "dist").glob("*.tar.gz"), (OUT / "dist").glob("*.whl")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    missing = [name for name in IN_SDIST if name not in names]
    with zipfile.ZipFile(wheel) as zipped:
        data = zipped.namelist()
    missing += [name for name in IN_WHEEL if not any(each.endswith(f".data/data/{name}") for each in data)]
    if missing:
        raise Failed(f"missing: {', '.join(missing)}")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    run(Path(sys.executable).with_name("check-wheel-contents"), wheel)
    return f"{sdist.name}, {wheel.name}"


@step()
def smoke_test() -> str:
    """The wheel in an environment of its own, with the locked packages: it says its version and explains a request."""
    (wheel,) = (OUT / "dist").glob("*.whl") if (OUT / "dist").exists() else (None,)
    if wheel is None:
        raise Failed("no wheel: the step sdist-and-wheel makes it")
    run(sys.executable, "-m", "venv", "--clear", OUT / "venv")
    pip, program = OUT / "venv" / "bin" / "pip", OUT / "venv" / "bin" / "forkpolicy"
    run(pip, "install", "--quiet", "--require-hashes", "-r", "packaging/build.txt")
    run(pip, "install", "--quiet", "--no-build-isolation", "--require-hashes", "-r", "packaging/lock.txt")
    run(pip, "install", "--quiet", "--no-deps", wheel)
    run(pip, "check")
    if (said := run(program, "--version", cwd=OUT).split()[-1]) != version():
        raise Failed(f"--version says {said}, not {version()}")
    settings = OUT / "forkpolicy.toml"
    settings.write_text('policy = "policy.conf"\n')
    (OUT / "policy.conf").write_text("acl us sender a@example.com\naction no REJECT no\naccess us no\n")
    if "REJECT no" not in run(program, "explain", "-c", settings, "sender=a@example.com", cwd=OUT):
        raise Failed("explain does not say REJECT")
    return "answers"


@step()
def documents() -> str:
    """Links, commands and settings in documents; manual pages."""
    run(sys.executable, "-m", "pytest", "-q", "tests/qa")
    run("make", "man")
    return "true"


@step()
def lint() -> str:
    """Style, types, import contracts, spelling."""
    run("make", "lint")
    return "clean"


@step(slow=True)
def tests() -> str:
    """All of them, with this Python."""
    run("make", "test")
    return "passed"


@step(slow=True)
def other_pythons() -> str:
    """With every Python that can be had."""
    return run("make", "test-all").rstrip().rpartition("\n\n")[2][-600:]


@step(slow=True)
def debian_packages() -> str:
    """Of both releases, twice each, with this version."""
    names = []
    for dist in ("bookworm", "trixie"):
        run("packaging/build-deb", "--dist", dist, "--prove", "--out", OUT / "deb")
    for path in sorted((OUT / "deb").glob("*.deb")):
        found = run("dpkg-deb", "--field", path, "Version").strip()
        # 1.0rc1 is 1.0~rc1 there, so that 1.0 is newer.
        if found.partition("~deb")[0].replace("~", "") != version():
            raise Failed(f"{path.name} is of version {found}, not {version()}")
        names.append(path.name)
    return ", ".join(names)


def perform(name: str) -> bool:
    """Run a step, print a line; whether it passed."""
    began = time.monotonic()
    try:
        result, passed = STEPS[name].check(), True
    except Failed as error:
        result, passed = str(error), False
    took_s = time.monotonic() - began
    print(f"{'ok    ' if passed else 'FAILED'}  {name:16} {took_s:4.0f} s  {result}", flush=True)
    return passed


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    options = parser.parse_args()
    if unknown := set(options.steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    names = options.steps or [name for name in STEPS if not (options.quick and STEPS[name].slow)]
    results = [perform(name) for name in names]
    left_out = [name for name in STEPS if name not in names]
    if left_out:
        print(f"left out: {', '.join(left_out)}")
    print("this can be released" if all(results) and not left_out else "this is no release yet")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
