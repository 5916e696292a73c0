"""The AppArmor profiles: the parser accepts them, and they name the places that the systemd units give the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "contrib" / "apparmor" / "forkpolicy"
PARSER = shutil.which("apparmor_parser") or shutil.which("apparmor_parser", path="/usr/sbin:/sbin")


@pytest.mark.skipif(PARSER is None, reason="needs apparmor_parser: apt-get install apparmor")
def test_the_parser_accepts_the_profiles() -> None:
    """Without a kernel that has AppArmor: compiled, not loaded."""
    words = [str(PARSER), "--skip-kernel-load", "--skip-cache", "--abort-on-error", str(PROFILES)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    named = subprocess.run([str(PARSER), "--names", str(PROFILES)], capture_output=True, text=True, check=True)
    assert named.stdout.split() == ["forkpolicy", "forkpolicy-compile"]


@pytest.mark.parametrize(
    ("unit", "profile"), [("forkpolicy.service", "forkpolicy"), ("forkpolicy-tables.service", "forkpolicy-compile")]
)
def test_a_profile_has_what_its_unit_runs_and_writes(unit: str, profile: str) -> None:
    """The program of ExecStart, and every directory that the unit makes, writable."""
    text = (ROOT / "contrib" / "systemd" / unit).read_text()
    rules = PROFILES.read_text().partition(f"\nprofile {profile} ")[2].partition("\n}")[0]
    (program,) = set(re.findall(r"(?m)^ExecStart=/opt/forkpolicy/bin/(\S+)", text))
    assert f"  /usr/bin/{program} mrix," in rules
    places = {"State": "/var/lib/forkpolicy{,-*}", "Runtime": "/run/forkpolicy{,-*}", "Logs": "/var/log/forkpolicy"}
    for kind, directory in re.findall(r"(?m)^(State|Runtime|Logs)Directory=(\S+)", text):
        inner = directory.removeprefix("forkpolicy")
        assert re.search(rf"(?m)^  {re.escape(places[kind] + inner)}/\*\* rw[kl]+,$", rules), directory
