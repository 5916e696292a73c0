"""The environment of the Debian packages: an interpreter's home with pinned packages and forkpolicy, and its commands.

    environment.py ROOT --pip PIP --wheels DIRECTORY [--extra NAME=ROOT]... WHEEL

Installs what packaging/lock.txt pins (by hash, from DIRECTORY and nowhere else) and the wheel of forkpolicy below
ROOT/usr/lib/forkpolicy, as a virtual environment of the Python that runs this; writes ROOT/usr/bin/forkpolicy and
ROOT/usr/bin/forkpolicy-compile. Packages that only one extra needs go to the same place below the root that --extra
names for it. What no server needs is left out: tests, headers, sources of C, types, other programs. What is left
depends on the lock file and the Python alone. Run by packaging/debian/rules; standard library only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path("/usr/lib/forkpolicy")
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
COMMANDS = {"forkpolicy": "forkpolicy.commands", "forkpolicy-compile": "forkpolicy.compile.command"}
COMMAND = """\
#!{home}/bin/python3 -I
import sys

from {module} import main

sys.exit(main())
"""
# `home` is where the interpreter is; with `false` the packages of Debian are not seen.
CONFIGURATION = """\
home = /usr/bin
include-system-site-packages = false
version = {version}
"""
# Directories and files below site-packages, as patterns of Path.glob.
LEFT_OUT = (
    "bin",
    "include",
    # The package has the manual pages where man(1) looks, units where systemd does, samples in /etc.
    "share",
    "**/__pycache__",
    # Whole directories of tests and documents; no program imports one.
    *(f"aiosmtpd/{name}" for name in ("docs", "qa", "testing")),
    "gevent/tests",
    "greenlet/tests",
    "zope/interface/**/tests",
    # What a C compiler reads, and a type checker.
    *(f"**/*.{suffix}" for suffix in ("c", "cpp", "h", "hpp", "obj", "pxd", "pyi", "pyx")),
    # pip's notes on what it did: paths of the build, hashes of files before they were stripped.
    *(f"*-info/{name}" for name in ("direct_url.json", "INSTALLER", "RECORD", "REQUESTED", "installed-files.txt")),
    # The package's copyright file has them (licences.py).
    "*-info/licenses",
    "*-info/LICEN[CS]E*",
    "*-info/COPYING*",
)


def install(pip: str, wheels: Path, wheel: Path, packages: Path) -> None:
    """The locked packages, then ours. Hashes cannot be asked of a wheel that was built a moment ago. Raises
    CalledProcessError.
    """
    offline = [pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(packages)]
    locked = ["--require-hashes", "--find-links", str(wheels), "--requirement", str(HERE / "lock.txt")]
    # pyspf has no wheel: built with the setuptools of packaging/build.txt, which is where pip is.
    subprocess.run([*offline, "--no-build-isolation", "--use-pep517", *locked], check=True)
    subprocess.run([*offline, str(wheel)], check=True)


def needed_by_one_alone(extra: str, project: str, lock: str) -> set[str]:
    """The names of packages that only this extra of pyproject.toml needs, by the texts of both files."""
    parsed = tomllib.loads(project)["project"]
    extras = parsed["optional-dependencies"]
    own = {_name(each) for each in extras[extra]}
    others = [parsed["dependencies"], *(extras[name] for name in extras if name != extra)]
    own -= {_name(each) for some in others for each in some}
    parents: dict[str, set[str]] = {}
    for entry in re.findall(r"(?m)^[a-z0-9].*(?:\n[ #].*)*", lock):
        via = re.findall(r"(?m)^ +#(?: via|  ) ([a-zA-Z0-9._-]+)", entry)
        parents[_name(entry)] = {_name(each) for each in via}
    found = set(own)
    while more := {name for name in parents if name not in found and parents[name] and parents[name] <= found}:
        found |= more
    return found


def _name(requirement: str) -> str:
    """The name of a package as the lock file writes it."""
    match = re.match(r"[a-zA-Z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def move(packages: Path, names: set[str], other: Path) -> None:
    """Move these packages to another directory. Raises SystemExit where one is missing."""
    there = {_name(each.name): each for each in importlib.metadata.distributions(path=[str(packages)])}
    if missing := names - set(there):
        raise SystemExit(f"environment.py: not installed: {', '.join(sorted(missing))}")
    for name in sorted(names):
        for file in there[name].files or ():
            source = packages / file
            if ".." not in file.parts and source.is_file():
                (other / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, other / file)
    for directory in sorted((path for path in packages.rglob("*") if path.is_dir()), reverse=True):
        if not any(directory.iterdir()):
            directory.rmdir()


def leave_out(packages: Path) -> None:
    """Remove what LEFT_OUT names, and the right to run what is a module."""
    for pattern in LEFT_OUT:
        for path in sorted(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for path in packages.rglob("*.py"):
        path.chmod(0o644)


def make_home(home: Path) -> None:
    """What makes an interpreter take `home` for its environment (docs of site and venv)."""
    (home / "bin").mkdir(parents=True, exist_ok=True)
    (home / "bin" / "python3").symlink_to(f"/usr/bin/{PYTHON}")
    (home / "pyvenv.cfg").write_text(CONFIGURATION.format(version=sys.version.split()[0]))


def write_commands(directory: Path) -> None:
    """Programs that need no activated environment and read no variable of Python's."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, module in COMMANDS.items():
        path = directory / name
        path.write_text(COMMAND.format(home=HOME, module=module))
        path.chmod(0o755)


def main() -> None:
    """Build it below ROOT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--pip", required=True)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--extra", action="append", default=[], metavar="NAME=ROOT")
    options = parser.parse_args()
    home = options.root / HOME.relative_to("/")
    packages = home / "lib" / PYTHON / "site-packages"
    install(options.pip, options.wheels, options.wheel, packages)
    for each in options.extra:
        extra, _, root = each.partition("=")
        texts = ((HERE.parent / "pyproject.toml").read_text(), (HERE / "lock.txt").read_text())
        other = Path(root) / packages.relative_to(options.root)
        move(packages, needed_by_one_alone(extra, *texts), other)
        leave_out(other)
    leave_out(packages)
    make_home(home)
    write_commands(options.root / "usr" / "bin")


if __name__ == "__main__":
    main()
