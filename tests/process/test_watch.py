"""Tables that follow this machine's networks, in a network namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.server import COMPILE, FORKPOLICY
from tests.process.conftest import request
from tests.process.waiting import eventually

POLICY = """
table here cidr interfaces:
acl from_inside client_address table:here
action outside REJECT from outside
access !from_inside outside
"""
ASKED = request(client_address="198.51.100.7")


def run_ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespace():
    """A network namespace with a pair of interfaces; gone with the test."""
    name = f"forkpolicy-test-{os.getpid()}"
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and ip (apt-get install iproute2)")
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no network namespaces")
    try:
        run_ip("-n", name, "link", "set", "lo", "up")
        run_ip("-n", name, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        run_ip("-n", name, "link", "set", "veth0", "up")
        run_ip("-n", name, "link", "set", "veth1", "up")
        yield name
    finally:
        run_ip("netns", "del", name)


@pytest.fixture
def server(namespace, make_server, monkeypatch):
    """A server in the namespace that watches it."""
    inside = ("ip", "netns", "exec", namespace)
    monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", (*inside, *FORKPOLICY))
    monkeypatch.setattr("loadtest.servers.server.COMPILE", (*inside, *COMPILE))
    server = make_server(POLICY)
    server.settings.write_text("watch_interfaces = true\n" + server.settings.read_text())
    server.start()
    return server


def test_a_table_follows_the_machines_addresses(server, namespace):
    """Within two seconds of a new address its network is inside; of its loss, outside again."""
    with PolicyClient(server.socket_path) as client:
        assert client.ask(ASKED) == "REJECT from outside"
        for _ in range(2):
            run_ip("-n", namespace, "addr", "add", "198.51.100.1/24", "dev", "veth0")
            eventually(lambda: client.ask(ASKED) == "DUNNO", 4)
            run_ip("-n", namespace, "addr", "del", "198.51.100.1/24", "dev", "veth0")
            eventually(lambda: client.ask(ASKED) == "REJECT from outside", 4)
    assert "networks compiled" in server.said()


def test_an_overrun_of_events_is_one_listing_more(server, namespace):
    """More changes than the kernel's buffer takes: what is true at the end is what the table says."""
    with PolicyClient(server.socket_path) as client:
        batch = "".join(f"addr add 10.{n // 250}.{n % 250}.1/32 dev veth0\n" for n in range(3000))
        batch += "addr add 198.51.100.1/24 dev veth0\n"
        subprocess.run(["ip", "-n", namespace, "-batch", "-"], input=batch, text=True, check=True, capture_output=True)
        eventually(lambda: client.ask(ASKED) == "DUNNO")
        # A listing in the midst of it has the route of the last address, and not yet all addresses.
        eventually(lambda: client.ask(request(client_address="10.11.249.1")) == "DUNNO")


def test_a_compile_that_failed_is_tried_again(server, namespace):
    """What stood in the way goes away without an event of the kernel's: the table still becomes true."""
    lock = server.directory / "compiled" / ".compile.lock"
    # An IPv6 address is an event again when the kernel has found it to be nobody else's.
    eventually(lambda: not subprocess.check_output(["ip", "-n", namespace, "addr", "show", "tentative"]))
    with PolicyClient(server.socket_path) as client:
        lock.unlink(missing_ok=True)
        lock.mkdir()
        # A compile that ran meanwhile has ended when the first failure is logged.
        run_ip("-n", namespace, "addr", "add", "203.0.113.1/24", "dev", "veth0")
        eventually(lambda: server.said().count("networks not compiled") == 1)
        server.write_policy("table")
        run_ip("-n", namespace, "addr", "add", "198.51.100.1/24", "dev", "veth0")
        # Another failure: the event has been met, and no other one will come.
        eventually(lambda: server.said().count("networks not compiled") == 2)
        assert client.ask(ASKED) == "REJECT from outside"
        server.write_policy(POLICY)
        lock.rmdir()
        eventually(lambda: client.ask(ASKED) == "DUNNO", 20)
        eventually(lambda: "networks compiled after a failure" in server.said())


def test_a_bridge_is_named_in_a_warning(server, namespace):
    """Whatever hangs on a bridge counts as local, so the compile says so; interfaces that are named are meant."""
    if subprocess.run(["ip", "-n", namespace, "link", "add", "br0", "type", "bridge"], check=False).returncode:
        pytest.skip("this kernel has no bridges")
    run_ip("-n", namespace, "link", "set", "br0", "up")
    run_ip("-n", namespace, "addr", "add", "172.17.0.1/16", "dev", "br0")
    inside = ["ip", "netns", "exec", namespace, *COMPILE, "-c", str(server.settings), "--allow-shrink"]
    said = subprocess.run(inside, capture_output=True, text=True, check=True).stderr
    assert "br0 is a bridge: every container and virtual machine behind it counts as local" in said
    server.write_policy(POLICY.replace("interfaces:", "interfaces:lo,br0"))
    assert "bridge" not in subprocess.run(inside, capture_output=True, text=True, check=True).stderr


def test_the_log_has_a_warning_when_it_is_new(server, namespace):
    """A bridge is named in the log of the server when it comes, and not again whenever addresses change."""
    if subprocess.run(["ip", "-n", namespace, "link", "add", "br0", "type", "bridge"], check=False).returncode:
        pytest.skip("this kernel has no bridges")
    run_ip("-n", namespace, "link", "set", "br0", "up")
    for number in range(3):
        before = server.said().count('"networks compiled"')
        run_ip("-n", namespace, "addr", "add", f"172.1{number}.0.1/16", "dev", "br0")
        eventually(lambda before=before: server.said().count('"networks compiled"') > before)
    assert server.said().count("br0 is a bridge: every container") == 1


def test_routes_of_a_vpn_do_not_keep_a_table_from_following(server, namespace):
    """Halves of the default route are no networks of the machine: the log names them, and what comes later counts."""
    for family, halves in (("-4", ("0.0.0.0/1", "128.0.0.0/1")), ("-6", ("::/1", "8000::/1"))):
        for half in halves:
            run_ip("-n", namespace, family, "route", "add", half, "dev", "veth0")
    with PolicyClient(server.socket_path) as client:
        run_ip("-n", namespace, "addr", "add", "198.51.100.1/24", "dev", "veth0")
        eventually(lambda: client.ask(ASKED) == "DUNNO", 4)
        assert client.ask(request(client_address="8.8.8.8")) == "REJECT from outside"
    eventually(lambda: "0.0.0.0/1 on veth0, 128.0.0.0/1 on veth0, ::/1 on veth0, 8000::/1 on veth0" in server.said())
    assert "networks not compiled" not in server.said()


def test_the_watcher_is_replaced_and_ends_with_its_master(server):
    """A killed watcher comes back; none is left behind (the fixture looks)."""
    watcher = eventually(lambda: _watcher(server))
    os.kill(watcher, 9)
    eventually(lambda: _watcher(server) not in (None, watcher))


def _watcher(server):
    for pid in server.process_ids():
        title = subprocess.run(
            ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        if title.startswith("forkpolicy: networks"):
            return pid
    return None
