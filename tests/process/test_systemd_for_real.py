"""The units under a real systemd, as PID 1 of a container over this machine's own files (two minutes).

Runs with FORKPOLICY_SLOW=1, as root, with systemd-nspawn (apt-get install systemd-container). Nothing of the machine is
changed: the container writes to an overlay in memory, and has no network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from tests import containers

ROOT = Path(__file__).parents[2]
# As in the scenario, which runs without this package.
PROVIDED = (
    "apt-get install python3-venv gcc python3-dev",
    "python3 -m venv /opt/forkpolicy",
    "/opt/forkpolicy/bin/pip install '.[terminal]'",
    "/opt/forkpolicy/bin/pip install --upgrade '.[terminal]'",
)
pytestmark = [
    pytest.mark.skipif(bool(containers.why_not()), reason=containers.why_not() or "runs"),
    pytest.mark.timeout(containers.TIMEOUT_S + 60),
]

WRAPPER = """\
#!/bin/sh
# A Python that was moved finds its own library here.
LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/forkpolicy/code:/opt/forkpolicy/packages exec {python} -P -c 'import sys
from {module} import main
sys.exit(main())' "$@"
"""
# Short enough for a test; the unit's own are for a busy mail server.
QUICK = "[Service]\nWatchdogSec=3\nRestartSec=100ms\n"


def install(root, python):
    """What the container cannot have from a network: an environment with this code and this Python's packages. The rest
    the scenario does by docs/operations.md.
    """
    home = root / "opt" / "forkpolicy"
    shutil.copytree(ROOT / "forkpolicy", home / "code" / "forkpolicy")
    (home / "bin").mkdir()
    for name, module in (("forkpolicy", "forkpolicy.commands"), ("forkpolicy-compile", "forkpolicy.compile.command")):
        program = home / "bin" / name
        program.write_text(WRAPPER.format(python=python, module=module))
        program.chmod(0o755)
    system = root / "etc" / "systemd" / "system"
    (system / "forkpolicy.service.d").mkdir(parents=True)
    (system / "forkpolicy.service.d" / "quick.conf").write_text(QUICK)
    make_postfix_directories(root)


def make_postfix_directories(root):
    """As Debian's Postfix has them, where this machine has none."""
    passwd = root / "etc" / "passwd"
    if "\npostfix:" not in passwd.read_text():
        passwd.write_text(passwd.read_text() + "postfix:x:990:990::/var/spool/postfix:/usr/sbin/nologin\n")
        group = root / "etc" / "group"
        group.write_text(group.read_text() + "postfix:x:990:\n")
    (root / "var/spool/postfix/private").mkdir(parents=True, exist_ok=True)
    (root / "var/spool/postfix/private/policy").unlink(missing_ok=True)


BOOK = ROOT / "docs" / "operations.md"
# A block that is not a script is part of the file that its first line names.
FILES = ("# main.cf", "# master.cf", "# forkpolicy.toml")
# With these systemd can enforce IPAddressDeny= in the container, too.
BPF = ("--capability=CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf")


