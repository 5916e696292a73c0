"""The units in contrib/systemd, as systemd itself judges them.

The test under a real systemd, with service, socket, reload, restart and watchdog, is test_systemd_for_real.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "contrib" / "systemd"
# systemd 252 (Debian 12) does not know it and keeps the Type= before.
KNOWN = re.compile(r".*Failed to parse service type, ignoring: notify-reload")
# Tenths on systemd's scale to 10.
MOST_EXPOSURE = 20

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is missing: apt-get install systemd"
)


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """The units with the programs of this checkout, and one instance of each template."""
    directory = tmp_path_factory.mktemp("units")
    for path in UNITS.iterdir():
        if path.is_file():
            text = path.read_text().replace("/opt/forkpolicy/bin", str(Path(sys.executable).parent))
            # MaxMind's, which a machine without a licence key has no use for.
            text = text.replace("/usr/bin/geoipupdate", "/bin/true")
            (directory / path.name.replace("@.", "@local_domains.")).write_text(text)
    return directory


def diagnostics(command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    # systemd reads whatever units a machine has and finds fault with those of other packages, too.
    lines = [line for line in result.stderr.splitlines() if "forkpolicy" in line and not KNOWN.fullmatch(line)]
    return result.returncode, "\n".join(lines), result.stdout


@pytest.mark.parametrize("name", sorted(each.name for each in UNITS.iterdir() if each.is_file()))
def test_unit_is_valid(units, name):
    """systemd knows every key and value of every unit, and finds what it starts: not even a warning."""
    assert verified(units / name.replace("@.", "@local_domains.")) == ""


def verified(unit):
    """What systemd has to say of a unit of ours. Its exit status is about all units that ours ask for."""
    return diagnostics(["systemd-analyze", "verify", "--man=no", str(unit)])[1]


def test_the_drop_in_for_the_queue_is_valid(units, tmp_path):
    """With it the console's unit has no mistake; a mistake in it would be found."""
    own = shutil.copytree(units, tmp_path / "units")
    drop_in = own / "forkpolicy-console.service.d" / "queue.conf"
    drop_in.parent.mkdir(exist_ok=True)
    text = (UNITS / "service.d" / "forkpolicy-console-queue.conf").read_text()
    drop_in.write_text(text)
    assert verified(own / "forkpolicy-console.service") == ""
    drop_in.write_text(f"{text}RestrictAddressFamily=AF_NETLINK\n")
    assert "RestrictAddressFamily" in verified(own / "forkpolicy-console.service")


INSTANCE_OF = [
    ("forkpolicy@.service", "forkpolicy.service"),
    ("forkpolicy@.socket", "forkpolicy.socket"),
    ("forkpolicy-history@.service", "forkpolicy-history.service"),
    ("forkpolicy-networks@.service", "forkpolicy-networks.service"),
    ("forkpolicy-tables@.service", "forkpolicy-compile@.service"),
    ("forkpolicy-tables@.service", "forkpolicy-tables.service"),
    ("forkpolicy-tables@.path", "forkpolicy-compile@.path"),
    ("forkpolicy-tables@.timer", "forkpolicy-compile@.timer"),
]
# What is an instance's own: names, and the settings file.
NAMES = [
    (" -c /etc/forkpolicy-%i/forkpolicy.toml", ""),
    ("StateDirectory=forkpolicy-%i/tables", "ReadWritePaths=/var/lib/forkpolicy"),
    ("@%i", ""),
    ("-%i", ""),
    ("--if-changed %i", "--if-changed"),
]


def statements(name):
    """A unit without its comments, its description and whatever belongs to one instance."""
    text = (UNITS / name).read_text()
    for own, common in NAMES:
        text = text.replace(own, common)
    return [line for line in text.splitlines() if line and not line.startswith(("#", "Description="))]


@pytest.mark.parametrize(("template", "unit"), INSTANCE_OF)
def test_an_instance_is_the_unit_under_another_name(template, unit):
    """Sandbox, limits and order of a template are those of the unit that it repeats."""
    assert statements(template) == statements(unit)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("PrivateTmp=yes", "PrivatTmp=yes", "'PrivatTmp'"),
        ("RestartSec=2", "RestartSec=soon", "Failed to parse"),
        ("bin/forkpolicy serve", "bin/forkpolic serve", "is not executable"),
    ],
)
def test_a_unit_that_is_not_valid_is_found(units, tmp_path, right, wrong, told):
    """What the test above relies on: a wrong key, a wrong value and a missing program are reported under our name."""
    shutil.copytree(units, tmp_path, dirs_exist_ok=True)
    unit = tmp_path / "forkpolicy.service"
    unit.write_text(unit.read_text().replace(right, wrong))
    assert told in verified(unit)


@pytest.mark.parametrize("unit", ["forkpolicy.service", "forkpolicy-store.service"])
def test_exposure_of_the_server(units, unit):
    """The sandbox of the server leaves an exposure of 2.0 at most, and so does that of the store of held mail."""
    assert exposure(units / unit) <= MOST_EXPOSURE


@pytest.mark.parametrize(
    "unit",
    ["forkpolicy-compile@local_domains.service", "forkpolicy-networks.service", "forkpolicy-geoip.service"],
)
def test_exposure_of_the_compiler(units, unit):
    """So does that of forkpolicy-compile, and of what fetches its databases, which run as root."""
    assert exposure(units / unit) <= MOST_EXPOSURE


def test_exposure_of_the_digests(units):
    """So does that of what mails digests."""
    assert exposure(units / "forkpolicy-digest.service") <= MOST_EXPOSURE


def test_what_an_update_compiles_is_there():
    """The unit that a successful update starts is an instance of one of ours."""
    (started,) = re.findall(r"^OnSuccess=(\S+)$", (UNITS / "forkpolicy-geoip.service").read_text(), re.MULTILINE)
    assert (UNITS / started.replace("@countries.", "@.")).is_file()


def exposure(unit):
    code, said, out = diagnostics(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(unit)]
    )
    assert not said
    assert code in (0, 1)
    return round(float(re.search(r"Overall exposure level for \S+: ([\d.]+)", out)[1]) * 10)


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is missing")
def test_user_and_directories_are_made(tmp_path):
    """sysusers.d and tmpfiles.d make what the units rely on, in an empty root."""
    for kind in ("sysusers.d", "tmpfiles.d"):
        target = tmp_path / "usr" / "lib" / kind
        target.mkdir(parents=True)
        for name in ("forkpolicy.conf", "forkpolicy-store.conf"):
            shutil.copy(UNITS / kind / name, target)
    (tmp_path / "etc").mkdir()
    code, said, _ = diagnostics(["systemd-sysusers", f"--root={tmp_path}"])
    assert code == 0, said
    for user in ("forkpolicy", "fp-history", "fp-store"):
        assert f"\n{user}:" in f"\n{(tmp_path / 'etc' / 'passwd').read_text()}"
    if Path("/proc/self/uid_map").exists() and shutil.which("systemd-tmpfiles"):
        code, said, _ = diagnostics(
            ["systemd-tmpfiles", "--create", f"--root={tmp_path}", "--prefix=/var", "--prefix=/etc"]
        )
        assert (tmp_path / "var/lib/forkpolicy/tables").is_dir(), said
        assert (tmp_path / "etc/forkpolicy/tables").is_dir()
        assert (tmp_path / "var/lib/forkpolicy-store").stat().st_mode & 0o777 == 0o700
