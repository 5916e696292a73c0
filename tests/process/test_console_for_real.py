"""The console's units under a real systemd, as PID 1 of a container over this machine's own files (two minutes).

Runs with FORKPOLICY_SLOW=1, as root, with systemd-nspawn (apt-get install systemd-container). Nothing of the machine is
changed: the container writes to an overlay in memory, and has no network but its loopback.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import containers
from tests.process.test_systemd_for_real import BPF, ROOT, install, python_inside, scripts

pytestmark = [
    pytest.mark.skipif(bool(containers.why_not()), reason=containers.why_not() or "runs"),
    pytest.mark.timeout(2 * containers.TIMEOUT_S + 60),
]
REFUSED, PASSED = "action=REJECT 5.7.1 Authentication required to send as example.com", "action=DUNNO"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the scenario saw."""
    directory = tmp_path_factory.mktemp("report")
    for name in ("console_scenario.py", "systemd_scenario.py"):
        shutil.copy(Path(__file__).with_name(name), directory)
    (directory / "scripts.json").write_text(json.dumps(scripts()))
    (directory / "console.json").write_text(json.dumps(scripts(ROOT / "docs" / "console.md", ("# forkpolicy.toml",))))
    python, mounts = python_inside()
    with containers.overlay(tmp_path_factory.mktemp("overlay")) as root:
        install(root, python)
        mounts += [*BPF, f"--bind-ro={ROOT}:/checkout"]
        said = containers.run_scenario(root, python, "console_scenario.py", directory, mounts, 2 * containers.TIMEOUT_S)
    path, errors = directory / "report.json", directory / "stderr"
    assert path.exists(), f"{said}{errors.read_text() if errors.exists() else ''}"
    if keep := os.environ.get("FORKPOLICY_SYSTEMD_REPORT"):
        shutil.copy(path, keep)
    return json.loads(path.read_text())


@pytest.fixture
def seen(request, report):
    """The step of the test's name."""
    found = report.get(request.node.name.removeprefix("test_"), {"failed": "the console did not start"})
    assert "failed" not in found, f"{found['failed']}\n{report['journal']}"
    return found


def test_install(seen):
    """By the page alone: both serve, mail is decided as before, and `check` finds nothing to say of the console."""
    assert seen["before"] == seen["after"] == REFUSED
    assert set(seen["states"].values()) == {"active"}
    assert seen["places"] == {
        "/var/lib/forkpolicy-console": "fp-console 711",
        "/var/lib/forkpolicy-console/tables": "fp-console 755",
        "/run/forkpolicy/control": "forkpolicy 660",
    }
    assert "console" not in seen["checked"]


def test_confinement(seen):
    """A user of its own, no capability, filtered; secrets of the machine and the decision log are closed to it."""
    assert seen["is_user"]
    assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == int(seen["CapBnd"], 16) == 0
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert seen["opened"] == []


def test_sign_in(seen):
    """The link leads into the console; its database is for its user alone; it sees the server and the history."""
    assert seen["status"] == [303, "/"], seen["text"]
    assert seen["now"][0] == 200
    assert "cannot be" not in seen["now"][1]
    assert seen["accounts"]
    assert all(each.endswith("fp-console 600") for each in seen["accounts"])


def test_exception(seen):
    """Applied and undone by the page, at once and without a restart; the server may read the rules."""
    assert seen["before"] == REFUSED
    assert seen["applied"][0] == 303, seen["said"]
    assert seen["during"] == PASSED
    assert seen["rules"] == "fp-console 644"
    assert seen["undone"][0] == 303
    assert seen["after"] == REFUSED


def test_control(seen):
    """The console's user may ask for status and reload, and stops nothing."""
    assert (seen["status"], seen["reload"]) == ([0, ""], [0, ""])
    code, said = seen["stop"]
    assert (code, "not for members of control_group" in said) == (1, True), said
    assert seen["answer"] == REFUSED


def test_table(seen):
    """The path unit compiles what the console has written; a link in its place is no way to read another file."""
    assert seen["before"] == REFUSED
    assert seen["linked"] == PASSED
    assert not seen["shadow"]
    assert "welcome" in seen["journal"]


def test_server_away(seen):
    """A page of the console says that no server runs, and it is no failure."""
    assert seen["/now"][0] == 200
    assert "no master" in seen["/now"][1]
    assert seen["answer"] == REFUSED
    assert seen["again"] == 200


def test_history_damaged(seen):
    """Pages say what they cannot know; mail is decided as before."""
    assert seen["days"] > 0
    assert seen["/now"][0] == 200
    assert "history" in seen["/now"][1], seen
    assert seen["/change"][0] == 200
    assert seen["answer"] == REFUSED


def test_console_killed(seen):
    """systemd starts it again, and who was signed in goes on."""
    assert seen["answer"] == REFUSED
    assert seen["again"] == 200


def test_console_damaged(seen):
    """The reload is refused and a restart serves: neither needs a console that works. It says what is wrong itself."""
    assert seen["reload"] != 0
    assert seen["answer"] == REFUSED
    assert seen["sign_in"][0] in (500, 503)
    assert "Traceback" not in seen["sign_in"][1]
    assert (seen["restarted"], seen["state"]) == (REFUSED, "active")
