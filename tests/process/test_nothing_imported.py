"""An environment that only root may enter: what a process will ever import is there before it gives up root."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.names.behaviours import has, listed, truncated
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from loadtest.servers.ports import free_port
from tests.process.conftest import FINE, FORGED, POLICY, REJECT, request
from tests.process.test_redis_client import ClusterServers, Sentinels, certificates
from tests.process.test_state import FORGETFUL
from tests.process.waiting import eventually
from tests.redis_servers import RedisServer, needs_redis

__all__ = ["certificates"]

# Notes what every child imports, then is `forkpolicy`, with a bug. A child: what was forked, not started as a program.
NOTING = """
import os, sys
main, noted = os.getpid(), os.open({noted!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
def note(event, arguments):
    if event == "import" and os.getpid() != main:
        os.write(noted, f"{{arguments[0]}}\\n".encode())
sys.addaudithook(note)
sys.path[:] = {path!r}
from forkpolicy.commands import main as run
from forkpolicy.worker.generation import Generation
finish = Generation.finish
def faulty(self, outcome, values, raw, elapsed_us):
    return finish(self, outcome, values, None if b"=a bug" in raw else raw, elapsed_us)
Generation.finish = faulty
sys.exit(run())
"""
# Whatever a policy can have that a library looks up: a zone, a domain in another script, expressions, a table.
EVERYTHING = """
table  domains domain domains
acl    night   time 22:00-06:00 tz=Europe/Madrid
acl    b       sender @b\u00fccher.example
acl    r       sender /^news-[0-9]+@/
acl    n       client_address 192.0.2.0/24 2001:db8::/32
acl    d       day Monday-Friday
acl    size    size 10M
acl    from_us sender table:domains
acl    score   score >1
action up      score 2
action text    REJECT 5.7.1 no {sender_domain} {match.from_us}
access night d up
access b r n size score text
access from_us text
"""


@pytest.fixture
def noted(tmp_path):
    """Where imports are noted."""
    path = tmp_path / "imports"
    path.write_text("")
    path.chmod(0o666)
    return path


@pytest.fixture
def make_noting(make_server, monkeypatch, noted):
    """Servers that note imports; `path`: where they find modules."""

    def make(path=tuple(sys.path), **more):
        code = NOTING.format(noted=str(noted), path=list(path))
        monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", (sys.executable, "-c", code))
        return make_server(**more)

    return make


def with_url(settings, section, url):
    """Settings with a URL in that section, which may be there already."""
    header = f"[{section}]\n"
    return (settings if header in settings else settings + header).replace(header, f'{header}url = "{url}"\n')


def workers_seen(server):
    return {worker["pid"] for worker in server.obey("status")["workers"]}


def hand_over(server, client):
    """Other workers, and the connection with them."""
    before = workers_seen(server)
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: workers_seen(server) and not workers_seen(server) & before)
    return client.ask(FORGED)


def test_children_import_nothing(make_noting, noted):
    """First table, first error, reload, hand-over, metrics, upgrade, stack dump: no child of the master imports."""
    server = make_noting(workers=2)
    port = free_port()
    text = server.settings.read_text() + f'[metrics]\nlisten = "inet:127.0.0.1:{port}"\n'
    server.settings.write_text(text.replace('"acted"', '"all"').replace('"logfmt"', '"json"'))
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        assert client.ask(FINE) == "DUNNO"
        assert client.ask(request("x@b\u00fccher.example")) == "DUNNO"
        assert b"forkpolicy_requests" in urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
        server.write_policy(POLICY + "access no_such_acl prove_it\n")
        assert server.reload().returncode == 1
        server.write_policy(POLICY + "access from_uss prove_it\n")
        assert "did you mean" in server.reload().stderr
        server.write_policy(POLICY)
        good = server.settings.read_text()
        for section, url in (("state", "redis://localhost"), ("history", "postgresql://localhost/x")):
            server.settings.write_text(with_url(good, section, url))
            assert server.reload().returncode == 0
        server.settings.write_text(good)
        server.write_policy(EVERYTHING)
        assert server.reload().returncode == 0
        assert client.ask(request("x@example.com", "y@b\u00fccher.example", size="20000000")).startswith("REJECT 5.7.1")
        server.write_policy(POLICY)
        assert server.reload().returncode == 0
        assert hand_over(server, client) == REJECT
        assert client.ask(request(helo_name="a bug")).startswith("DEFER_IF_PERMIT")
        eventually(lambda: "AttributeError" in server.said())
        damage(server)
        eventually(lambda: "table refused" in server.said())
        os.kill(server.process.pid, signal.SIGUSR1)
        eventually(lambda: "log target reopened" in server.said())
        for pid in workers_seen(server):
            os.kill(pid, signal.SIGQUIT)
        eventually(lambda: "worker stderr" in server.said())
    server.stop()
    assert sorted(set(noted.read_text().split())) == []


WORLD = """
acl    listed  rbl bl.example
acl    vouched spf pass
action no      REJECT {match.listed}
action yes     WARN {match.vouched}
access listed no
access vouched yes
"""
NAMES = {
    "5.113.0.203.bl.example": listed("127.0.0.2", "because"),
    "macro.example": has(Record("TXT", b"v=spf1 exists:%{l}.macro.example mx ptr -all")),
    "6.113.0.203.in-addr.arpa": has(Record("PTR", "mx.macro.example")),
    "mx.macro.example": has(Record("A", "203.0.113.6")),
    "a=b.macro.example": truncated(has(Record("A", "127.0.0.2"))),
}


def test_the_world_is_asked_without_an_import(make_noting, noted):
    """DNS lists, their words, SPF with each kind of record, over UDP and TCP; a resolver that a reload has changed."""
    pytest.importorskip("spf", reason="DNS lists and SPF need forkpolicy[dns]")
    with NameServer(NAMES) as names, NameServer(NAMES) as others:
        server = make_noting(policy=WORLD, workers=1)
        with server.settings.open("a") as settings:
            settings.write(f'[dns]\nservers = ["{names.address}"]\n')
        server.start()
        for _ in range(2):
            with PolicyClient(server.socket_path) as client:
                assert client.ask(request(client_address="203.0.113.5")) == "REJECT because"
                for sender in ("a=b@macro.example", "carl@macro.example"):
                    assert client.ask(request(sender, client_address="203.0.113.6")).startswith("WARN pass (")
                assert client.ask(request("a@nowhere.example", client_address="203.0.113.6")) == "DUNNO"
            server.settings.write_text(server.settings.read_text().replace(names.address, others.address))
            assert server.reload().returncode == 0
        server.stop()
    assert sorted(set(noted.read_text().split())) == []


def test_a_reload_may_be_the_first_to_ask_dns_lists(make_noting, noted):
    """The workers are there before their policy has such an ACL."""
    pytest.importorskip("pycares", reason="DNS lists need forkpolicy[dns]")
    with NameServer(NAMES) as names:
        server = make_noting(policy=FORGETFUL, workers=1)
        with server.settings.open("a") as settings:
            settings.write(f'[dns]\nservers = ["{names.address}"]\n')
        server.start()
        server.write_policy("acl listed rbl bl.example\naction no REJECT {match.listed}\naccess listed no\n")
        assert server.reload().returncode == 0
        with PolicyClient(server.socket_path) as client:
            assert client.ask(request(client_address="203.0.113.5")) == "REJECT because"
        server.stop()
    assert sorted(set(noted.read_text().split())) == []


COUNTING = """
acl    busy rate {sender} 3/1h
action slow DEFER slow down
access busy slow
"""


@needs_redis
@pytest.mark.parametrize("kind", ["server", "tls", "sentinel", "cluster"])
def test_an_engine_is_asked_without_an_import(kind, make_noting, noted, folder, certificates):
    """Its scripts, its certificates, its masters and its nodes are found by workers that may read no module."""
    with engine_of(kind, folder, certificates) as settings:
        server = make_noting(policy=FORGETFUL, workers=1)
        server.settings.write_text(server.settings.read_text().replace("[state]\n", f"[state]\n{settings}\n"))
        server.start()
        server.write_policy(COUNTING)
        assert server.reload().returncode == 0
        with PolicyClient(server.socket_path) as client:
            eventually(lambda: client.ask(request(instance="1.a")) == "DUNNO")
            replies = [client.ask(request(instance=f"{number}.b")) for number in range(4)]
        assert replies == ["DUNNO", "DUNNO", "DEFER slow down", "DEFER slow down"]
        server.stop()
    assert sorted(set(noted.read_text().split())) == []


@contextlib.contextmanager
def engine_of(kind, folder, certificates):
    """The lines of `[state]` that name one of that kind."""
    with contextlib.ExitStack() as stack:
        if kind in ("sentinel", "cluster"):
            servers = (Sentinels if kind == "sentinel" else ClusterServers)(folder)
            lines = f'url = "{servers.access.url}"'
        elif kind == "tls":
            port, ca = free_port(), folder / "ca.pem"
            ca.write_bytes((certificates / "ca.pem").read_bytes())
            own = [f"--tls-{what}-file={certificates}/server.{end}" for what, end in (("cert", "pem"), ("key", "key"))]
            options = [word for option in own for word in option.split("=")]
            servers = RedisServer(folder / "tls", "--tls-port", str(port), *options, "--tls-auth-clients", "no")
            lines = f'url = "rediss://localhost:{port}"\nca_file = "{ca}"'
        else:
            servers = RedisServer(folder / "redis")
            lines = f'url = "{servers.url}"'
        stack.callback(servers.stop)
        yield lines


def damage(server):
    """A table of the same name that is none, in place of the good one."""
    path = server.directory / "compiled" / "domains.lmdb"
    bad = path.with_name("bad")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    bad.write_bytes(damaged)
    bad.chmod(0o644)
    bad.replace(path)


@pytest.fixture
def closed(tmp_path):
    """The modules' directories of this Python, below one that only root may enter."""
    if os.geteuid() != 0:
        pytest.skip("needs root, whose workers become somebody else")
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o700)
    return [
        str(linked(directory / str(number), Path(each))) for number, each in enumerate(sys.path) if Path(each).is_dir()
    ]


def linked(link, target):
    link.symlink_to(target)
    return str(link)


def test_an_environment_for_root_alone(make_noting, closed):
    """Workers that gave up root answer from their tables, apply a reload and hand over, and nothing is a bug."""
    server = make_noting(path=closed, workers=2)
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        assert server.reload().returncode == 0
        assert hand_over(server, client) == REJECT
    server.stop()
    assert "event=bug" not in server.said()
    assert "Traceback" not in server.said()
