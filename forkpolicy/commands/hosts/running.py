"""What a host runs, as its status or its metrics say it. Pure. Raises NotKnownError for what is neither."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.documents import InvalidDocumentError, parse
from forkpolicy.status import PolicySummary, TableStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SAMPLE: Final = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
_MOST_DIGITS: Final = 20
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class NotKnownError(Exception):
    """What a host runs is not known; the text says why."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a host's workers serve under a table's name: its version, or several while it changes, and for how long it
    has been there.
    """

    version: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Running:
    """What a host runs. `trouble`: why that is not known; the other fields are then empty."""

    name: str
    release: str = ""
    settings: str = ""
    policy: str = ""
    generation: int = 0
    uptime_s: float = 0.0
    tables: dict[str, Table] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Worker:
    """What is looked at of a worker's status."""

    tables: tuple[TableStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class _Status:
    """What is looked at of `forkpolicy status --json`."""

    version: str
    generation: int
    uptime_s: float
    policy: PolicySummary
    workers: tuple[_Worker, ...]


def of_status(name: str, printed: bytes, now_s: float) -> Running:
    """By what `forkpolicy status --json` has printed."""
    try:
        status = parse(_Status, json.loads(printed), others=True)
    except (InvalidDocumentError, ValueError, RecursionError) as error:
        raise NotKnownError(f"what was printed is not a status: {error}") from error
    tables = [(each.name, each.version, each.created) for worker in status.workers for each in worker.tables]
    return Running(
        name,
        status.version,
        status.policy.settings_version or "",
        status.policy.version or "",
        status.generation,
        status.uptime_s,
        _tables(tables, now_s),
    )


def of_metrics(name: str, text: str, now_s: float) -> Running:
    """By what the metrics endpoint has sent."""
    labels: dict[str, Mapping[str, str]] = {}
    numbers: dict[str, float] = {}
    versions: dict[tuple[str, str], str] = {}
    created: dict[tuple[str, str], float] = {}
    for metric, labelled, value in _samples(text):
        labels[metric], numbers[metric] = labelled, value
        table = (labelled.get("worker", ""), labelled.get("table", ""))
        if metric == "forkpolicy_table_info":
            versions[table] = labelled.get("version", "")
        elif metric == "forkpolicy_table_created_timestamp_seconds":
            created[table] = value
    if "forkpolicy_info" not in labels:
        raise NotKnownError("what it sent has no metrics of forkpolicy")
    policy = labels.get("forkpolicy_policy_info", {})
    return Running(
        name,
        labels["forkpolicy_info"].get("version", ""),
        policy.get("settings", ""),
        policy.get("policy", ""),
        int(numbers.get("forkpolicy_generation", 0)),
        numbers.get("forkpolicy_uptime_seconds", 0.0),
        _tables([(table[1], version, created.get(table, now_s)) for table, version in versions.items()], now_s),
    )


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found and len(found[3]) < _MOST_DIGITS and found[3].replace(".", "", 1).isdecimal():
            yield found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])


def _tables(found: Sequence[tuple[str, str, float]], now_s: float) -> dict[str, Table]:
    """By name; of (name, version, when it was compiled) of each worker."""
    versions, youngest_s = defaultdict[str, set[str]](set), dict[str, float]()
    for name, version, created_s in found:
        versions[name].add(version or "none")
        youngest_s[name] = max(created_s, youngest_s.get(name, created_s))
    return {
        name: Table(" ".join(sorted(versions[name])), max(0.0, now_s - youngest_s[name])) for name in sorted(versions)
    }
