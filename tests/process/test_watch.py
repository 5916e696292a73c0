"""Tables that follow this machine's networks, in a network namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from loadtest.policy_client import PolicyClient
from loadtest.server import COMPILE, FORKPOLICY
from tests.process.conftest import eventually, request

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
    monkeypatch.setattr("loadtest.server.FORKPOLICY", (*inside, *FORKPOLICY))
    monkeypatch.setattr("loadtest.server.COMPILE", (*inside, *COMPILE))
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
        assert client.ask(request(client_address="10.11.249.1")) == "DUNNO"


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
