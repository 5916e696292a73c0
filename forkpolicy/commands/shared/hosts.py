"""Hosts that share an engine, and in what they differ. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from forkpolicy.state.redis.hosts import HostReport, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Host:
    """One of them. `age_s`: since it has written its report."""

    name: str
    age_s: int
    report: HostReport

    @classmethod
    def of(cls, name: str, report: str, age_s: int) -> Self | None:
        """A host by what the engine has of it; None for what is not a report."""
        decoded = decode(report)
        return cls(name, age_s, decoded) if decoded else None


def hosts_as_text(hosts: Sequence[Host]) -> str:
    """The hosts, then what they run: a line for each thing that all have, one for each version where they differ."""
    if not hosts:
        return "no host has written what it runs: none serves a policy that remembers, or none for three minutes"
    width = max(len(host.name) for host in hosts)
    rows = [f"host     {host.name:<{width}}  {host.age_s} s ago  generation {host.report.generation}" for host in hosts]
    rows += compared("release", {host.name: host.report.version for host in hosts})
    rows += compared("policy", {host.name: host.report.policy for host in hosts})
    for table in sorted({name for host in hosts for name in host.report.tables}):
        rows += compared(f"table    {table}", {host.name: host.report.tables.get(table, "") for host in hosts})
    return "\n".join(rows)


def compared(what: str, versions: dict[str, str]) -> Iterator[str]:
    """A line, or one for each version of hosts (by name) that differ."""
    different = sorted(set(versions.values()))
    for version in different:
        names = " ".join(name for name, each in versions.items() if each == version)
        yield f"{what:<8} {version or 'none'}" + (f"  DIFFERS on {names}" if len(different) > 1 else "")