def scripts(book=BOOK, files=FILES):
    """The scripts of docs/operations.md by their section, in its order: indented blocks that are no part of a file."""
    found = {}
    for section in re.split(r"^##+ ", book.read_text(), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", re.sub(r"\A\n*", "\n", body), re.MULTILINE)
        texts = [textwrap.dedent(block).strip() + "\n" for block in blocks if block.strip()]
        own = [text for text in texts if not text.startswith(files)]
        if own:
            found[title] = own
    return found


def python_inside():
    """The interpreter's path in the container, and what must be mounted for it."""
    prefix, executable = Path(sys.base_prefix), Path(sys._base_executable).resolve()
    packages = f"--bind-ro={Path(pytest.__file__).parents[1]}:/opt/forkpolicy/packages"
    if prefix == Path("/usr"):
        return str(executable), [packages]
    # Wherever it lies, the service's sandbox hides home directories.
    return f"/opt/python/{executable.relative_to(prefix)}", [packages, f"--bind-ro={prefix}:/opt/python"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the scenario saw."""
    directory = tmp_path_factory.mktemp("report")
    shutil.copy(Path(__file__).with_name("systemd_scenario.py"), directory)
    (directory / "scripts.json").write_text(json.dumps(scripts()))
    python, mounts = python_inside()
    with containers.overlay(tmp_path_factory.mktemp("overlay")) as root:
        install(root, python)
        mounts += [*BPF, f"--bind-ro={ROOT}:/checkout"]
        console = containers.run_scenario(root, python, "systemd_scenario.py", directory, mounts)
    path = directory / "report.json"
    errors = directory / "stderr"
    assert path.exists(), f"{console}{errors.read_text() if errors.exists() else ''}"
    if keep := os.environ.get("FORKPOLICY_SYSTEMD_REPORT"):
        shutil.copy(path, keep)
    return json.loads(path.read_text())


@pytest.fixture
def seen(request, report):
    """The step of the test's name."""
    if request.node.name == "test_upgrade" and "upgrade in place is not there yet" in report["journal"]:
        pytest.skip("upgrade in place is not there yet")
    found = report.get(request.node.name.removeprefix("test_"), {"failed": "the service did not start"})
    assert "failed" not in found, f"{found['failed'] if isinstance(found, dict) else ''}\n{report['journal']}"
    return found


def test_every_script_of_the_manual_was_run(report):
    """docs/operations.md was followed to the letter, but for what needs a network or a kernel with AppArmor."""
    ran = report["scripts"]
    blocks = [
        [section, number]
        for section, texts in scripts().items()
        for number in range(len(texts))
        if section != "AppArmor"
    ]
    assert [each for each in blocks if each not in ran] == []
    assert {each for each in ran if isinstance(each, str)} == set(PROVIDED)


def test_users_and_directories(seen):
    """sysusers and tmpfiles make a user and directories; configuration and tables are root's."""
    assert seen == {
        "/var/lib/forkpolicy/tables": "root 755",
        "/etc/forkpolicy": "root 755",
        "/run/forkpolicy": "forkpolicy 711",
        "/var/log/forkpolicy": "forkpolicy 2770",
        "/var/lib/forkpolicy/history": "fp-history 750",
    }


def test_lists_of_others(seen):
    """The drop-in counts for a compile of that table, and nobody but root reads the password."""
    assert "--allow-own NAME" in seen["command"]
    assert "SSL_CERT_FILE=/etc/ssl/certs/with-ours.pem" in seen["environment"]
    assert seen["password"] == "root 600"


def test_start(seen):
    """The unit is active once workers serve; Postfix's user owns the socket; the founding rule holds."""
    assert seen["state"] == "active"
    assert seen["text"]
    assert seen["socket"] == "postfix 660"
    assert seen["directory"] == "forkpolicy 711"
    assert seen["outside"].startswith("action=REJECT 5.7.1")
    assert seen["inside"] == "action=DUNNO"
    assert "REJECT 5.7.1" in seen["explained"]
    assert seen["networks"] == ["inactive", "success"]


def test_compile_units(seen):
    """The compile unit writes tables from inside its sandbox."""
    assert seen["before"] == "action=DUNNO"


def test_confinement(seen):
    """Every process is user forkpolicy without any capability, filtered, and leaves no core."""
    assert len(seen) >= 3
    for process in seen:
        assert process["is_user"], process
        assert int(process["CapEff"], 16) == int(process["CapPrm"], 16) == int(process["CapBnd"], 16) == 0
        assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
        assert process["core"] == ["0", "0"]


def test_status_command(seen):
    """root reads the status of a server that is not root's."""
    assert seen["workers"]


def test_reload_good(seen):
    """`systemctl reload` returns when the new policy serves."""
    assert seen["code"] == 0, seen["said"]
    assert seen["answer"].startswith("action=REJECT 5.7.2")


def test_reload_refused(seen):
    """`systemctl reload` fails on a wrong policy, and the one before goes on."""
    assert seen["code"] != 0
    assert seen["answer"].startswith("action=REJECT 5.7.2")
    assert seen["state"] == "active"


def test_restart_under_traffic(seen):
    """While the service restarts connections wait in systemd's socket; at most the one in a worker's hands repeats."""
    assert seen["new"]
    assert seen["kinds"] == ["action=REJECT 5.7.2 "]


def test_table_follows_its_source(seen):
    """A changed source is compiled by the path unit, however often, and the workers load it."""
    assert seen["before"] == "action=DUNNO"
    assert seen["path"] == "active"


def test_killed_worker(seen):
    """The master replaces a killed worker; systemd restarts nothing."""
    assert seen["same_master"]
    assert seen["restarts"] == "0"
    assert seen["answer"].startswith("action=REJECT")


def test_watchdog(seen):
    """A stopped master misses the watchdog and is started again."""
    assert seen["restarts"] == "1"
    assert seen["answer"].startswith("action=REJECT")


def test_upgrade(seen):
    """After USR2 new processes serve, also the previous connection."""
    assert seen["before"] == seen["after"] == seen["new"]


def test_activation(seen):
    """A stop is clean; the first connection after it starts the service again."""
    assert (seen["stopped"], seen["result"]) == ("inactive", "success")
    assert seen["answer"].startswith("action=REJECT")


def test_advise(seen):
    """It looks at the running server and leaves it alone; so does systemd's watchdog after the upgrade."""
    assert seen["same"]
    assert seen["answer"].startswith("action=REJECT")


def test_another_socket(seen):
    """A line in the socket unit and restarts of both are all that a TCP port needs; Postfix's own socket stays."""
    assert seen["tcp"].startswith("action=REJECT")
    assert seen["unix"].startswith("action=REJECT")
    assert "inet:127.0.0.1:10040" in seen["sockets"]


def test_refused_restart_of_the_socket(seen):
    """systemd refuses while the service runs, and leaves the socket unit stopped; the service brings it back."""
    assert seen["code"] != 0
    assert seen["left"] != "active"
    assert seen["meanwhile"].startswith("action=REJECT")
    assert seen["after"] == "active"
    assert seen["answer"].startswith("action=REJECT")


def test_restart_with_a_broken_policy(seen):
    """`forkpolicy check &&` keeps the running server; after a plain restart a mended policy is enough."""
    assert seen["code"] != 0
    assert seen["same"]
    assert seen["answer"].startswith("action=REJECT")
    assert seen["plain"] != 0
    assert seen["socket"] == "active"
    assert seen["waited"].startswith("action=REJECT")


def test_networks(seen):
    """Tables follow the container's addresses: root without capabilities compiles, next to a server that may not."""
    assert seen["before"].startswith("action=REJECT")
    assert seen["users"] == ["0"]
    assert seen["capabilities"] == [0]
    assert seen["server"] == []
    assert len(seen["said"]) == 1
    assert "level=info" in seen["said"][0]
    assert "user forkpolicy may not write to /var/lib/forkpolicy/tables" in seen["said"][0]


def test_networks_without_netlink(seen):
    """A watcher that cannot work says why, once."""
    assert len(seen["said"]) == 1
    assert "AF_NETLINK" in seen["said"][0]
    assert seen["status"] == "1"


def test_servers_elsewhere(seen):
    """A name server on another address: the check and the start name the unit's line, and a drop-in lets it answer."""
    named = "forkpolicy.service:{}: IPAddressDeny=any"
    line = (ROOT / "contrib/systemd/forkpolicy.service").read_text().splitlines().index("IPAddressDeny=any") + 1
    assert [named.format(line) in each and "192.0.2.53" in each for each in seen["checked"]] == [True]
    # Where the kernel does not enforce the line, the start says nothing.
    assert len(seen["said"]) == seen["enforced"]
    assert all(named.format(line) in each for each in seen["said"])
    assert seen["before"] == ("action=DUNNO" if seen["enforced"] else seen["after"])
    assert seen["after"].startswith("action=REJECT 5.7.3")
    assert seen["checked_again"] == []


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs Redis: apt-get install redis-server")
def test_engine_of_another_user(seen):
    """A socket for the group redis: the check and the start say that the unit's user may not use it, until it may."""
    for said in (seen["checked"], seen["said"]):
        assert len(said) == 1
        assert "engine: user forkpolicy may not use /run/engine/socket: owner " in said[0]
    assert seen["checked_again"] == []
    assert seen["answers"] == ["action=DUNNO"] * 2 + ["action=450 4.7.1 slow down"]


def test_memory(seen):
    """The unit lets the server keep both maps; a restart forgets nothing, nor does the loss of the live map."""
    assert seen["first"] == ["action=DUNNO"] * 2 + ["action=450 4.7.1 slow down"] * 2
    assert seen["maps"] == ["forkpolicy 700"] * 2
    assert seen["uid"]
    assert seen["status"] == ""
    assert seen["restarted"] == seen["restored"] == "action=450 4.7.1 slow down"


def test_past_decisions(seen):
    """By the book: fp-history reads the log by its group, renames and removes it; members of its group ask."""
    assert seen["asked"].startswith("action=REJECT")
    assert "first@example.com" in seen["found"]
    assert seen["modes"].pop("/var/log/forkpolicy") == "forkpolicy 2770"
    assert seen["modes"].pop("/var/log/forkpolicy/decisions.json") == "forkpolicy 640"
    for directory in ("", "/versions"):
        assert seen["modes"].pop(f"/var/lib/forkpolicy/history{directory}") == "fp-history 750"
    assert set(seen["modes"].values()) == {"fp-history 640"}
    assert seen["process"] == {"CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
    assert seen["stopped"] == "success"
    assert "third@example.com" in seen["group"]
    assert seen["nobody"] == 1
    assert "is held" not in seen["said"]
    assert seen["all"] == 3


def test_instance(seen):
    """An instance has a policy, a socket, tables and directories of its own; neither stops the other."""
    assert seen["answer"].startswith("action=REJECT 5.7.9")
    assert seen["first"].startswith("action=REJECT 5.7.2")
    assert seen["socket"] == "postfix 660"
    assert seen["tables"] == "root 755"
    assert seen["run"] == "forkpolicy 711"
    assert seen["maps"] == ["forkpolicy 700"] * 2
    assert seen["compiled"] == ["local_domains.lmdb", "local_networks.lmdb"]
    assert seen["not_in_the_first"] == "action=DUNNO"
    assert seen["networks"].startswith("action=REJECT 5.7.2")
    assert seen["without_the_first"].startswith("action=REJECT 5.7.9")
    assert seen["removed"] == "inactive"
    assert seen["first_after"].startswith("action=REJECT 5.7.2")
