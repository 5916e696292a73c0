"""Reloads that meet trouble: whatever the files are, or are on, the old generation serves and the master goes on."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.measure.processes import title
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FORGED, POLICY, REJECT
from tests.process.waiting import ended, eventually

MNT_DETACH = 2
LOADER = "load"


def loaders(server):
    """The children that load just now."""
    return [pid for pid in server.process_ids() if title(pid) == LOADER]


def all_ready(server):
    return all(worker["ready"] for worker in server.status()["workers"])


# Each makes trouble in the server's directory, and gives the policy that meets it and what the refusal says.


def _with_file(path):
    return f"{POLICY}acl from_file helo_name {path}\n"


def _pipe(folder):
    os.mkfifo(folder / "pipe")
    return _with_file(folder / "pipe"), "is a pipe (FIFO)"


def _included_socket(folder):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket"))
    return f"{POLICY}include socket\n", "is a socket"


def _device(_folder):
    return _with_file("/dev/zero"), "is a character device"


def _directory(folder):
    (folder / "folder").mkdir()
    return _with_file(folder / "folder"), "is a directory"


def _loop(folder):
    (folder / "loop").symlink_to("loop")
    return f"{POLICY}include loop\n", "too many levels of symbolic links"


def _nul(_folder):
    return f"{POLICY}include a\0b\n", "its name has a NUL character"


def _nul_in_a_glob(_folder):
    return f"{POLICY}include a\0b/*.conf\n", "its name has a NUL character"


def _long_name(_folder):
    return f"{POLICY}include {'x' * 300}\n", "file name too long"


def _latin1(folder):
    (folder / "latin1").write_bytes(b"caf\xe9.example\n")
    return _with_file(folder / "latin1"), "byte 0xe9 is not UTF-8"


def _itself(folder):
    return f"{POLICY}include policy.conf\n", "includes itself"


def _expression(_folder):
    return f"{POLICY}acl rx helo_name /(?=x)/\n", "not a regular expression"


def _many_unknown_names(_folder):
    lines = [f"acl name{number} helo_name h{number}.example" for number in range(3000)]
    return "\n".join([POLICY, *lines, *(f"access nome{number} prove_it" for number in range(300))]), "unknown acl"


TROUBLE = [
    _pipe,
    _included_socket,
    _device,
    _directory,
    _loop,
    _nul,
    _nul_in_a_glob,
    _long_name,
    _latin1,
    _itself,
    _expression,
    _many_unknown_names,
]

SETTINGS_TROUBLE = {
    "policy is a pipe": ('policy = "', 'policy = "pipe" #', "is a pipe (FIFO)"),
    "nested too deeply": ("[log]", f"x = {'[' * 5000}{']' * 5000}\n[log]", "nested too deeply"),
    "a number of thousands of digits": ("[log]", f"x = {'9' * 5000}\n[log]", "not TOML"),
    "no character": ("[log]", 'x = "\\ud800"\n[log]', "not TOML"),
    "a binary file": ("[log]", "\x00\x01[log]", "not TOML"),
}


def test_no_file_ends_the_master(server, client):
    """Refused with its reason, whatever it is; the next reload finds everything mended."""
    folder, pid = server.directory, server.process.pid
    for make in TROUBLE:
        policy, why = make(folder)
        server.write_policy(policy)
        done = server.obey("reload", 60)
        assert not done["ok"], make
        assert why in "\n".join(done["diagnostics"]), (make, done["diagnostics"])
        assert client.ask(FORGED) == REJECT
    server.write_policy(POLICY)
    text = server.settings.read_text()
    for name, (old, new, why) in SETTINGS_TROUBLE.items():
        assert old in text
        server.settings.write_text(text.replace(old, new, 1))
        done = server.obey("reload", 60)
        assert not done["ok"], name
        assert why in "\n".join(done["diagnostics"]), (name, done["diagnostics"])
        assert client.ask(FORGED) == REJECT
    server.settings.unlink()
    assert "no such file" in server.obey("reload", 60)["diagnostics"][0]
    server.settings.write_text(text)
    assert server.obey("reload", 60)["ok"]
    assert (server.status()["pid"], server.process.poll()) == (pid, None)
    assert "event=bug" not in server.said()
    assert loaders(server) == []


def test_an_included_name_that_is_no_utf8(server, client):
    """The name of a file is bytes: it is read, sent to the workers, and shown."""
    name = os.fsdecode(b"p\xe4.conf")
    (server.directory / "rules").mkdir()
    (server.directory / "rules" / name).write_text("acl added helo_name x.example\naccess added prove_it\n")
    server.write_policy(f"{POLICY}include rules/*.conf\n")
    assert server.obey("reload", 60)["ok"]
    assert client.ask(FORGED) == REJECT
    assert server.command("status").returncode == 0


FAULTY = """
import sys
from forkpolicy import starting

def faulty(path, reading, really=starting.load_again):
    try:
        with open(FOLDER + "/fault") as file:
            exec(file.read())
    except FileNotFoundError:
        return really(path, reading)

