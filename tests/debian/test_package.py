"""The Debian package in a container with systemd and Debian's own Postfix: installed, upgraded, removed, purged.

Runs (minutes) with FORKPOLICY_SLOW=1, as root, with what `apt-get install build-essential debhelper debootstrap lintian
python3-dev python3-venv systemd-container` brings. The first run makes root directories in $XDG_CACHE_HOME/forkpolicy
and needs a network. FORKPOLICY_DEB=FILE tests that package; FORKPOLICY_DIST=trixie is for another release of Debian.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import containers

ROOT = Path(__file__).parents[2]
DIST = os.environ.get("FORKPOLICY_DIST", "bookworm")
# Eight installations, each of which compiles two thousand modules: minutes, on a busy machine many.
TIMEOUT_S = 1200
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "forkpolicy"
IN_CONTAINER = "systemd,systemd-sysv,dbus,python3,postfix,iproute2,logrotate"
NEEDED = ("debootstrap", "dh", "lintian")
MISSING = [name for name in NEEDED if not shutil.which(name)]
WHY_NOT = containers.why_not() or (f"missing: {', '.join(MISSING)}" if MISSING else "")
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "runs"), pytest.mark.timeout(2 * TIMEOUT_S)]
PACKAGES = "usr/lib/forkpolicy/lib/python3.*/site-packages/forkpolicy"


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package of this checkout."""
    if given := os.environ.get("FORKPOLICY_DEB"):
        return Path(given)
    out = tmp_path_factory.mktemp("deb")
    run(ROOT / "packaging/build-deb", "--dist", DIST, "--out", out)
    (built,) = out.glob("forkpolicy_*.deb")
    return built


def other(package, name):
    """Another package that was built with it: of the console, of the gateway."""
    return package.with_name(package.name.replace("forkpolicy_", f"forkpolicy-{name}_"))


@pytest.fixture(scope="module")
def base():
    """A root directory with systemd and Debian's Postfix, made once."""
    root = CACHE / f"container-{DIST}"
    if not (root / ".complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        run("debootstrap", "--variant=minbase", f"--include={IN_CONTAINER}", DIST, root)
        (root / ".complete").touch()
    return root


def variant(package, directory, name, version, changes=()):
    """The package as another version, `changes` made to its files: (pattern of the path, before, after)."""
    tree = directory / f"{name}.tree"
    run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: [^~]*", f"Version: {version}", control.read_text()))
    for pattern, before, after in (
        (f"{PACKAGES}/__init__.py", r'__version__ = ".*"', f'__version__ = "{version}"'),
        *changes,
    ):
        (path,) = tree.glob(pattern)
        text, count = re.subn(before, after, path.read_text(), count=1)
        assert count == 1, (path, before)
        path.write_text(text)
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, directory / f"{name}.deb")
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def report(package, base, tmp_path_factory):
    """What the scenario saw."""
    directory, packages = tmp_path_factory.mktemp("report"), tmp_path_factory.mktemp("packages")
    (packages / "old").mkdir()
    shutil.copy(package, packages / "old")
    shutil.copy(package, packages / "old.deb")
    for name in ("console", "gateway"):
        shutil.copy(other(package, name), packages / f"{name}.deb")
    variant(package, packages, "new", "99.1")
    cannot = (
        f"{PACKAGES}/commands/serve/composition.py",
        r'(def serve\(.*\n    """.*"""\n)',
        r'\1    raise SystemExit("it cannot")\n',
    )
    variant(package, packages, "broken", "99.2", [cannot])
    variant(package, packages, "changed", "99.3", [("etc/forkpolicy/policy.conf", r"5\.7\.1", "5.7.0")])
    shutil.copy(Path(__file__).with_name("scenario.py"), directory)
    shutil.copy(ROOT / "docs/install-debian.md", directory)
    with containers.overlay(tmp_path_factory.mktemp("overlay"), base) as root:
        mounts = [f"--bind-ro={packages}:/packages"]
        console = containers.run_scenario(root, "/usr/bin/python3", "scenario.py", directory, mounts, TIMEOUT_S)
    path, errors = directory / "report.json", directory / "stderr"
    assert path.exists(), f"{console}{errors.read_text() if errors.exists() else ''}"
    if keep := os.environ.get("FORKPOLICY_SYSTEMD_REPORT"):
        shutil.copy(path, keep)
    return json.loads(path.read_text())


