"""Real name servers of Debian, started by a test on loopback and ended by it: rbldnsd, Knot and unbound."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time

import pytest

from loadtest.servers.names.messages import HEADER, wire_name
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import traversable_directory

LOOPBACK = "127.0.0.1"
READY_S = 20


def program(name):
    """The path of a server, or the test is skipped."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if not found:
        pytest.skip(f"{name} is not installed (tests/servers.sh)")
    return found


@contextlib.contextmanager
def rbldnsd(zones):
    """DNS lists: for each zone its kind of data set and its lines. Gives the port."""
    port = free_port()
    # It refuses to run as root, and reads the zones as somebody else.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with traversable_directory() as directory:
        specs = []
        for number, (zone, (kind, lines)) in enumerate(zones.items()):
            (directory / f"zone{number}").write_text("\n".join(lines) + "\n")
            specs.append(f"{zone}:{kind}:zone{number}")
        command = [program("rbldnsd"), "-n", *user, "-b", f"{LOOPBACK}/{port}", "-w", directory, *specs]
        with _running(command, port, next(iter(zones))):
            yield port


@contextlib.contextmanager
def knot(directory, zone, text):
    """One zone of a zone file. Gives the port."""
    port = free_port()
    (directory / "knot.zone").write_text(text)
    configuration = directory / "knot.conf"
    configuration.write_text(
        f"server:\n  listen: {LOOPBACK}@{port}\n  rundir: {directory}\n"
        f"database:\n  storage: {directory}\n"
        f"template:\n  - id: default\n    storage: {directory}\n    zonefile-sync: -1\n    journal-content: none\n"
        f"zone:\n  - domain: {zone}\n    file: knot.zone\n"
    )
    with _running([program("knotd"), "-c", configuration], port, zone):
        yield port


@contextlib.contextmanager
def unbound(directory, stubs, *, more=""):
    """A resolver that asks, for each zone, the server on the port that `stubs` has. Gives the port."""
    port = free_port()
    configuration = directory / "unbound.conf"
    server = (
        f"server:\n interface: {LOOPBACK}@{port}\n do-daemonize: no\n use-syslog: no\n"
        f' username: ""\n chroot: ""\n directory: "{directory}"\n pidfile: ""\n'
        ' do-not-query-localhost: no\n module-config: "iterator"\n' + more
    )
    zones = "".join(f'stub-zone:\n name: "{zone}"\n stub-addr: {LOOPBACK}@{of}\n' for zone, of in stubs.items())
    configuration.write_text(f"{server}\nremote-control:\n control-enable: no\n{zones}")
    with _running([program("unbound"), "-d", "-p", "-c", configuration], port, "localhost"):
        yield port


@contextlib.contextmanager
def _running(command, port, zone):
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _until_it_answers(process, port, zone)
        yield
    finally:
        process.kill()
        process.communicate()


def _until_it_answers(process, port, zone):
    """Ask for the zone's SOA record until something comes back."""
    end = time.monotonic() + READY_S
    question = HEADER.pack(7, 0, 1, 0, 0, 0) + wire_name(zone) + b"\0\x06\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((LOOPBACK, port))
        asked.settimeout(0.05)
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                asked.send(question)
                asked.recv(4096)
                return
            assert process.poll() is None, process.stdout.read()
    raise AssertionError(f"{process.args[0]} does not answer")
