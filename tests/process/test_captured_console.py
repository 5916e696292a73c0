"""A console that has become an attacker's: its user's rights, and whatever bytes it likes where it may write.

It can refuse mail, as its rules may. It reads no file of others, sends no mail elsewhere and copies none, lets nothing
in that the administrator's rules before the `include` refuse, and stops no server.
"""

from __future__ import annotations

import contextlib
import grp
import itertools
import json
import os
import signal
import threading

import pytest

from forkpolicy.control_client import ask
from forkpolicy.errors import ForkpolicyError
from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import FINE, FORGED, POLICY, REJECT
from tests.process.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
GROUP = "games"
CONSOLE = 12345
SECRET = "sEcReT"
HOSTILE = {
    "an acl of the policy": "acl from_us sender @nowhere.example\n",
    "an action of the policy": "action prove_it DUNNO\n",
    "another default": "action default OK\n",
    "an exemption": "acl x sender /./\naction y DUNNO\naccess x y\naccess from_us y\n",
    **{
        reply: f"acl x sender /./\naction y {reply}\naccess x y\n"
        for reply in (
            *("OK", "DISCARD", "HOLD", "REDIRECT a@evil.example", "BCC a@evil.example", "FILTER smtp:[192.0.2.1]"),
            *("PREPEND X-Spam: no", "{sender}", "REJECT no"),
        )
    },
    "a value file": "acl x sender {secret}\naction y REJECT no\naccess x y\n",
    "an include": "include {secret}\n",
    "a table of its own": "table x domain {secret}\n",
    "a service": "acl x service unix:/run/elsewhere OK\naction y {{match.x}}\naccess x y\n",
    "nested acls": "acl x0 sender a@b\nacl x1 sender c@d\n"
    + "".join(f"acl x{n} any x{n - 1} !x{n - 2} x{n - 1}\n" for n in range(2, 60))
    + "access x59\n",
    "a deep acl": "acl x0 sender a@b\n" + "".join(f"acl x{n} any x{n - 1}\n" for n in range(1, 1500)),
    "large expressions": "".join(f"acl x{n} sender /(\\pL{{15}}\\PN){{30}}{n}/\n" for n in range(1500)),
    "a million rules": "access from_us\n" * 1_000_000,
    "a long line": "access " + "!from_us " * 100_000 + "\n",
    "no text": b"\xff\x00\x01" * 1000,
}


@pytest.fixture
def server(make_server):
    """A server that includes what the console writes, whose user may ask for a reload."""
    server = make_server(
        f"{POLICY}include theirs/rules.conf restricted\n", extra=f'control_group = "{GROUP}"', workers=2
    )
    server.theirs = server.directory / "theirs"
    server.theirs.mkdir()
    os.chown(server.theirs, CONSOLE, CONSOLE)
    server.rules = server.theirs / "rules.conf"
    server.secret = server.directory / "secret"
    server.secret.write_text(f"{SECRET} word\n")
    server.secret.chmod(0o600)
    server.start()
    return server