@pytest.fixture
def seen(request, report):
    """The step of the test's name."""
    found = report.get(request.node.name.removeprefix("test_"), {"failed": "the first step failed"})
    assert "failed" not in found, f"{found['failed']}\n{report['journal']}"
    return found


REFUSED = "554 5.7.1 <staff@example.org>: Recipient address rejected: Authentication required to send as example.org"
RAW = "action=REJECT 5.7.1 Authentication required to send as example.org"
SLOW_DOWN = "action=450 4.7.1 slow down"
# Postfix waits a second before it asks again on a new connection.
RETRY_MS = 1000


def replaced(unit):
    return f"forkpolicy: {unit}: the new version serves (USR2); no connection was closed, nothing was forgotten\n"


def goes_on(unit):
    return f"forkpolicy: {unit}: the previous version goes on"


def test_fresh(seen):
    """The commands of docs/install-debian.md: Debian's Postfix refuses a forged mail two minutes later at most."""
    assert seen["first"]["reply"] == REFUSED
    assert seen["seconds"] < 120
    # The page has the command that `init` prints for this main.cf.
    printed = re.search(r"smtpd_recipient_restrictions = [^'\n]*", seen["drafted"])
    assert printed
    assert printed[0] in (ROOT / "docs/install-debian.md").read_text()
    assert seen["units"] == {
        "forkpolicy.socket": ["active", "enabled"],
        "forkpolicy.service": ["active", "enabled"],
        "forkpolicy-tables.timer": ["active", "enabled"],
        "forkpolicy-geoip.timer": ["inactive", "disabled"],
    }
    assert seen["bytes"] < 120e6


def test_what_is_inside(seen):
    """Every extra, compiled, from a directory that no other package and no user can change."""
    assert seen["psycopg"] == "binary"
    assert all(path.startswith(("/usr/lib/python3", "/usr/lib/forkpolicy/")) for path in seen["path"])
    assert seen["compiled"] > 1000
    # What `init --write` has replaced.
    changed = sorted(line.split()[-1] for line in seen["verified"].splitlines())
    assert changed == ["/etc/forkpolicy/forkpolicy.toml", "/etc/forkpolicy/policy.conf"]


def test_upgrade(seen):
    """Each running server is replaced in place: nobody waits, nothing is forgotten, what was stopped stays so."""
    assert seen["code"] == 0
    assert replaced("forkpolicy.service") in seen["said"]
    assert replaced("forkpolicy@outbound.service") in seen["said"]
    assert "forkpolicy@idle" not in seen["said"]
    assert seen["raw_before"] == seen["raw"] == RAW
    assert seen["smtp"]["reply"] == REFUSED
    assert seen["smtp"]["ms"] < RETRY_MS
    assert seen["log"] == []
    assert (seen["before"], seen["remembered"]) == (["action=DUNNO"] * 2, SLOW_DOWN)
    assert seen["version"] == seen["outbound"] == "99.1"
    assert seen["other_master"]
    assert seen["restarts"] == "0"
    assert seen["idle"] == ["inactive", "inactive"]
    assert seen["masked"] == "masked"
    assert seen["policy"]
    assert seen["tables"]


def test_stopped(seen):
    """An upgrade starts nothing that somebody has stopped."""
    assert seen["code"] == 0
    assert seen["state"] == ["inactive", "inactive"]
    assert "forkpolicy.service" not in seen["said"]


def test_failed_upgrade(seen):
    """A version that cannot serve is installed and named; the old one goes on, and a good one replaces it later."""
    assert seen["code"] == 0
    assert goes_on("forkpolicy.service") in seen["said"]
    assert seen["active"] == "active"
    assert seen["raw"] == seen["raw_again"] == RAW
    assert seen["smtp"]["reply"] == REFUSED
    assert seen["smtp"]["ms"] < RETRY_MS
    assert replaced("forkpolicy.service") in seen["again"]["said"]
    assert seen["version"] == "99.1"


def test_mistake(seen):
    """The mistake is shown with its place, and the server goes on."""
    assert seen["code"] == 0
    assert goes_on("forkpolicy.service") in seen["said"]
    assert 'unknown acl "no_such_acl"' in seen["said"]
    assert replaced("forkpolicy@outbound.service") in seen["said"]
    assert seen["raw"] == RAW


