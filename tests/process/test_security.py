"""What docs/threat-model.md says stands against whom, tried on real processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from forkpolicy import link
from forkpolicy.control_client import ask
from forkpolicy.errors import NotRunningError
from forkpolicy.messages import MAX_REPORT_BYTES
from loadtest.clients.policy_client import LostReplyError, PolicyClient
from loadtest.servers.pausing import pause
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FINE, FORGED, REJECT, request
from tests.process.waiting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
METRICS = '[metrics]\nlisten = "unix:metrics"\n'
# Any user but root and the one that the workers run as.
STRANGER = 12345
# What its socket buffer takes for certain.
LINK_BYTES = 4096
PIDFD_GETFD = 438  # of every Linux architecture since 5.6


@pytest.fixture
def full_server(make_server):
    """Two workers, logger and metrics process, all of them running."""
    server = make_server(workers=2)
    server.settings.write_text(server.settings.read_text() + METRICS)
    server.start()
    # A child has its master's title until it gives itself its own.
    expected = ["log", "master", "metrics", "worker", "worker"]
    eventually(lambda: sorted(each.split()[1] for each in titles(server).values() if " " in each) == expected)
    return server


def framed(frame):
    packed = msgpack.packb(frame)
    return len(packed).to_bytes(4, "big") + packed


def titles(server):
    found = {}
    for pid in server.process_ids():
        found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    return found


def pids(server, *kinds):
    return [pid for pid, title in titles(server).items() if title.split()[1] in kinds]


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


@as_root
def test_privileges_are_given_up_for_good(full_server):
    """All but the master have one user in all four places, one group, no capability, and none to regain."""
    for pid in pids(full_server, "worker", "metrics", "log"):
        seen = status_of(pid)
        assert len(set(seen["Uid"])) == 1
        assert "0" not in seen["Uid"]
        assert len({*seen["Gid"], *seen["Groups"]}) == 1
        assert [int(seen[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0, 0, 0, 0]
        assert seen["NoNewPrivs"] == ["1"]


def test_no_process_leaves_a_core(full_server):
    """A core file would hold who writes to whom: the limit is 0 everywhere, and no process can be dumped or traced."""
    for pid in full_server.process_ids():
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), titles(full_server)[pid]
        # The files in /proc of a process that cannot be dumped belong to root (proc(5)).
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


def test_titles_say_nothing_of_mail(full_server):
    """`ps` shows what each process is and the settings file; nothing of requests."""
    with PolicyClient(full_server.socket_path) as client:
        client.ask(request("secret@example.com"))
    assert sorted(titles(full_server).values()) == [
        "forkpolicy: log",
        f"forkpolicy: master {full_server.settings}",
        "forkpolicy: metrics",
        "forkpolicy: worker 0",
        "forkpolicy: worker 1",
    ]


def test_workers_do_not_hold_what_is_the_masters(full_server):
    """Of all listening sockets a worker has the policy's and the metrics process its own; links and log are private."""
    held = {pid: descriptors(pid) for pid in full_server.process_ids()}
    listening = listening_sockets()
    counts = {title.split()[1]: len(held[pid] & listening) for pid, title in titles(full_server).items()}
    assert counts["worker"] == counts["metrics"] == 1
    assert counts["master"] == 3
    first, second = pids(full_server, "worker")
    (metrics,) = pids(full_server, "metrics")
    assert held[first] & held[second] & listening
    assert not held[first] & held[metrics] & listening
    for pid in (first, second, metrics):
        assert str(full_server.log) not in held[pid]


def test_no_child_holds_what_it_does_not_need(full_server):
    """Metrics process and logger share with a worker the log's pipe at most: no exchange of connections, no link."""
    (first, _), (metrics,), (log,) = (pids(full_server, kind) for kind in ("worker", "metrics", "log"))
    standard = {str(Path(f"/proc/{full_server.process.pid}/fd/{fd}").readlink()) for fd in range(3)}
    held = {pid: descriptors(pid) - standard for pid in (first, metrics, log)}
    assert held[metrics] & held[first] == held[metrics] & held[log] == set()
    assert len(held[metrics]) == 2  # its listening socket and its link
    shared = held[log] & held[first]
    assert len(shared) == 1
    assert shared.pop().startswith("pipe:")
    assert held[log] - held[first] - {str(full_server.log)} == {each for each in held[log] if each[:7] == "socket:"}


def descriptors(pid):
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(each.readlink()))
        except FileNotFoundError:
            continue
    return {each for each in found if not each.startswith("anon_inode:")}


def listening_sockets():
    """Inodes of the UNIX sockets that listen: their flags have __SO_ACCEPTCON."""
    words = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {f"socket:[{each[6]}]" for each in words if int(each[3], 16) & 0x10000}


