"""What happens inside the container of test_package.py: run by its systemd, as root, once.

Packages are in /packages: `old`, `new` (a later version), `broken` (one that cannot serve), `changed` (with another
policy.conf). Each step is tried whatever became of the ones before; what it saw, or how it failed, is one entry of the
report. What docs/install-debian.md has a command for is done by that command. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import smtplib
import socket
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path

SOCKET = "/var/spool/postfix/private/policy"
SETTINGS = Path("/etc/forkpolicy")
POLICY = SETTINGS / "policy.conf"
# A client that is neither in Postfix's networks nor in those of this machine when the tables were compiled.
OUTSIDE = "203.0.113.5"
TIMEOUT_S = 20.0
LOOK_S = 0.02
BOOK = re.findall(r"(?:^ {4}.*\n)+", Path("/report/install-debian.md").read_text(), re.MULTILINE)
INSTALL, DRAFT, ASK = (textwrap.dedent(each).strip() for each in BOOK)
STEPS = {}


def step(function):
    STEPS[function.__name__] = function
    return function


def run(*words, check=True, timeout_s=120):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment, stdin=subprocess.DEVNULL
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
    return done


def shell(text, directory="/"):
    return run("env", "--chdir", directory, "bash", "-euc", text)


def install(name, *options):
    """What apt and the package said."""
    done = run("apt-get", "install", "-y", *options, f"/packages/{name}.deb", check=False)
    return {"code": done.returncode, "said": done.stdout + done.stderr}


def show(unit, name):
    return run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()


def wait_for(what, timeout_s=TIMEOUT_S):
    """systemd has no event that the standard library can wait for: ask until it is so."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        if time.monotonic() > deadline:
            raise TimeoutError("it never became so")
        select.select([], [], [], LOOK_S)
    return found


def status(*words):
    return json.loads(run("forkpolicy", "status", "--json", *words).stdout)


def version_of(*words):
    return status(*words)["version"]


def ask(connection, **attributes):
    """One question on a connection that stays open."""
    wanted = {"request": "smtpd_access_policy", "protocol_state": "RCPT", "client_address": OUTSIDE, **attributes}
    connection.sendall("".join(f"{name}={value}\n" for name, value in wanted.items()).encode() + b"\n")
    reply = b""
    while not reply.endswith(b"\n\n"):
        part = connection.recv(4096)
        if not part:
            raise ConnectionError(f"closed after {reply!r}")
        reply += part
    return reply.decode().strip()


def connect(path=SOCKET):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    connection.connect(path)
    return connection


def once(path=SOCKET, **attributes):
    with connect(path) as connection:
        return ask(connection, **attributes)


FORGED = {"sender": "boss@example.org", "recipient": "staff@example.org"}


class Session:
    """A session with Debian's Postfix, from outside; its smtpd keeps one connection to the policy server."""

    def __init__(self):
        self.client = smtplib.SMTP("127.0.0.1", 25, source_address=(OUTSIDE, 0), timeout=TIMEOUT_S)
        self.client.ehlo("client.example.net")

    def forge(self):
        """The reply to a forged recipient, and its milliseconds: Postfix waits a second before it asks again."""
        self.client.mail(FORGED["sender"])
        began = time.monotonic()
        code, text = self.client.rcpt(FORGED["recipient"])
        took = time.monotonic() - began
        self.client.rset()
        return {"reply": f"{code} {text.decode()}", "ms": round(took * 1000)}


def log_of_postfix():
    run("journalctl", "--sync")
    return run("journalctl", "-b", "-o", "cat", "--no-pager", "-t", "postfix/smtpd").stdout.splitlines()


KEPT = {}


@step
def fresh():
    """The three commands of the page, and the first verdict."""
    run("ip", "link", "set", "lo", "up")
    # A site that has this domain.
    run("postconf", "-e", "mydestination=localhost, example.org", "alias_maps=", "local_recipient_maps=")
    run("systemctl", "start", "postfix.service")
    began = time.monotonic()
    said = shell(INSTALL, "/packages/old").stdout
    drafted = shell(DRAFT).stdout
    shell(ASK)
    run("ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo")
    KEPT["session"] = Session()
    first = KEPT["session"].forge()
    units = ("forkpolicy.socket", "forkpolicy.service", "forkpolicy-tables.timer", "forkpolicy-geoip.timer")
    return {
        "said": said,
        "drafted": drafted,
        "first": first,
        "seconds": time.monotonic() - began,
        "units": {each: [show(each, "ActiveState"), show(each, "UnitFileState")] for each in units},
        "version": version_of(),
        "bytes": int(run("du", "-sb", "/usr/lib/forkpolicy").stdout.split()[0]),
    }


