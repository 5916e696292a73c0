"""TCP sockets: both families, and only for whom they are meant."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket

import pytest

from loadtest.errors import SetupError
from loadtest.servers.ports import free_port
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FORGED, REJECT
from tests.process.waiting import eventually

ANSWER = f"action={REJECT}\n\n".encode()


def ask(address, source=None):
    with socket.create_connection(address, 10, source_address=source) as client:
        client.sendall(FORGED)
        return client.recv(1000)


@pytest.fixture
def make_inet(make_server):
    def make(allow):
        port = free_port()
        server = make_server(extra=f"allow = {allow}")
        text = server.settings.read_text()
        every = f'"inet:0.0.0.0:{port}", "inet:[::]:{port}"]'
        server.settings.write_text(text.replace(f'"unix:{server.socket_path}"]', every))
        server.start()
        return server, port

    return make


def test_both_families_answer(make_inet):
    """The same port of IPv4 and IPv6, from the loopback, which is what the default admits."""
    _, port = make_inet('["127.0.0.0/8", "::1"]')
    assert ask(("127.0.0.1", port)) == ANSWER
    if socket.has_ipv6:
        assert ask(("::1", port)) == ANSWER


def test_a_peer_that_is_not_allowed_is_hung_up_on(make_inet):
    """It gets no answer, the log says who it was; a reload applies a new list."""
    server, port = make_inet('["127.0.0.2"]')
    assert ask(("127.0.0.1", port), ("127.0.0.2", 0)) == ANSWER
    with contextlib.suppress(ConnectionError):
        assert ask(("127.0.0.1", port)) == b""
    eventually(lambda: "127.0.0.1 is not in server.allow" in server.said())
    text = server.settings.read_text()
    server.settings.write_text(text.replace('["127.0.0.2"]', '["127.0.0.0/8"]'))
    assert server.reload().returncode == 0
    assert ask(("127.0.0.1", port)) == ANSWER


def test_a_network_that_is_none_is_told(make_server):
    """Host bits set: the setting, the reason, status 1 of check."""
    server = make_server()
    server.settings.write_text(server.settings.read_text().replace("[server]", '[server]\nallow = ["192.0.2.1/24"]'))
    done = server.command("check")
    assert done.returncode == 1
    assert "192.0.2.1/24 has host bits set" in done.stdout


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


both_families = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare") or not has_ipv6(),
    reason="needs root, unshare and ::1: the server gets a hosts file of its own",
)


@pytest.fixture
def make_named(make_server, folder, monkeypatch):
    """A function that makes a server on a host name and the port, and one that writes the name's addresses. The server
    starts in a mount namespace of its own, where they are /etc/hosts.
    """
    hosts = folder / "hosts"
    script = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    monkeypatch.setattr(
        "loadtest.servers.server.FORKPOLICY", ("unshare", "-m", "/bin/sh", "-c", script, "sh", *FORKPOLICY)
    )

    def resolve(*addresses):
        hosts.write_text("".join(f"{address} policy.test\n" for address in addresses))

    made = []

    def make(*addresses, metrics=False):
        resolve(*addresses)
        port = free_port()
        server = make_server()
        made.append(server)
        text = server.settings.read_text().replace(f'"unix:{server.socket_path}"', f'"inet:policy.test:{port}"')
        if metrics:
            text += f'[metrics]\nlisten = "inet:policy.test:{free_port()}"\n'
        server.settings.write_text(text)
        return server, port

    make.resolve = resolve
    yield make
    for server in made:
        # After an upgrade that is another master than the one which was started.
        server.command("stop")


def listening(port):
    """Address and inode of every TCP socket that listens on a port."""
    text = "".join(pathlib.Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    rows = [line.split() for line in text.splitlines()]
    return {row[1]: row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}


@both_families
def test_every_address_of_a_name_answers(make_named):
    """Those of both families, as Postfix does for a name in master.cf; status, log and metrics name them."""
    server, port = make_named("127.0.0.1", "::1", "127.0.0.2", metrics=True)
    server.start()
    for host in ("127.0.0.1", "::1", "127.0.0.2"):
        assert ask((host, port)) == ANSWER
    expected = {f"inet:127.0.0.1:{port}", f"inet:[::1]:{port}", f"inet:127.0.0.2:{port}"}
    assert set(server.status()["sockets"]) == expected
    for host in ("127.0.0.1", "::1"):
        assert b"forkpolicy_info" in fetch((host, metrics_port(server)))


def metrics_port(server):
    """The last number in its settings."""
    return int(server.settings.read_text().rpartition(":")[2].partition('"')[0])


def fetch(address):
    with socket.create_connection(address, 10) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b""))


@both_families
def test_an_upgrade_follows_the_addresses_of_a_name(make_named):
    """Sockets of addresses that stay are passed on, not bound again; those that are gone are closed, new ones made."""
    server, port = make_named("127.0.0.1", "::1", metrics=True)
    server.start()
    before = listening(port)
    make_named.resolve("127.0.0.1", "127.0.0.3")
    old = server.status()["pid"]
    server.process.send_signal(signal.SIGUSR2)
    assert server.process.wait(30) == 0
    server.process = None
    assert server.status()["pid"] != old
    after = listening(port)
    stays = "0100007F"
    assert {name.partition(":")[0] for name in after} == {stays, "0300007F"}
    assert after[f"{stays}:{port:04X}"] == before[f"{stays}:{port:04X}"]
    assert ask(("127.0.0.3", port)) == ask(("127.0.0.1", port)) == ANSWER
    assert len(listening(metrics_port(server))) == 2
    for host in ("127.0.0.1", "127.0.0.3"):
        assert b"forkpolicy_info" in fetch((host, metrics_port(server)))
    assert server.command("stop").returncode == 0


@both_families
def test_an_address_of_a_name_that_is_not_ours_is_told(make_named):
    """Which address it is, of which name, and what to do; nothing listens on the others."""
    server, port = make_named("127.0.0.1", "192.0.2.1")
    with pytest.raises(SetupError, match=r"cannot listen on 192\.0\.2\.1, which is an address of policy\.test: Cannot"):
        server.start()
    assert not listening(port)