@as_root
def test_strangers_do_not_command(server):
    """The control socket refuses another user by its mode, and by the kernel's word when the mode was changed."""
    path = server.directory / "control"
    assert "for its owner and root" in as_stranger(path)
    path.chmod(0o666)
    assert "for its owner and root" in as_stranger(path)
    assert server.status()["workers"]


def as_stranger(path):
    """The message that another user gets who wants to stop the server."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os.write(write_end, repr(ask(str(path), {"command": "stop"}, 10)).encode())
        except NotRunningError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    with os.fdopen(read_end) as answer:
        return answer.read()


def test_nonsense_on_the_control_socket_costs_its_sender_only(server, client):
    """Garbage, endless lines and clients that never read: supervision, policy and other operators go on."""
    mutes = [control(server) for _ in range(10)]
    for garbage in (b"\xff\xfe\n", b"[1]\n", b"{\n", b'{"command": ["status"]}\n', b"x" * 10000, b"\n"):
        with control(server) as own:
            own.sendall(garbage)
            try:
                answer = own.recv(4096)
            except ConnectionResetError:
                continue  # hung up on before it was read
            assert answer == b"" or b'"ok": false' in answer
    greedy = control(server)
    greedy.setblocking(False)
    try:
        for _ in range(2000):
            greedy.send(b'{"command": "status"}\n')
    except OSError:
        pass  # no room, or hung up on: both are right
    assert client.ask(FORGED) == REJECT
    assert server.status()["workers"]
    for each in (*mutes, greedy):
        each.close()


def test_silent_clients_do_not_lock_operators_out(server):
    """Forty that connect and say nothing: each further operator is heard, and one who waits for an answer stays."""
    with control(server) as waiting:
        server.write_policy("include nowhere\n")
        waiting.sendall(b'{"command": "reload"}\n')
        silent = [control(server) for _ in range(40)]
        assert server.status()["workers"]
        assert server.command("scale", "2").returncode == 0
        assert b'"ok": false' in waiting.recv(65536)
    # The first ones have made room.
    assert silent[0].recv(1) == b""
    for each in silent:
        each.close()


def test_too_many_commands_under_way_are_named(server):
    """Where nobody can make room, the operator reads so: the socket's owner is not the trouble."""
    master = server.process
    stopped = [control(server) for _ in range(33)]
    pause(master.pid)
    for each in stopped:
        each.sendall(b'{"command": "stop"}\n')
    late = subprocess.Popen([*FORKPOLICY, "status", "-c", str(server.settings)], stderr=subprocess.PIPE, text=True)
    server.process = None
    master.send_signal(signal.SIGCONT)
    said = late.communicate(timeout=30)[1]
    assert late.returncode == 69
    assert "for its owner" not in said
    assert master.wait(30) == 0
    for each in stopped:
        each.close()


def control(server):
    own = socket.socket(socket.AF_UNIX)
    # Blocking: with a time-out a full queue would be an error.
    own.connect(str(server.directory / "control"))
    own.settimeout(10)
    return own


@as_root
@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x00\x00\x01\xc1",  # no msgpack
        b"\x00\x00\x00\x01\x2a",  # no message
        b"\xff\xff\xff\xff",  # four gigabytes to come
        framed([link.VERSION, "Ready", {"state": "fine"}]),
        framed([link.VERSION, "What", {}]),
        framed([link.VERSION, "Retiring", {"reason": "a" * MAX_REPORT_BYTES}]),
        framed([99, "Retiring", {"reason": "another release"}]),
    ],
    ids=["no msgpack", "a number", "gigabytes", "wrong type", "unknown", "too long", "version"],
)
def test_a_captured_worker_does_not_take_the_master_along(server, said):
    """Whatever a worker sends on its link, the master goes on; it kills that worker and starts another."""
    before = server.worker_pids()
    main = server.process.pid
    taken = link_of(server, before[0])
    taken.sendall(said[:LINK_BYTES])
    eventually(lambda: before[0] not in server.worker_pids() and len(server.worker_pids()) == 2)
    assert server.process.pid == main
    assert "invalid message from worker" in server.said()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
    taken.close()


def test_the_log_says_which_field_of_a_message_is_wrong(server):
    """The worker, the message, the field, what was expected and what stands there."""
    taken = link_of(server, server.worker_pids()[0])
    taken.sendall(framed([link.VERSION, "Prepared", {"generation": "2", "diagnostics": []}]))
    eventually(lambda: "Prepared: generation: expected a whole number of 64 bits, found '2'" in server.said())
    taken.close()


def link_of(server, pid):
    """The worker's end of its link, taken from it: the one socket that it does not share with its sibling."""
    (sibling,) = [each for each in server.worker_pids() if each != pid]
    (private,) = [each for each in descriptors(pid) - descriptors(sibling) if each.startswith("socket:")]
    number = next(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir() if str(each.readlink()) == private)
    process = os.pidfd_open(pid)
    fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, number, 0)
    os.close(process)
    if fd < 0:
        pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=fd)