EXTRAS = """
import dns.resolver, ldap3, maxminddb, psycopg, pycares, redis, rich, spf, sqlalchemy, urllib3, hiredis, sqlite3, ssl
import psycopg.pq; print(psycopg.pq.__impl__)
"""


@step
def what_is_inside():
    """Every extra can be imported, from the package's own directory and nowhere else."""
    python = "/usr/lib/forkpolicy/bin/python3"
    seen = run(python, "-I", "-c", f"{EXTRAS}\nimport sys; print(*sys.path)").stdout.splitlines()
    compiled = len(list(Path("/usr/lib/forkpolicy").rglob("*.pyc")))
    return {
        "psycopg": seen[0],
        "path": seen[1].split(),
        "compiled": compiled,
        "verified": run("dpkg", "-V", "forkpolicy").stdout,
    }


COUNTS = "acl busy rate {sender} 2/1h\naction slow 450 4.7.1 slow down\naccess busy slow\n"


def busy(number, connection=None):
    """The answer about another message of one sender."""
    attributes = {"sender": "busy@elsewhere.example", "recipient": "x@example.org", "instance": f"{number}.1"}
    return ask(connection, **attributes) if connection else once(**attributes)


def add_instance(name):
    directory = Path(f"/etc/forkpolicy-{name}")
    run("cp", "-r", str(SETTINGS), str(directory))
    (directory / "forkpolicy.toml").write_text(
        f'tables = "/var/lib/forkpolicy-{name}/tables"\n'
        f'[server]\nlisten = ["unix:{SOCKET}-{name}"]\ncontrol = "unix:/run/forkpolicy-{name}/control"\n'
        f'[state]\nlive = "/run/forkpolicy-{name}/state"\nkept = "/var/lib/forkpolicy-{name}/state"\n'
    )
    run("systemctl", "start", f"forkpolicy-tables@{name}.service")
    run("systemctl", "enable", "--now", f"forkpolicy@{name}.socket", f"forkpolicy@{name}.service")


@step
def upgrade():
    """A server with settings, memory, a running and a stopped instance and a masked timer; connections stay open."""
    with POLICY.open("a") as file:
        file.write(COUNTS)
    run("systemctl", "reload", "forkpolicy.service")
    before = [busy(1), busy(2)]
    add_instance("outbound")
    add_instance("idle")
    run("systemctl", "stop", "forkpolicy@idle.service", "forkpolicy@idle.socket")
    run("systemctl", "mask", "--now", "forkpolicy-tables.timer")
    KEPT["raw"] = connect()
    tables = {path.name: path.stat().st_ino for path in Path("/var/lib/forkpolicy/tables").glob("*.lmdb")}
    main = show("forkpolicy.service", "MainPID")
    return {
        "before": before,
        "raw_before": ask(KEPT["raw"], **FORGED),
        **install("new"),
        "raw": ask(KEPT["raw"], **FORGED),
        "smtp": KEPT["session"].forge(),
        "remembered": busy(3, KEPT["raw"]),
        "version": version_of(),
        "outbound": version_of("-c", "/etc/forkpolicy-outbound/forkpolicy.toml"),
        "other_master": main != show("forkpolicy.service", "MainPID"),
        "restarts": show("forkpolicy.service", "NRestarts"),
        "idle": [show("forkpolicy@idle.service", "ActiveState"), show("forkpolicy@idle.socket", "ActiveState")],
        "masked": show("forkpolicy-tables.timer", "UnitFileState"),
        "policy": POLICY.read_text().endswith(COUNTS),
        "tables": tables
        == {path.name: path.stat().st_ino for path in Path("/var/lib/forkpolicy/tables").glob("*.lmdb")},
        "log": [line for line in log_of_postfix() if "warning" in line and "policy" in line],
    }


