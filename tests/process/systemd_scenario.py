"""What happens inside the container of test_systemd_for_real.py: run by its systemd, as root, once.

Each step is tried whatever became of the ones before; what it saw, or how it failed, is one entry of the report.
Standard library only.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

SOCKET = "/var/spool/postfix/private/policy"
OUTSIDE = {
    "request": "smtpd_access_policy",
    "protocol_state": "RCPT",
    "protocol_name": "ESMTP",
    "client_address": "203.0.113.5",
    "sender": "somebody@example.com",
    "recipient": "you@example.com",
    "sasl_method": "",
    "sasl_username": "",
}
TIMEOUT_S = 20.0
STEPS = {}


def step(function):
    STEPS[function.__name__] = function
    return function


def run(*words, check=False, timeout_s=60):
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
    return done


def show(unit, name):
    return run("systemctl", "show", "-p", name, "--value", unit, check=True).stdout.strip()


def wait_for(what, timeout_s=TIMEOUT_S):
    """systemd has no event that a shell can wait for: ask until it is so."""
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("it never became so")
        time.sleep(0.02)


def ask(attributes=None, connection=None):
    """One question; as root, whom no mode of a socket file keeps out."""
    own = connection or connect()
    own.sendall("".join(f"{k}={v}\n" for k, v in {**OUTSIDE, **(attributes or {})}.items()).encode() + b"\n")
    reply = b""
    while not reply.endswith(b"\n\n"):
        part = own.recv(4096)
        if not part:
            raise ConnectionError(f"closed after {reply!r}")
        reply += part
    if connection is None:
        own.close()
    return reply.decode().strip()


def connect():
    own = socket.socket(socket.AF_UNIX)
    own.settimeout(TIMEOUT_S)
    own.connect(SOCKET)
    return own


def main_pid():
    return int(show("forkpolicy.service", "MainPID"))


def processes():
    """The unit's processes: pid to title. By /proc, where every version of control groups looks alike."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if "/forkpolicy.service" in (directory / "cgroup").read_text():
                found[int(directory.name)] = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
    return found


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def write(path, text):
    Path(path).write_text(text)


@step
def users_and_directories():
    run("systemd-sysusers", check=True)
    run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/forkpolicy.conf", check=True)
    made = {path: Path(path).stat() for path in ("/var/lib/forkpolicy/tables", "/etc/forkpolicy", "/run/forkpolicy")}
    return {path: f"{pwd.getpwuid(seen.st_uid).pw_name} {seen.st_mode & 0o777:o}" for path, seen in made.items()}


@step
def compile_units():
    for table in ("local_domains", "local_networks"):
        run("systemctl", "start", f"forkpolicy-compile@{table}.service", check=True)
    return sorted(path.name for path in Path("/var/lib/forkpolicy/tables").iterdir())


@step
def start():
    run("systemctl", "start", "forkpolicy.socket", "forkpolicy.service", check=True, timeout_s=20)
    seen = Path(SOCKET).stat()
    return {
        "state": show("forkpolicy.service", "ActiveState"),
        "text": show("forkpolicy.service", "StatusText"),
        "socket": f"{pwd.getpwuid(seen.st_uid).pw_name} {seen.st_mode & 0o777:o}",
        "outside": ask(),
        "inside": ask({"client_address": "192.0.2.7"}),
    }


@step
def confinement():
    """User, capabilities, seccomp and core limit of every process, and their titles."""
    wanted = ("Uid", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")
    user = str(pwd.getpwnam("forkpolicy").pw_uid)
    found = []
    for pid, title in processes().items():
        seen = status_of(pid)
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6]
        found.append(
            {
                "title": title,
                "is_user": set(seen["Uid"].split()) == {user},
                "core": core,
                **{n: seen[n] for n in wanted},
            }
        )
    return found


@step
def status_command():
    return json.loads(run("/opt/forkpolicy/bin/forkpolicy", "status", "--json", check=True).stdout)


@step
def reload_good():
    write("/etc/forkpolicy/policy.conf", Path("/etc/forkpolicy/policy.conf").read_text().replace("5.7.1", "5.7.2"))
    done = run("systemctl", "reload", "forkpolicy.service")
    return {"code": done.returncode, "said": done.stderr, "answer": ask()}