def as_console(work):
    """What `work` returns, in a process of the console's user that can regain nothing."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([grp.getgrnam(GROUP).gr_gid])
            os.setresgid(CONSOLE, CONSOLE, CONSOLE)
            os.setresuid(CONSOLE, CONSOLE, CONSOLE)
            os.write(write_end, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def reload_of(server):
    """The reply to a reload that the console asks for."""
    try:
        return ask(str(server.directory / "control"), {"command": "reload"}, 120)
    except ForkpolicyError as error:
        return {"ok": False, "error": str(error)}


@contextlib.contextmanager
def mail(server):
    """Requests all the time, while something happens: each forged one is refused, and every reply is one of two."""
    ended, seen = threading.Event(), []

    def send():
        with PolicyClient(server.socket_path) as client:
            while not ended.is_set():
                seen.append((client.ask(FORGED), client.ask(FINE)))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert {forged for forged, _ in seen} == {REJECT}
    assert {fine for _, fine in seen} <= {"DUNNO", "REJECT no"}


def shows_nothing(server, *said):
    """No word of the secret is in what the console reads, in the log or in the status."""
    told = json.dumps([said, server.status()])
    assert SECRET not in told
    assert SECRET not in server.said()


def test_whatever_its_rules_say(server):
    """Every reload is answered; none of them ends a worker, and a start afterwards serves."""
    workers = server.worker_pids()
    replies = []
    with mail(server):
        for text in HOSTILE.values():
            data = text if isinstance(text, bytes) else text.replace("{secret}", str(server.secret)).encode()

            def work(data=data):
                server.rules.write_bytes(data)
                return reload_of(server)

            replies.append(as_console(work))
    loaded = {name for name, reply in zip(HOSTILE, replies, strict=True) if reply["ok"]}
    assert loaded == {"an exemption", "REJECT no"}
    assert server.worker_pids() == workers
    shows_nothing(server, replies)
    for name in ("a deep acl", "no text", "an exemption"):
        text = HOSTILE[name]
        server.rules.write_bytes(text if isinstance(text, bytes) else text.encode())
        server.stop()
        server.start()
        with PolicyClient(server.socket_path) as client:
            assert client.ask(FORGED) == REJECT
    shows_nothing(server)


def test_whatever_stands_in_the_place_of_its_rules(server):
    """Links, pipes, directories; another name of a secret, which a kernel without fs.protected_hardlinks allows."""
    places = {
        "link": lambda: server.rules.symlink_to(server.secret),
        "device": lambda: server.rules.symlink_to("/dev/zero"),
        "itself": lambda: server.rules.symlink_to(server.rules),
        "pipe": lambda: os.mkfifo(server.rules),
        "directory": server.rules.mkdir,
        "hard link": lambda: server.rules.hardlink_to(server.secret),
    }
    replies = []
    with mail(server):
        for name, make in places.items():
            make() if name == "hard link" else as_console(make)
            replies.append(as_console(lambda: reload_of(server)))
            server.rules.rmdir() if name == "directory" else server.rules.unlink()
    assert not any(reply["ok"] for reply in replies)
    shows_nothing(server, replies)
    assert as_console(lambda: reload_of(server))["ok"]


def test_what_changes_while_it_is_read(server):
    """Its file becomes a link to a secret and a file again, and its directory another one, thousands of times."""
    aside = server.directory / "aside"
    aside.mkdir()
    (aside / "rules.conf").write_text(f"{SECRET} elsewhere\n")
    above = server.directory / "above"
    above.mkdir()
    os.chown(above, CONSOLE, CONSOLE)
    (above / "theirs").mkdir()
    os.chown(above / "theirs", CONSOLE, CONSOLE)
    server.write_policy(f"{POLICY}include above/theirs/rules.conf restricted\n")
    swapping = os.fork()
    if swapping == 0:
        try:
            os.setgroups([])
            os.setresgid(CONSOLE, CONSOLE, CONSOLE)
            os.setresuid(CONSOLE, CONSOLE, CONSOLE)
            swap(above, server.secret, aside)
        finally:
            os._exit(0)
    try:
        with mail(server):
            replies = [as_console(lambda: reload_of(server)) for _ in range(12)]
    finally:
        os.kill(swapping, signal.SIGKILL)
        os.waitpid(swapping, 0)
    shows_nothing(server, replies)
    assert eventually(server.status)["workers"]


def swap(above, secret, aside):
    """For ever."""
    theirs, kept, rules = above / "theirs", above / "kept", above / "theirs" / "rules.conf"
    for turn in itertools.count():
        with contextlib.suppress(OSError):
            rules.unlink(missing_ok=True)
            rules.symlink_to(secret)
            rules.unlink()
            rules.write_text("access from_us\n")
            if turn % 2:
                theirs.rename(kept)
                theirs.symlink_to(aside)
                theirs.unlink()
                kept.rename(theirs)
