"""Whether the server may reach the servers that its policy asks: a resolver, an engine, a service.

What is in the way is a line of its systemd unit, or the rights of a file. A start judges its own unit, and tries to
send where IPAddressDeny= has the address: that line is not in force on every kernel (systemd needs cgroup 2 and BPF,
and goes on without them). A check judges the shipped unit of these settings. Everything found is a warning, because
the rest of the policy works. Raises nothing and takes seconds at most.
"""

from __future__ import annotations

import errno
import grp
import ipaddress
import os
import pwd
import re
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.process import Identity, answer_as, own_user
from forkpolicy.rights import exists, why_refused
from forkpolicy.systemd_unit import PATIENCE_S, Line, Unit, own_unit, read_unit, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.systemd_unit import Address

RESOLV_CONF: Final = Path("/etc/resolv.conf")
HOSTS: Final = Path("/etc/hosts")
# Any port does, and nobody listens on this one.
_DISCARD: Final = 9
_ALLOWING: Final = {
    "PrivateNetwork": "PrivateNetwork=no",
    "RestrictAddressFamilies": "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
}


class AskedServer(NamedTuple):
    """A server that the policy asks. `name`: as messages name it; `at`: makes a diagnostic of a message and a hint
    where the server is named; `endpoints`: `unix:/PATH`, `inet:HOST:PORT`; `files`: what is read to talk to it.
    """

    name: str
    at: Callable[[str, str], Diagnostic]
    endpoints: tuple[str, ...]
    files: tuple[str, ...] = ()


def name_servers() -> tuple[str, ...]:
    """The endpoints of the system's resolvers; without any in /etc/resolv.conf the one of resolv.conf(5)."""
    try:
        found = re.findall(r"^nameserver\s+(\S+)", RESOLV_CONF.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError:
        found = []
    return tuple(f"inet:[{each}]:53" if ":" in each else f"inet:{each}:53" for each in found or ["127.0.0.1"])


def find_unreachable(
    servers: Sequence[AskedServer],
    settings_path: str,
    identity: Identity | None,
    *,
    starts: bool,
    service: str = "forkpolicy",
) -> Iterator[Diagnostic]:
    """A warning for each obstacle. `starts`: this process will be the master, otherwise it checks; `identity`: what the
    workers of a root master become; `service`: whose shipped unit is judged.
    """
    if not servers:
        return
    name = own_unit() if starts else unit_of(settings_path, service)
    unit = read_unit(name)
    if unit and not starts and os.geteuid() == 0:
        identity = _user_of(unit)
    for server in (*servers, *_resolvers(servers)):
        for line, addresses in _denied(server, name, unit, starts=starts).items():
            yield _cannot_reach(server, name, line, addresses)
        yield from _closed_files(server, unit, identity)


def _user_of(unit: Unit) -> Identity | None:
    """The user as which a unit starts, with all groups; None for root, and for one that does not exist."""
    try:
        user = pwd.getpwnam(unit.user)
        groups = [grp.getgrnam(each).gr_gid for each in unit.groups]
    except KeyError:
        return None
    groups += os.getgrouplist(user.pw_name, user.pw_gid)
    return Identity(user.pw_name, user.pw_uid, user.pw_gid, tuple(groups)) if user.pw_uid else None


def _denied(server: AskedServer, name: str, unit: Unit | None, *, starts: bool) -> dict[Line, list[Address]]:
    """The server's addresses that a line keeps away."""
    denied: dict[Line, list[Address]] = {}
    for address in dict.fromkeys(each for endpoint in server.endpoints for each in _addresses(endpoint)):
        line = unit.line_against_sockets(address) if unit else None
        if not line and not (starts and _may_send(address)):
            # A refused datagram is all that is known where systemd says nothing of the unit.
            unknown = Line("IPAddressDeny", "IPAddressDeny=", name) if starts and name else None
            line = unit.line_against_packets(address) if unit else unknown
        if line:
            denied.setdefault(line, []).append(address)
    return denied


def _may_send(address: Address) -> bool:
    """Whether an empty datagram to an address is taken; it dies at the first router. (A TCP connection to an address
    that IPAddressDeny= has is not refused, but waits for its time-out: systemd 252, Linux 6.18.)
    """
    is_6 = address.version == 6
    try:
        with socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            if is_6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            else:
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            probe.sendto(b"", (str(address), _DISCARD))
    except OSError as error:
        # Others, such as no route before the network is up, say nothing of the unit.
        return error.errno != errno.EPERM
    return True


def _cannot_reach(server: AskedServer, unit: str, line: Line, addresses: Sequence[Address]) -> Diagnostic:
    texts = " ".join(map(str, addresses))
    wanted = _ALLOWING.get(line.key, f"IPAddressAllow={texts}")
    hint = f"systemctl edit {unit}: add the lines [Service] and {wanted}; then systemctl restart {unit}"
    return _warning(server, f"{texts} cannot be reached: {line.place}: {line.text}", hint)


def _resolvers(servers: Sequence[AskedServer]) -> Iterator[AskedServer]:
    """The system's resolvers, where a server's host has a name that /etc/hosts does not have."""
    try:
        known = set(HOSTS.read_text("utf-8", "replace").split())
    except OSError:
        known = set()
    for server in servers:
        for host in (_host(each) for each in server.endpoints if each.startswith("inet:")):
            if not _literal(host) and host not in known:
                yield AskedServer(f"resolver, for the address of {host}", server.at, name_servers())
                return


def _host(endpoint: str) -> str:
    return endpoint.removeprefix("inet:").rpartition(":")[0].strip("[]")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _addresses(endpoint: str) -> list[Address]:
    """The addresses of an `inet:` endpoint. A name is looked up in a process that can be given up, which getaddrinfo(3)
    cannot; one that is not known is for who asks the server.
    """
    if not endpoint.startswith("inet:"):
        return []
    host = _host(endpoint)
    if literal := _literal(host):
        return [literal]
    words = ("getent", "ahosts", host)
    try:
        shown = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    found = (_literal(line.split()[0]) for line in shown.splitlines() if line)
    return [each for each in found if each]


def _closed_files(server: AskedServer, unit: Unit | None, identity: Identity | None) -> Iterator[Diagnostic]:
    """A warning for each socket and file that the unit hides, or that has not the rights for its user."""
    wanted = [each.removeprefix("unix:") for each in server.endpoints if each.startswith("unix:")]
    for path in (*wanted, *server.files):
        if line := unit.line_hiding(path) if unit else None:
            hint = "have it elsewhere, for instance below /run or /etc"
            yield _warning(server, f"{path} cannot be reached: {line.place}: {line.text}", hint)
            continue
        try:
            refused = (answer_as(identity, _why_refused, [path]) if identity else _why_refused([path]))[0]
        except OSError:
            # This process may not become that user, which the start reports.
            continue
        if refused:
            user = f"user {identity.user}" if identity else own_user()
            hint = "change its rights, or add its group in a drop-in of the unit: SupplementaryGroups="
            yield _warning(server, f"{user} may not use {path}: {refused}", hint)


def _why_refused(paths: list[str]) -> list[str]:
    """Why this user may not write to a socket, or read a file; empty when it may, or there is nothing."""
    # Connecting to a socket takes the right to write to it (unix(7)).
    wanted = {path: os.W_OK if exists(Path(path)) and Path(path).is_socket() else os.R_OK for path in paths}
    return [why_refused(Path(path), wanted[path]) for path in paths]


def _warning(server: AskedServer, message: str, hint: str) -> Diagnostic:
    return replace(server.at(f"{server.name}: {message}", hint), severity="warning")