def test_a_worker_killed_by_any_signal_is_replaced(server):
    """Real-time signals have no names; the master survives telling about one."""
    before = server.worker_pids()
    os.kill(before[0], signal.SIGRTMIN + 5)
    eventually(lambda: before[0] not in server.worker_pids() and len(server.worker_pids()) == 2)
    assert f'how="signal {signal.SIGRTMIN + 5}"' in server.said()


@pytest.fixture
def limited(make_server):
    """One worker for sixteen connections."""
    server = make_server(workers=1, extra="max_connections = 16")
    server.start()
    return server


def test_one_peer_cannot_keep_the_others_out(limited):
    """A peer that opens connections without end gets half of them; another peer keeps its own and gets more. Nobody
    loses a connection that has asked.
    """
    with other_peer(limited, 1) as other:
        greedy = [PolicyClient(limited.socket_path) for _ in range(60)]
        answered = []
        for client in greedy:
            with contextlib.suppress(LostReplyError):
                assert client.ask(FORGED) == REJECT
                answered.append(client)
        assert len(answered) == 8
        # Held and newly opened ones of the other peer both answer, after all of that.
        assert other("ask") == other("more") == other("ask") == "answered"
        assert {client.ask(FINE) for client in answered} == {"DUNNO"}
        eventually(lambda: 'event="peer refused"' in limited.said())
        assert limited.said().count('event="peer refused"') == 1
        assert "has half of server.max_connections (16)" in limited.said()
        for client in greedy:
            client.close()


def test_above_the_limit_connections_wait(limited):
    """Of three peers two have everything that there is: the third is answered as soon as one of them goes."""
    with other_peer(limited, 8) as first, contextlib.ExitStack() as stack:
        with other_peer(limited, 8):
            own = stack.enter_context(PolicyClient(limited.socket_path))
            own._socket.sendall(FORGED)
            eventually(lambda: 'event="connection limit reached"' in limited.said())
            assert select.select([own._socket], [], [], 0)[0] == []
            assert limited.status()["workers"][0]["connections"] == 16
            assert first("ask") == "answered"
        assert own._socket.recv(4096) == f"action={REJECT}\n\n".encode()
        assert first("ask") == "answered"


@contextlib.contextmanager
def other_peer(server, count):
    """Another process with so many connections, all of which have asked; a function that tells it what to do."""
    words = [sys.executable, "-c", OTHER_PEER, str(server.socket_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def do(what):
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        for _ in range(count):
            assert do("more") == "answered"
        yield do
        process.stdin.close()


OTHER_PEER = f"""
import socket, sys
held = []
for line in sys.stdin:
    if line == "more\\n":
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].settimeout(15)
        held[-1].connect(sys.argv[1])
    for own in held:
        own.sendall({FORGED!r})
    print("answered" if all(own.recv(4096)[:13] == b"action=REJECT" for own in held) else "lost", flush=True)
"""


def test_too_long_a_request_ends_its_own_connection_only(server, client):
    """A request without end is cut off at max_request and logged with its first bytes; others notice nothing."""
    with socket.socket(socket.AF_UNIX) as endless:
        endless.settimeout(10)
        endless.connect(str(server.socket_path))
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            endless.sendall(b"request=smtpd_access_policy\nsender=" + b"x" * 100_000_000)
    assert client.ask(FORGED) == REJECT
    eventually(lambda: "invalid request" in server.said())


def test_the_log_cannot_be_forged(server, client):
    """Line ends, terminal sequences and raw bytes of a request become escapes: one event is one printable line."""
    forged = request("evil@example.com", client_name='x\r\x1b[2J" event=started')
    client.ask(forged.replace(b"evil@", b"\xff\x1b]0;owned\x07\r\x0b\xc2\x85\xe2\x80\xa8level=critical event=started@"))
    with socket.socket(socket.AF_UNIX) as garbage:
        garbage.connect(str(server.socket_path))
        garbage.sendall(b"GET / HTTP/1.1\r\nHost: x\x1b[2J\r\nevent=started level=critical\r\n\r\n")
        select.select([garbage], [], [], 10)
    said = eventually(lambda: server.said() if "first_bytes=" in server.said() else "")
    assert len(re.findall(r"^\S+ level=\S+ event=started ", said, re.MULTILINE)) == 1
    assert not re.search(r"[^\x20-\x7e\n]", said)
    assert all(re.match(r"time=\S+Z level=[a-z]+ event=", line) for line in said.splitlines())


def test_a_reply_is_one_line_whatever_is_put_in(make_server):
    """Control characters and line ends of an attribute do not get into a reply that quotes it."""
    server = make_server("acl all sender /@/\naction quote REJECT not from {sender}\naccess all quote\n")
    server.start()
    with PolicyClient(server.socket_path) as client:
        reply = client.ask(request().replace(b"a@example.com", b"a\r\x00\x1b[1m\xff@example.com"))
    assert reply.startswith("REJECT not from a")
    assert reply.isprintable()