@step
def reload_refused():
    good = Path("/etc/forkpolicy/policy.conf").read_text()
    write("/etc/forkpolicy/policy.conf", good + "access no_such_acl prove_it\n")
    done = run("systemctl", "reload", "forkpolicy.service")
    write("/etc/forkpolicy/policy.conf", good)
    return {"code": done.returncode, "answer": ask(), "state": show("forkpolicy.service", "ActiveState")}


@step
def restart_under_traffic():
    """A client asks all the time, on new connections, while the service restarts: nobody is turned away."""
    answers, stop = [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            try:
                answers.append(ask())
            except OSError as error:
                answers.append(repr(error))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    before = main_pid()
    run("systemctl", "restart", "forkpolicy.service", check=True)
    stop.set()
    asking.join()
    return {"answers": len(answers), "kinds": sorted({answer[:20] for answer in answers}), "new": before != main_pid()}


@step
def table_follows_its_source():
    """The path unit compiles, the workers take the table up."""
    run("systemctl", "start", "forkpolicy-compile@local_domains.path", check=True)
    before = ask({"sender": "x@example.org", "recipient": "y@example.org"})
    with Path("/etc/forkpolicy/tables/local-domains").open("a") as file:
        file.write("example.org\n")
    wait_for(lambda: "REJECT" in ask({"sender": "x@example.org", "recipient": "y@example.org"}))
    return {"before": before}


@step
def killed_worker():
    """A worker that is killed is replaced and systemd does not mind."""
    main, before = main_pid(), set(processes())
    workers = [pid for pid, title in processes().items() if "worker" in title]
    os.kill(workers[0], 9)
    wait_for(lambda: workers[0] not in processes() and len(processes()) == len(before))
    return {"same_master": main == main_pid(), "answer": ask(), "restarts": show("forkpolicy.service", "NRestarts")}


@step
def watchdog():
    """A master that hangs is killed by systemd and started again."""
    main = main_pid()
    os.kill(main, 19)
    wait_for(lambda: main_pid() not in (0, main))
    wait_for(lambda: show("forkpolicy.service", "ActiveState") == "active")
    return {"answer": ask(), "restarts": show("forkpolicy.service", "NRestarts")}


@step
def upgrade():
    """USR2: new code and settings, same sockets; systemd follows and the connection lives on."""
    connection = connect()
    before = ask(connection=connection)
    main = main_pid()
    seen = set(processes())
    run("systemctl", "kill", "-s", "USR2", "--kill-whom=main", "forkpolicy.service", check=True)
    wait_for(
        lambda: not (seen - {main}) & set(processes()) and show("forkpolicy.service", "ActiveState") == "active", 10
    )
    return {"before": before, "after": ask(connection=connection), "same_pid": main == main_pid(), "new": ask()}


@step
def activation():
    """A stopped service is started by the first connection, which gets its answer."""
    run("systemctl", "stop", "forkpolicy.service", check=True)
    stopped = show("forkpolicy.service", "ActiveState")
    return {"stopped": stopped, "result": show("forkpolicy.service", "Result"), "answer": ask()}


@step
def another_socket():
    """One line in a drop-in of the socket unit: no privilege is needed for what systemd binds."""
    Path("/etc/systemd/system/forkpolicy.socket.d").mkdir()
    write("/etc/systemd/system/forkpolicy.socket.d/tcp.conf", "[Socket]\nListenStream=127.0.0.1:10040\n")
    run("systemctl", "daemon-reload", check=True)
    run("systemctl", "stop", "forkpolicy.service", "forkpolicy.socket", check=True)
    run("systemctl", "start", "forkpolicy.socket", "forkpolicy.service", check=True)
    status = json.loads(run("/opt/forkpolicy/bin/forkpolicy", "status", "--json", check=True).stdout)
    tcp = socket.create_connection(("127.0.0.1", 10040), timeout=10)
    return {"tcp": ask(connection=tcp), "unix": ask(), "sockets": status["sockets"]}


def main():
    report = {}
    for name, function in STEPS.items():
        try:
            report[name] = function()
        except Exception:  # noqa: BLE001 - the report says what, the test judges
            report[name] = {"failed": traceback.format_exc()}
            if name == "start":
                # Without a server each of the others would wait for its time-out.
                break
    report["journal"] = run("journalctl", "-b", "-o", "cat", "-u", "forkpolicy*", "--no-pager").stdout[-20000:]
    Path("/report/report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    sys.exit(main())
