"""A systemd unit as the service manager has loaded it: which of its lines keep it from addresses and paths.

Asks `systemctl show`, which every user may, and reads the unit's files to find the line. Raises nothing: without
systemd, or without its answer within seconds, there is no unit.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PATIENCE_S: Final = 2.0
# What these settings hide from a unit (systemd.exec(5)).
HIDDEN: Final = {"ProtectHome": ("/home", "/root", "/run/user"), "PrivateTmp": ("/tmp", "/var/tmp")}  # noqa: S108
_PROPERTIES: Final = (
    *("Id", "LoadState", "FragmentPath", "DropInPaths", "Slice", "User", "SupplementaryGroups"),
    *("IPAddressAllow", "IPAddressDeny", "RestrictAddressFamilies", "PrivateNetwork", *HIDDEN),
)
# Where the shipped units have their settings (contrib/systemd).
_SETTINGS: Final = re.compile(r"/etc/forkpolicy(?:-([^/]+))?/forkpolicy\.toml")


class Line(NamedTuple):
    """A line of a unit's file. `place`: `FILE:NUMBER`, or the unit's name where no file has it."""

    key: str
    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Unit:
    """The properties of a service and of the slices above it, the service's own first."""

    chain: tuple[dict[str, str], ...]

    @property
    def name(self) -> str:
        """The service's name."""
        return self.chain[0]["Id"]

    @property
    def user(self) -> str:
        """The user as which it starts."""
        return self.chain[0].get("User") or "root"

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that it gives that user in addition."""
        return tuple(self.chain[0].get("SupplementaryGroups", "").split())

    def line_hiding(self, path: str) -> Line | None:
        """What hides a path from the unit."""
        for key, directories in HIDDEN.items():
            hides = self.chain[0].get(key) in ("yes", "tmpfs", "disconnected")
            if hides and any(Path(path).is_relative_to(each) for each in directories):
                return _line(self.chain[0], key)
        return None

    def line_against_sockets(self, address: Address) -> Line | None:
        """What leaves the unit without sockets for such an address, or with a network of its own."""
        own = self.chain[0]
        if own.get("PrivateNetwork") == "yes":
            return _line(own, "PrivateNetwork")
        families = own.get("RestrictAddressFamilies", "~")
        is_listed = f"AF_INET{'6' * (address.version == 6)}" in families.lstrip("~").split()
        return _line(own, "RestrictAddressFamilies") if is_listed == families.startswith("~") else None

    def line_against_packets(self, address: Address) -> Line | None:
        """What denies packets to and from an address, in the unit or a slice; a line that allows them is stronger."""
        if any(_covers(each.get("IPAddressAllow", ""), address) for each in self.chain):
            return None
        denying = (each for each in self.chain if _covers(each.get("IPAddressDeny", ""), address))
        return next((_line(each, "IPAddressDeny") for each in denying), None)


def own_unit() -> str:
    """The name of the service that this process belongs to; empty when there is none."""
    try:
        groups = Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""
    found = re.search(r"^(?:0:|\d+:name=systemd):/(?:.*/)?([^/]+\.service)$", groups, re.MULTILINE)
    return found[1] if found else ""


def unit_of(settings_path: str, service: str = "forkpolicy") -> str:
    """The name of the shipped service that starts with such a settings file; empty when there is none."""
    found = _SETTINGS.fullmatch(settings_path)
    if not found:
        return ""
    return f"{service}@{found[1]}.service" if found[1] else f"{service}.service"


def read_unit(name: str) -> Unit | None:
    """The service of that name; None when there is no systemd, or it does not know the service."""
    own = _show([name]) if name else []
    if not own or own[0].get("LoadState") != "loaded":
        return None
    above = [own[0].get("Slice") or "system.slice"]
    while "-" in above[-1]:
        above.append(f"{above[-1].rpartition('-')[0]}.slice")
    return Unit((*own, *_show([*above, "-.slice"])))


def _show(names: Sequence[str]) -> list[dict[str, str]]:
    words = ("systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names)
    try:
        shown = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    blocks = (block.splitlines() for block in shown.strip().split("\n\n"))
    return [dict(line.split("=", 1) for line in block if "=" in line) for block in blocks]


def _line(properties: dict[str, str], key: str) -> Line:
    """The last line that sets `key`: drop-ins come after the unit's own file."""
    for path in reversed((properties.get("FragmentPath", ""), *properties.get("DropInPaths", "").split())):
        try:
            lines = Path(path).read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for number in range(len(lines), 0, -1):
            text = lines[number - 1].strip()
            if text.startswith(f"{key}="):
                return Line(key, text, f"{path}:{number}")
    return Line(key, f"{key}={properties[key]}", properties["Id"])


def _covers(networks: str, address: Address) -> bool:
    return any(address in ipaddress.ip_network(each, strict=False) for each in networks.split())