@step
def stopped():
    """A server that somebody has stopped is not started by an upgrade."""
    run("systemctl", "stop", "forkpolicy.service", "forkpolicy.socket")
    installed = install("new", "--reinstall")
    found = {
        **installed,
        "state": [show("forkpolicy.service", "ActiveState"), show("forkpolicy.socket", "ActiveState")],
    }
    run("systemctl", "start", "forkpolicy.socket", "forkpolicy.service")
    KEPT["session"], KEPT["raw"] = Session(), connect()
    return {**found, "smtp": KEPT["session"].forge(), "raw": ask(KEPT["raw"], **FORGED)}


@step
def failed_upgrade():
    """A version that cannot serve: the previous one goes on with its connections, and the next one replaces it."""
    found = install("broken")
    found["raw"], found["smtp"], found["active"] = (
        ask(KEPT["raw"], **FORGED),
        KEPT["session"].forge(),
        show("forkpolicy.service", "ActiveState"),
    )
    again = install("new", "--allow-downgrades")
    return {**found, "again": again, "raw_again": ask(KEPT["raw"], **FORGED), "version": version_of()}


@step
def mistake():
    """Settings that the new version refuses: named, and the previous one goes on."""
    good = POLICY.read_text()
    POLICY.write_text(good + "access no_such_acl prove_it\n")
    found = install("new", "--reinstall")
    POLICY.write_text(good)
    return {**found, "raw": ask(KEPT["raw"], **FORGED)}


@step
def changed_conffile():
    """The administrator's file and the package's have both changed: dpkg asks; without an answer nothing is lost."""
    asked = install("changed")
    kept = install("changed", "-o", "Dpkg::Options::=--force-confold")
    return {
        "asked": asked,
        "kept": kept,
        "policy": POLICY.read_text().endswith(COUNTS),
        "beside": (SETTINGS / "policy.conf.dpkg-dist").exists(),
        "raw": ask(KEPT["raw"], **FORGED),
    }


@step
def downgrade():
    """Back to the first version, in place."""
    found = install("old", "--allow-downgrades", "-o", "Dpkg::Options::=--force-confold")
    return {**found, "version": version_of(), "raw": ask(KEPT["raw"], **FORGED), "smtp": KEPT["session"].forge()}


@step
def rotation():
    """logrotate takes our file: it rotates a log of the server's, which goes on in a new one."""
    return run("logrotate", "--debug", "/etc/logrotate.d/forkpolicy").stderr


@step
def console():
    """The package of the web console, next to the server of the same version, and its end."""
    unit = "forkpolicy-console.service"
    found = {"installed": install("console"), "before": [show(unit, "ActiveState"), show(unit, "UnitFileState")]}
    found["link"] = run("forkpolicy", "console", "user", "add", "anna", "--role", "admin").stdout
    run("systemctl", "enable", "--now", unit, "forkpolicy-console-tables.path")
    found["page"] = wait_for(sign_in_page)
    found["user"] = Path(f"/proc/{show(unit, 'MainPID')}").owner()
    found["verified"] = run("dpkg", "-V", "forkpolicy-console").stdout
    run("apt-get", "purge", "-y", "forkpolicy-console")
    places = [Path("/var/lib/forkpolicy-console"), Path("/run/forkpolicy-console")]
    wants = list(Path("/etc/systemd/system").rglob("forkpolicy-console*"))
    packages = list(Path("/usr/lib/forkpolicy").rglob("starlette"))
    left_over = [str(path) for path in (*places, *wants, *packages) if path.exists()]
    return {**found, "left": left_over, "raw": ask(KEPT["raw"], **FORGED)}


def sign_in_page():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 8025, timeout=TIMEOUT_S)
        connection.request("GET", "/sign-in")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@step