def test_changed_conffile(seen):
    """dpkg asks as for every package, and the administrator's file stays until it is answered otherwise."""
    assert "Configuration file '/etc/forkpolicy/policy.conf'" in seen["asked"]["said"]
    assert seen["asked"]["code"] != 0
    assert seen["kept"]["code"] == 0
    assert seen["policy"]
    assert seen["beside"]
    assert seen["raw"] == RAW


def test_downgrade(seen):
    """The earlier version takes over in the same way."""
    assert seen["code"] == 0
    assert replaced("forkpolicy.service") in seen["said"]
    assert seen["raw"] == RAW
    assert seen["smtp"]["reply"] == REFUSED
    assert seen["smtp"]["ms"] < RETRY_MS
    assert seen["version"] not in ("", "99.1", "99.3")


def test_rotation(report):
    """logrotate accepts the file."""
    assert "error" not in report["rotation"]
    assert "rotating pattern: /var/log/forkpolicy/*.log /var/log/forkpolicy-*/*.log" in report["rotation"]


def test_console(seen):
    """The package of the same version: nothing runs until somebody enables it; then it serves, as a user of its own.
    The server goes on, also when it is removed, and a purge leaves nothing but users.
    """
    assert seen["installed"]["code"] == 0, seen["installed"]["said"]
    assert "installed, not started" in seen["installed"]["said"]
    assert seen["before"] == ["inactive", "disabled"]
    assert seen["page"] == 200
    assert seen["user"] == "fp-console"
    assert "/first/" in seen["link"]
    assert seen["verified"] == ""
    assert seen["raw"] == RAW
    assert seen["left"] == []


def test_gateway(seen):
    """Nothing runs until somebody enables it. Its sockets start it, as a user of its own, with a socket of the policy
    server; an upgrade restarts it. What it holds stays after a removal and goes with a purge; the server goes on.
    """
    assert seen["installed"]["code"] == 0, seen["installed"]["said"]
    assert "installed, not started" in seen["installed"]["said"]
    assert seen["before"] == [["inactive"] * 3]
    assert seen["greeting"].startswith("220 ")
    assert seen["user"] == "fp-store"
    assert seen["answers"] == seen["raw"] == RAW
    assert "accepted: 0" in seen["ledger"]
    assert seen["again"]["code"] == 0
    assert seen["greeting_again"].startswith("220 ")
    assert seen["verified"] == ""
    assert seen["removed"][1]
    assert seen["left"] == []


def test_remove(seen):
    """Nothing runs, settings, tables and memory stay, Postfix's line is named; installed again, all of it counts."""
    assert seen["units"] == ""
    assert not seen["socket"]
    assert "Postfix still asks unix:private/policy" in seen["said"]
    places = ("/etc/forkpolicy", "/etc/forkpolicy-outbound", "/var/lib/forkpolicy", "/var/lib/forkpolicy-outbound")
    assert sorted(seen["left"]) == sorted(places)
    assert seen["remembered"] == SLOW_DOWN
    assert seen["policy"]


def test_purge(seen):
    """Settings, tables, memory and logs are gone, also those of instances; what was masked stays masked."""
    assert seen["left"] == []
    assert seen["units"] == ""
    assert not seen["socket"]
    assert seen["links"] == ["/etc/systemd/system/forkpolicy-tables.timer"]


def test_taken(seen):
    """It is named, nothing of ours starts, and its socket stays."""
    assert "another policy server has private/policy" in seen["said"]
    assert seen["same"]
    assert "forkpolicy.s" not in seen["units"]
    assert seen["enabled"] == "disabled"
    assert seen["still"]


def test_lintian_is_content(package):
    """No error and no warning that packaging/debian/*.lintian-overrides do not explain."""
    for each in (package, other(package, "console"), other(package, "gateway")):
        said = run("lintian", "--fail-on", "error,warning", each, env={**os.environ, "LC_ALL": "C.UTF-8"})
        assert said == ""


def test_two_builds_are_identical(tmp_path):
    """In other directories, with another mask and zone."""
    said = run(ROOT / "packaging/build-deb", "--dist", DIST, "--prove", "--out", tmp_path)
    assert "identical: forkpolicy_" in said
    assert "identical: forkpolicy-console_" in said
    assert "identical: forkpolicy-gateway_" in said