starting.load_again = faulty
from forkpolicy.commands import main
sys.exit(main())
"""
FAULTS = [
    "raise RuntimeError('odd')",
    "raise RecursionError('deep')",
    "raise MemoryError",
    "raise UnicodeError('odd')",
    "raise OSError(5, 'Input/output error')",
    "raise SystemExit(0)",
    "raise KeyboardInterrupt",
    "raise BaseException('odd')",
    "import os; os.abort()",
    "import os; os.kill(os.getpid(), 9)",
    "import os; os._exit(0)",
]


def test_no_fault_of_our_own_ends_the_master(make_server, monkeypatch):
    """Whatever leaves `load`, however it ends: the old generation serves, and what is a bug is logged as one."""
    server = make_server(workers=1)
    program = server.directory / "faulty.py"
    program.write_text(f"FOLDER = {str(server.directory)!r}\n{FAULTY}")
    monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", (FORKPOLICY[0], str(program)))
    server.start()
    with PolicyClient(server.socket_path) as client:
        for fault in FAULTS:
            (server.directory / "fault").write_text(fault)
            done = server.obey("reload", 60)
            assert not done["ok"], fault
            assert done["diagnostics"], fault
            assert client.ask(FORGED) == REJECT
        said = server.said()
        assert said.count("event=bug") == sum("raise" in fault and "Memory" not in fault for fault in FAULTS)
        assert "RuntimeError: odd" in said
        (server.directory / "fault").unlink()
        assert server.obey("reload", 60)["ok"]


@pytest.fixture
def hung(folder):
    """A mounted file system that never answers; as a server that is gone."""
    point = folder / "hung"
    point.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error.strerror}")
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"fuse", bytes(point), b"fuse", 0, options):
        os.close(fd)
        pytest.skip(f"may not mount here: {os.strerror(ctypes.get_errno())}")
    try:
        yield point
    finally:
        os.close(fd)
        libc.umount2(bytes(point), MNT_DETACH)


@contextlib.contextmanager
def reloading(server, hung):
    """A reload that waits for a file on it; the control connection on which the answer will come."""
    server.write_policy(_with_file(hung / "list"))
    with PolicyClient(server.directory / "control") as operator:
        control = operator.connect()
        control.settimeout(60)
        control.sendall(b'{"command": "reload"}\n')
        eventually(lambda: loaders(server))
        yield control


def answer(control):
    return json.loads(control.makefile("rb").readline())


def test_a_mount_that_hangs_stops_nobody(server, client, hung):
    """Status, replacement of workers, scaling, an upgrade refused; then the reload is, with the path; and a second
    one that was asked for meanwhile reads anew.
    """
    with reloading(server, hung) as control, PolicyClient(server.directory / "control") as second:
        assert client.ask(FORGED) == REJECT
        victim = server.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in server.worker_pids() and all_ready(server))
        assert server.obey("scale", workers=3)["ok"]
        eventually(lambda: len(server.worker_pids()) == 3)
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "upgrade refused" in server.said())
        second.connect().settimeout(60)
        second.connect().sendall(b'{"command": "reload"}\n')
        assert loaders(server), "the first reload must not be over yet"
        server.write_policy(POLICY)
        told = answer(control)
        assert not told["ok"]
        assert f"{hung}/list: could not be read within 10 s" in told["diagnostics"][0]
        assert answer(second.connect())["ok"]
    with PolicyClient(server.socket_path) as again:
        assert again.ask(FORGED) == REJECT
    eventually(lambda: not loaders(server))


def test_a_stop_waits_for_no_mount(server, hung):
    """TERM in the middle: the client that asked for the reload gets a reply, everything ends, nothing stays behind."""
    with reloading(server, hung) as control:
        (loader,) = loaders(server)
        server.process.send_signal(signal.SIGTERM)
        assert answer(control)["diagnostics"] == ["stopped meanwhile"]
        assert server.process.wait(30) == 0
        ended(loader)


def test_a_worker_that_is_born_after_a_reload_serves_what_was_loaded(server, client):
    """And not what stands in the files by then."""
    server.write_policy(POLICY.replace("5.7.1", "5.7.2"))
    assert server.obey("reload", 60)["ok"]
    server.write_policy("nonsense\n")
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGTERM)
        eventually(
            lambda pid=pid: pid not in server.worker_pids() and all(w["ready"] for w in server.status()["workers"])
        )
    assert client.ask(FORGED) == REJECT.replace("5.7.1", "5.7.2")


def test_a_working_directory_that_is_gone(make_server, folder):
    """Started with a relative -c: reload and upgrade need no working directory."""
    server = make_server(workers=1)
    linked = folder / "elsewhere"
    linked.mkdir()
    settings = os.path.relpath(server.settings, linked)
    command = [*FORKPOLICY, "serve", "-c", settings]
    source = str(pathlib.Path(__file__).parents[2])
    with (server.directory / "stderr").open("wb") as stderr:
        environment = {**os.environ, "PYTHONPATH": source, "PYTHONSAFEPATH": "1"}
        server.process = subprocess.Popen(command, cwd=linked, env=environment, stderr=stderr)
    old = eventually(lambda: server.command("status").returncode == 0 and server.status()["pid"])
    shutil.rmtree(linked)
    server.write_policy(POLICY.replace("5.7.1", "5.7.2"))
    assert server.obey("reload", 60)["diagnostics"] == []
    server.process.send_signal(signal.SIGUSR2)
    eventually(lambda: server.command("status").returncode == 0 and server.status()["pid"] != old)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT.replace("5.7.1", "5.7.2")
    server.process.wait(30)
    server.process = None
    assert server.command("stop").returncode == 0


def test_a_policy_that_was_cut_to_nothing_is_told(server):
    """As an editor leaves it on a full disk: valid, and since 0.1.0 loaded without a word."""
    server.write_policy("")
    done = server.reload()
    told = f"{server.directory}/policy.conf: warning: has no access rule: every request gets the action default\n"
    assert (done.returncode, done.stderr) == (0, told)
    assert told in server.command("check", "--postfix", "none").stdout
    server.write_policy(POLICY)
    assert server.reload().stderr == ""
