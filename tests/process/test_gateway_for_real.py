"""The gateway's units under a real systemd, as PID 1 of a container over this machine's own files (minutes).

Runs with FORKPOLICY_SLOW=1, as root, with systemd-nspawn and what docs/gateway.md installs: apt-get install
systemd-container postfix rspamd redis-server rsyslog. Nothing of the machine is changed: the container writes to an
overlay in memory, and has no network but its loopback.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import containers
from tests.process.test_systemd_for_real import BPF, ROOT, install, python_inside, scripts

NEEDED = {"postconf": "postfix", "rspamd": "rspamd", "redis-server": "redis-server", "rsyslogd": "rsyslog"}
MISSING = [NEEDED[each] for each in NEEDED if not shutil.which(each, path=f"{os.environ['PATH']}:/usr/sbin")]
WHY_NOT = containers.why_not() or (f"apt-get install {' '.join(MISSING)}" if MISSING else "")
TIMEOUT_S = 3 * containers.TIMEOUT_S
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "runs"), pytest.mark.timeout(TIMEOUT_S + 60)]
# As dpkg leaves it after "Internet Site".
MAIN = """\
compatibility_level = 3.6
myhostname = gateway.example.net
mydestination = localhost
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1, 192.0.2.1
inet_protocols = ipv4
alias_maps =
"""
FILES = ("# domains",)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the scenario saw."""
    directory = tmp_path_factory.mktemp("report")
    for name in ("gateway_scenario.py", "console_scenario.py", "systemd_scenario.py"):
        shutil.copy(Path(__file__).with_name(name), directory)
    (directory / "scripts.json").write_text(json.dumps(scripts()))
    (directory / "gateway.json").write_text(json.dumps(scripts(ROOT / "docs" / "gateway.md", FILES)))
    python, mounts = python_inside()
    with containers.overlay(tmp_path_factory.mktemp("overlay")) as root:
        install(root, python)
        (root / "etc/postfix/main.cf").write_text(MAIN)
        resolver = root / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text("nameserver 127.0.0.1\n")
        mounts += [*BPF, f"--bind-ro={ROOT}:/checkout", "--resolv-conf=off"]
        said = containers.run_scenario(root, python, "gateway_scenario.py", directory, mounts, TIMEOUT_S)
    path, errors = directory / "report.json", directory / "stderr"
    assert path.exists(), f"{said}{errors.read_text() if errors.exists() else ''}"
    if keep := os.environ.get("FORKPOLICY_SYSTEMD_REPORT"):
        shutil.copy(path, keep)
    return json.loads(path.read_text())


@pytest.fixture
def seen(request, report):
    """The step of the test's name."""
    found = report.get(request.node.name.removeprefix("test_"), {"failed": "the gateway was not installed"})
    assert "failed" not in found, f"{found['failed']}\n{report['journal']}"
    return found


def test_install(seen):
    """By the page alone: everything runs, sockets and files are for those who need them, and the check finds no error.
    Here the store shares a file system with the queue.
    """
    assert set(seen["units"].values()) == {"active"}, seen
    assert "0 errors, 1 warning" in seen["checked"], seen["checked"]
    assert seen["places"] == {
        "/var/spool/postfix/private/store": "postfix 660",
        "/var/spool/postfix/private/store-spam": "postfix 660",
        "/var/spool/postfix/private/store-virus": "postfix 660",
        "/run/forkpolicy/policy": "fp-store 600",
        "/run/forkpolicy": "forkpolicy 711",
        "/var/lib/forkpolicy-store": "fp-store 700",
        "/run/forkpolicy-store": "fp-store 711",
        "/run/forkpolicy-store/api.sock": "fp-store 660",
    }


def test_mail(seen):
    """Spam is held for each recipient by the policy's word: the store has asked. Nothing of it is delivered."""
    assert seen["row"]["cause"] == "spam"
    assert seen["row"]["why"].startswith("HOLD")
    assert seen["row"]["client_address"] == "203.0.113.5"
    assert seen["delivered"] == 0


def test_release(seen):
    """One copy for one recipient; the state `delivered` comes from rsyslog's file, which group adm may read."""
    assert (seen["copies"], seen["bob"], seen["left"]) == (1, 0, ["bob"])


def test_digest(seen):
    """One mail with one link to the one who has something new, from the null sender; the timer could be switched on."""
    assert "bob@example.com  1 new" in seen["listed"]
    assert (seen["code"], seen["result"]) == (0, "success"), seen["said"]
    assert "1 sent, 0 failed" in seen["said"]
    assert seen["null_sender"]
    assert seen["links"] == 1


