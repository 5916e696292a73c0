"""`[server] control_group`: what its members may ask the control socket, and that others may ask no more than that."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import socket
import stat

import pytest

from forkpolicy.control_client import ask, wait_for_end
from forkpolicy.control_messages import COMMANDS
from forkpolicy.errors import ForkpolicyError
from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import request
from tests.process.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be other users")
GROUP = "games"
# Not that of the workers.
USER = "daemon"
POLICY = """\
acl much rate {sender} 1000/1h
action remember remember seen {sender} 1h
action no REJECT no
acl seen listed seen {sender}
acl mail sender /@/
access mail remember
access much no
"""
ASKED = {
    "status": {},
    "reload": {},
    "scale": {"workers": 2},
    "stop": {},
    "state-reset": {"name": "much"},
    "state-remember": {"name": "seen", "key": ["b@example.com"], "duration_s": 60},
    "state-forget": {"name": "seen", "key": ["a@example.com"]},
    "state-walk": {"prefix": "", "after": "", "most": 10},
}
ALLOWED = {"status", "reload", "state-reset", "state-forget", "state-walk"}


@pytest.fixture
def server(make_server):
    """A server whose control socket has a group."""
    server = make_server(policy=POLICY, extra=f'control_group = "{GROUP}"')
    server.start()
    with PolicyClient(server.socket_path) as client:
        client.ask(request("a@example.com"))
    return server


def as_user(work, groups=()):
    """What `work` returns, a text, where a process without rights and with these groups does it."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(list(groups))
            user = pwd.getpwnam(USER)
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            os.write(write_end, work().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(pid, 0)
    return said


def asking(server, command):
    """Asks one command; "ok", or what was wrong."""

    def work():
        try:
            reply = ask(str(server.directory / "control"), {"command": command, **ASKED[command]}, 30)
        except ForkpolicyError as error:
            return str(error)
        return str(reply.get("error", "ok"))

    return work


def test_every_command_is_decided_upon():
    """A new command must be put among those that members may ask, or be refused to them."""
    assert set(ASKED) == set(COMMANDS)


def test_a_member_asks_what_members_may(server):
    """Also where the group is one of its other groups; what it may not ask says so, and changes nothing."""
    gid = grp.getgrnam(GROUP).gr_gid
    said = {command: as_user(asking(server, command), [gid]) for command in ASKED}
    assert {command for command, text in said.items() if text == "ok"} == ALLOWED
    for command in set(ASKED) - ALLOWED:
        assert said[command] == f"{command}: for the socket's owner and root, not for members of control_group"
    assert len(server.worker_pids()) == server.status()["wanted_workers"] == 1


def test_others_ask_nothing(server):
    """Neither by the mode of the socket, nor where somebody has opened that."""
    socket_file = server.directory / "control"
    mode = socket_file.stat()
    assert (stat.S_IMODE(mode.st_mode), mode.st_gid) == (0o660, grp.getgrnam(GROUP).gr_gid)
    assert "is for its owner and root" in as_user(asking(server, "status"))
    socket_file.chmod(0o666)
    assert "is for its owner and root" in as_user(asking(server, "status"))


def test_a_member_lists_what_is_remembered(server):
    """Through the control socket, as the map is the server's alone; the same lines as root sees."""
    gid = grp.getgrnam(GROUP).gr_gid
    as_root = server.command("state", "list")
    assert "a@example.com" in as_root.stdout
    (server.directory / "live").chmod(0o700)

    def work():
        from forkpolicy.state.listing import Wanted, records
        from forkpolicy.state.reading import open_for_reading
        from forkpolicy.state_settings import StateSettings

        store = open_for_reading(StateSettings(live=str(server.directory / "live")), str(server.directory / "control"))
        found = records(store, Wanted())
        return type(store).__name__ + "".join(f" {shown.name}:{' '.join(shown.key)}" for shown, _ in found)

    assert as_user(work, [gid]) == "ControlStore much:a@example.com seen:a@example.com"


def test_a_command_that_ends_the_server_does_not_wait_for_that(server):
    """`forkpolicy stop` of a member ends at once, with the reason."""

    def work():
        try:
            wait_for_end(str(server.directory / "control"), {"command": "stop"}, 30, 30)
        except ForkpolicyError as error:
            return str(error)
        return "stopped"

    said = as_user(work, [grp.getgrnam(GROUP).gr_gid])
    assert said.endswith("stop: for the socket's owner and root, not for members of control_group")


def test_a_member_of_more_groups_than_are_read_is_a_stranger(server):
    """The kernel then names none."""
    many = [*range(100, 356), grp.getgrnam(GROUP).gr_gid]
    assert "is for its owner and root" in as_user(asking(server, "status"), many)


def test_members_leave_room_for_others(server):
    """One that asks for reload after reload on each of its connections locks nobody out, and mail goes on."""
    flooding = start_flood(server)
    try:
        eventually(lambda: server.said().count("event=reloaded") >= 2)
        assert server.command("scale", "2").returncode == 0
        server.write_policy("acl every log\naction no REJECT no\naccess every no\n")
        assert server.reload().returncode == 0
        with PolicyClient(server.socket_path) as client:
            assert client.ask(request("a@example.com")) == "REJECT no"
    finally:
        os.kill(flooding, signal.SIGKILL)
        os.waitpid(flooding, 0)


def start_flood(server):
    """The process of a member that does so; it would go on for ever."""

    def work():
        held = []
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(server.directory / "control"))
            # One that is refused is hung up on.
            with contextlib.suppress(ConnectionError):
                sock.sendall(b'{"command": "reload"}\n' * (1 + len(held) % 2))
                held.append(sock)
            if len(held) > 40:
                held.pop(0).close()

    pid = os.fork()
    if pid == 0:
        try:
            user = pwd.getpwnam(USER)
            os.setgroups([grp.getgrnam(GROUP).gr_gid])
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            work()
        finally:
            os._exit(0)
    return pid


def test_an_unknown_group_stops_the_start(make_server):
    """With the setting's line."""
    server = make_server(policy=POLICY, extra='control_group = "nobody-has-this"')
    refused = server.command("serve")
    assert refused.returncode == 78
    assert 'group "nobody-has-this" does not exist on this machine' in refused.stderr