def gateway():
    """The package of the gateway: nothing runs until somebody enables it; then its socket starts it; and its end."""
    units = ("forkpolicy-store.service", "forkpolicy-store.socket", "forkpolicy-store-policy.socket")
    # What it recommends would come from a network.
    alone = "--no-install-recommends"
    found = {"installed": install("gateway", alone), "before": [[show(each, "ActiveState") for each in units]]}
    (SETTINGS / "gateway.toml").write_text('[store]\napi_group = "fp-store"\nmail_log = ""\n')
    run("systemctl", "stop", "forkpolicy.service")
    run("systemctl", "enable", "--now", *units[1:])
    run("systemctl", "start", "forkpolicy.service")
    found["greeting"] = greeting("store-spam")
    found["user"] = Path(f"/proc/{show(units[0], 'MainPID')}").owner()
    found["answers"] = once("/run/forkpolicy/policy", **FORGED)
    found["ledger"] = wait_for(lambda: run("forkpolicy", "held", "ledger", check=False).stdout)
    found["again"] = install("gateway", alone, "--reinstall")
    found["greeting_again"] = greeting("store-spam")
    found["verified"] = run("dpkg", "-V", "forkpolicy-gateway").stdout
    removed = run("apt-get", "remove", "-y", "forkpolicy-gateway")
    found["removed"] = [removed.stdout + removed.stderr, Path("/var/lib/forkpolicy-store/held.db").exists()]
    run("apt-get", "purge", "-y", "forkpolicy-gateway")
    places = [Path(f"/{each}/forkpolicy-store") for each in ("var/lib", "run")]
    sockets = [*Path(SOCKET).parent.glob("store*"), Path("/run/forkpolicy/policy")]
    wants = list(Path("/etc/systemd/system").rglob("forkpolicy-store*"))
    packages = list(Path("/usr/lib/forkpolicy").rglob("aiosmtpd"))
    found["left"] = [str(path) for path in (*places, *sockets, *wants, *packages) if path.exists()]
    (SETTINGS / "gateway.toml").unlink()
    KEPT["session"], KEPT["raw"] = Session(), connect()
    return {**found, "raw": ask(KEPT["raw"], **FORGED)}


def greeting(name):
    """What the store says first at one of its sockets."""
    with connect(f"/var/spool/postfix/private/{name}") as connection:
        return connection.recv(100).decode()


def left():
    paths = (
        "/etc/forkpolicy",
        "/var/lib/forkpolicy",
        "/etc/forkpolicy-outbound",
        "/var/lib/forkpolicy-outbound",
        "/usr/lib/forkpolicy",
    )
    return [path for path in paths if Path(path).exists()]


@step
def remove():
    """Everything stops; settings, tables and memory stay, and an installation goes on with them."""
    removed = run("apt-get", "remove", "-y", "forkpolicy")
    found = {
        "said": removed.stdout + removed.stderr,
        "left": left(),
        "units": units_left(),
        "socket": Path(SOCKET).exists(),
    }
    installed = install("old")
    return {**found, "installed": installed, "remembered": busy(4), "policy": POLICY.read_text().endswith(COUNTS)}


def units_left():
    return run(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "--state=active,activating,failed", "forkpolicy*"
    ).stdout


@step
def purge():
    """Nothing of it is left but the user."""
    run("apt-get", "purge", "-y", "forkpolicy")
    wants = [str(path) for path in Path("/etc/systemd/system").rglob("forkpolicy*")]
    logs = [str(path) for path in Path("/var/log").glob("forkpolicy*")]
    return {"left": left() + logs, "units": units_left(), "links": wants, "socket": Path(SOCKET).exists()}


@step
def taken():
    """Another policy server of Postfix has the place: it keeps it, at the installation, and when we are removed."""
    policy = "policy/unix=policy unix - n n - 0 spawn user=nobody argv=/usr/bin/cat"
    run("postconf", "-M", policy)
    run("systemctl", "restart", "postfix")
    wait_for(Path(SOCKET).is_socket)
    before = Path(SOCKET).stat().st_ino
    said = install("old")["said"]
    found = {"said": said, "same": Path(SOCKET).stat().st_ino == before, "units": units_left()}
    found["enabled"] = show("forkpolicy.socket", "UnitFileState")
    run("apt-get", "purge", "-y", "forkpolicy")
    return {**found, "still": Path(SOCKET).exists() and Path(SOCKET).stat().st_ino == before}


def main():
    report = {}
    for name, function in STEPS.items():
        try:
            report[name] = function()
        except Exception:  # noqa: BLE001 - the report says what, the test judges
            report[name] = {"failed": traceback.format_exc()}
            if name == "fresh":
                # Without a server each of the others would wait for its time-out.
                break
    journal = run("journalctl", "-b", "-o", "cat", "-u", "forkpolicy*", "--no-pager", check=False)
    report["journal"] = journal.stdout[-100000:]
    Path("/report/report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    sys.exit(main())
