"""Ports of tests and demos: nobody else is given one, and the kernel gives none of them to a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loadtest.servers.ports import free_port

MANY = "from loadtest.servers.ports import free_port\nprint(*(free_port(3) for _ in range(40)), flush=True)\ninput()"


def ask_for_ports(_number):
    asking = subprocess.Popen([sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return asking, [int(port) for port in asking.stdout.readline().split()]


def test_no_port_is_given_twice():
    """Processes that ask at the same time, and keep what they have: each port, and that three above it."""
    with ThreadPoolExecutor() as pool:
        every = list(pool.map(ask_for_ports, range(4)))
    for asking, _ in every:
        asking.communicate("\n")
    ports = [port + far for _, found in every for port in found for far in (0, 3)]
    assert len(ports) == len(set(ports)) == 4 * 40 * 2


def test_they_are_below_those_of_connections():
    """The kernel's own range is for connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 10_000 <= free_port() < first
    assert free_port(10_000) + 10_000 < first


def test_one_that_somebody_has_is_not_given(monkeypatch):
    """For TCP or for UDP."""
    monkeypatch.setattr(os, "getpid", lambda: 0)
    given = free_port()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as taken:
            taken.bind(("127.0.0.1", given + 1))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            given = free_port()
            assert given > taken.getsockname()[1]
