"""The sources of the Debian package: files that exist, units that are stopped, a lock file that has everything.

What the built package does is shown by tests/debian/test_package.py, in a container.
"""

from __future__ import annotations

import fnmatch
import re
import runpy
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from forkpolicy.master.upgrade import UP_TIMEOUT_S

ROOT = Path(__file__).parents[2]
# A program of the build, and no module of any package.
environment = SimpleNamespace(**runpy.run_path(str(ROOT / "packaging" / "environment.py")))
DEBIAN = ROOT / "packaging" / "debian"
# Each with the beginnings of the names of its units; those of no other are the server's.
PACKAGES = {
    "forkpolicy": ("forkpolicy",),
    "forkpolicy-console": ("forkpolicy-console",),
    "forkpolicy-gateway": ("forkpolicy-store", "forkpolicy-digest"),
}
SCRIPTS = [DEBIAN / f"{each}.{name}" for each in PACKAGES for name in ("preinst", "postinst", "prerm", "postrm")]
UNITS = [path.name for path in (ROOT / "contrib" / "systemd").iterdir() if path.is_file()]
# Not inside a package: for tests and for a load.
NOT_INSIDE = ("dev", "loadtest")


def locked(name: str) -> dict[str, str]:
    """The packages of a lock file, by name, with their versions."""
    lines = (ROOT / "packaging" / name).read_text().splitlines()
    found = [re.match(r"([a-z0-9-]+)==([^ ]+)", line) for line in lines]
    return {match[1]: match[2] for match in found if match}


def numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)]


def test_the_lock_file_has_every_dependency() -> None:
    """Each package that pyproject.toml names for a server, and no earlier than there. `make lock` writes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for name in extras if name not in NOT_INSIDE for each in extras[name])]
    versions = locked("lock.txt")
    for each in wanted:
        match = re.match(r"([a-zA-Z0-9-]+)(?:\[[a-z]+\])?>=([0-9.]+)", each)
        assert match, each
        assert numbers(versions[match[1]]) >= numbers(match[2]), each


@pytest.mark.parametrize("name", ["lock.txt", "build.txt"])
def test_a_lock_file_has_hashes_and_nothing_else(name: str) -> None:
    """Every package is pinned by hashes; no index is named, so that each site may use its own."""
    text = (ROOT / "packaging" / name).read_text()
    packages = re.findall(r"(?m)^[a-z0-9].*(?:\n .*)*", text)
    assert packages
    assert [each for each in packages if "--hash=sha256:" not in each or "==" not in each] == []
    assert "://" not in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_maintainer_script_is_one(path: Path) -> None:
    """The shell of Debian can read it; it ends at the first failure and has debhelper's part."""
    text = path.read_text()
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert "\n#DEBHELPER#\n" in text
    subprocess.run(["sh", "-n", path], check=True)


def package_of(unit: str) -> str:
    """The package that a unit is in."""
    return next((each for each in reversed(PACKAGES) if unit.startswith(PACKAGES[each])), "")


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_removed_was_stopped(package: str) -> None:
    """prerm stops every unit of the package, of the server and of instances."""
    text = (DEBIAN / f"{package}.prerm").read_text()
    stop = re.search(r"systemctl stop ((?:.|\n)*?) \|\|", text)
    assert stop
    patterns = re.findall(r"'([^']+)'", stop[1])
    own = [name for name in UNITS if package_of(name) == package]
    names = [name.replace("@.", "@outbound.") for name in own]
    assert names
    assert [name for name in names if not any(fnmatch.fnmatch(name, each) for each in patterns)] == []


def test_postinst_waits_as_long_as_the_server() -> None:
    """It calls no upgrade failed that may still succeed."""
    match = re.search(r"(?m)^UPGRADE_S=(\d+)$", (DEBIAN / "forkpolicy.postinst").read_text())
    assert match
    assert int(match[1]) > UP_TIMEOUT_S


@pytest.mark.parametrize("name", [f"{package}.{what}" for package in PACKAGES for what in ("install", "docs")])
def test_files_of_the_package_exist(name: str) -> None:
    """Each line names something of the checkout."""
    sources = [line.split()[0] for line in (DEBIAN / name).read_text().splitlines()]
    assert [each for each in sources if not list(ROOT.glob(each))] == []


CONSOLES = {"argon2-cffi", "argon2-cffi-bindings", "jinja2", "markupsafe", "starlette", "anyio", "uvicorn"}
SIGN_INS = {"joserfc", "cryptography"}
GATEWAYS = {"aiosmtpd", "attrs", "atpublic"}


@pytest.mark.parametrize(("extra", "own"), [("console", CONSOLES), ("gateway", GATEWAYS), ("oidc", SIGN_INS)])
def test_a_package_has_what_only_its_extra_needs(extra: str, own: set[str]) -> None:
    """What is named for it, and what those packages bring; nothing that the server or another extra needs, too."""
    project, lock = ((ROOT / name).read_text() for name in ("pyproject.toml", "packaging/lock.txt"))
    names = environment.needed_by_one_alone(extra, project, lock)
    assert own <= names
    assert not names & {"gevent", "lmdb", "cffi", "idna", "dnspython", "redis", "rich"}
    assert not names & ((CONSOLES | GATEWAYS | SIGN_INS) - own)


def test_packages_are_moved_whole(tmp_path: Path) -> None:
    """Their files and what pip has noted of them; nothing of others, and no empty directory stays."""
    packages, other = tmp_path / "packages", tmp_path / "other"
    for name in ("web", "server"):
        (packages / name / "parts").mkdir(parents=True)
        (packages / name / "parts" / "a.py").write_text("")
        information = packages / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        own = (f"{name}/parts/a.py", f"{information.name}/METADATA", f"{information.name}/RECORD", f"../../bin/{name}")
        (information / "RECORD").write_text("".join(f"{each},,\n" for each in own))
    environment.move(packages, {"web"}, other)
    assert sorted(path.name for path in packages.iterdir()) == ["server", "server-1.0.dist-info"]
    assert sorted(path.name for path in other.iterdir()) == ["web", "web-1.0.dist-info"]
    assert (other / "web" / "parts" / "a.py").exists()
    with pytest.raises(SystemExit, match="not installed: missing"):
        environment.move(packages, {"missing"}, other)


def test_enabled_units_exist() -> None:
    """What debian/rules enables can be enabled, and the page of the documentation lists the same."""
    match = re.search(r"(?m)^ENABLED := (.*)$", (DEBIAN / "rules").read_text())
    assert match
    enabled = match[1].split()
    for name in enabled:
        assert "[Install]" in (ROOT / "contrib/systemd" / name).read_text()
    assert ", ".join(f"`{name}`" for name in enabled) in (ROOT / "docs/install-debian.md").read_text()


def test_units_name_programs_that_are_replaced() -> None:
    """debian/rules rewrites the one directory that units name; after that no unit names /opt."""
    for name in UNITS:
        text = (ROOT / "contrib/systemd" / name).read_text()
        assert "/opt/" not in text.replace("/opt/forkpolicy/bin/forkpolicy", ""), name


def test_installation_takes_three_commands() -> None:
    """The page has as many as it promises; the container's test runs them."""
    text = (ROOT / "docs/install-debian.md").read_text()
    assert len(re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE)) == 3