def test_confinement(seen):
    """A user of its own, no capability, filtered; secrets of the machine and Postfix's private/ are closed to it."""
    assert seen["is_user"]
    assert seen["groups"] == ["adm", "fp-store"]
    assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == int(seen["CapBnd"], 16) == 0
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert seen["opened"] == []


def test_who_may_ask(seen):
    """A member of the group sees held mail; another user is refused in words."""
    assert seen["member"][0] == 0
    assert "bob@example.com" in seen["member"][1]
    assert seen["other"][0] != 0
    assert "may not ask the store" in seen["other"][1]


def test_activation(seen):
    """A stop is clean and leaves the sockets; the first mail starts the store. No stop counts as a kill."""
    assert seen["stopped"] == ["inactive", "success", "active"]
    assert seen["same"]
    assert seen["held"] == ["bob"]
    assert "killed: 0 times" in seen["ledger"]


def test_killed(seen):
    """Mail is accepted meanwhile and waits in the socket; nothing is lost, and the ledger counts the kill."""
    assert {reply[:3] for reply in seen["replies"].values()} == {"250"}
    assert seen["other"]
    assert seen["restarts"] == "1"
    assert seen["kept"]
    assert seen["ledger"][0] == 0
    assert "killed: once" in seen["ledger"][1]
    assert seen["deferred"] == ""


def test_policy_away(seen):
    """After a restart of the policy server the store asks it again."""
    assert seen["why"].startswith("HOLD")
    assert seen["socket"] == "active"


def test_console(seen):
    """Its user may ask once it is a member; bob sees his mail and no other, and his block refuses for him alone."""
    assert seen["refused"] != 0
    assert "0 errors" in seen["checked"], seen["checked"]
    assert "the console" not in seen["checked"]
    assert seen["user"] == "fp-console"
    assert seen["listed"] == [200, True]
    assert not seen["alice"]
    assert seen["mail"] == 200
    assert seen["body"][0] == 200
    # A process of its own, under limits that the unit's filter of system calls must allow.
    assert "<pre>" in seen["body"][1]
    assert seen["before"].startswith("250")
    assert seen["blocked"] == 303
    assert [reply[:3] for reply in seen["others"]] == ["250", "250"]


def test_cannot_start(seen):
    """The mistake is named in the journal, nobody is turned away, and the socket stays."""
    assert seen["code"] != 0
    assert seen["replies"]["alice"].startswith("250")
    assert seen["socket"] == "active"
    assert "gateway.toml" in seen["said"]


def test_own_file_system(seen):
    """With it the check finds nothing at all; when it is full it says so, and mail waits outside."""
    assert seen["checked"][0] == 0
    assert "0 errors, 0 warnings" in seen["checked"][1]
    assert {reply[:3] for reply in seen["replies"].values()} == {"250"}
    assert seen["full"][0] == 1
    assert "less than min_free" in seen["full"][1]
    assert seen["before"] == []


def test_check(seen):
    """Missing sockets and a log that the unit's user may not read are named with their remedy."""
    assert seen["good"][0] == seen["again"][0] == 0, seen
    assert seen["bad"][0] == 1
    for words in (
        "private/store-spam: there is no such socket",
        "systemctl enable --now forkpolicy-store.socket",
        "user fp-store may not read /var/log/mail.log",
        "the store does not answer",
    ):
        assert words in seen["bad"][1], seen["bad"][1]


def test_upgrade(seen):
    """Nothing is forgotten, nothing is left to be done, and mail is held as before."""
    assert seen["same"]
    assert "nothing to do" in seen["left"]


def test_backup(seen):
    """Restored as root, the store runs as its user; one copy goes out a second time, by a person, and is listed."""
    assert seen["same"], seen
    assert seen["ledger"][0] == 0, seen["ledger"]
    assert "twice" not in seen["ledger"][1]
    assert len(seen["listed"]) == 1
    assert f"twice: {seen['id']}," in seen["listed"][0]
    assert seen["owners"] == ["fp-store 600", "fp-store 700"]
    assert seen["after"] == "restored"
    assert seen["backup"] == "root 700"


def test_take_away(seen):
    """Postfix relays nothing any more, the units are off, and the files of held mail stay."""
    assert seen["units"] == [["inactive", "disabled"]] * 3
    assert seen["main"]
    assert seen["transport"] == ""
    assert seen["reply"].startswith("554") or "Relay access denied" in seen["reply"]
    assert 0 < seen["files"] <= seen["count"]
    assert seen["server"] == "active"
