"""The status of a server, as its master reports it at the control socket: what `status`, `top`, `advise` and the
metrics read.

Declarations only. The order of the fields is that of the documents. A new field has a default, which
stands for "unknown": a master of an earlier release does not send it. The fields of `TableStatus` and `ShadowStatus`
are what a worker knows and the master passes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from forkpolicy.documents import left_out, plain_fields

# One more with each change that the commands of the previous release would misread; a new field is none.
STATUS_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What a worker serves under a table's name. `refused`: why not the file in place; `version`: of the content."""

    name: str
    kind: str
    version: str
    entries: int
    created: float
    inode: int
    refused: str


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """What a comparison with the shadow policy has counted; `pairs`: by `line -> line of the shadow`. `not_compared`:
    requests for which the shadow would have asked the store something that the real policy did not.
    """

    compared: int
    differs: int
    failed: int
    pairs: dict[str, int]
    not_compared: int = 0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker serves, by its own report. `denied`: denials of the most frequent senders' domains."""

    tables: tuple[TableStatus, ...] = ()
    shadow: ShadowStatus | None = None
    denied: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """What the log lines of a start and a reload say about a policy. `shadow`: its file, or why it is left out."""

    policy: str
    shadow: str | None = left_out()
    lines: int = 0
    acls: int = 0
    tables: str = "-"
    warnings: int = 0

    @property
    def as_fields(self) -> dict[str, object]:
        """Fields of a log line."""
        return plain_fields(self)


@dataclass(frozen=True, slots=True)
class WorkerCounters:
    """The numbers of one slot of the scoreboard, in its order. Times are monotonic.

    `serving`: STAYING or LEAVING_SOON while the worker takes connections, 0 when it does not. `load`: time spent on
    requests lately, in millionths of all time.
    """

    pid: int = 0
    generation: int = 0
    started_ns: int = 0
    beat_ns: int = 0
    serving: int = 0
    load: int = 0
    connections: int = 0
    accepted: int = 0
    taken: int = 0
    given: int = 0
    requests: int = 0
    busy_ns: int = 0
    cpu_ns: int = 0
    errors: int = 0
    protocol_errors: int = 0
    sampled: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: what the master knows of it, its state and its numbers. `latency`: by the scoreboard's buckets;
    `line_hits` and `exempted`: by `Status.lines`.
    """

    pid: int
    slot: int
    ready: bool
    retiring: bool
    generation: int
    tables: tuple[TableStatus, ...]
    shadow: ShadowStatus | None
    counters: WorkerCounters
    actions: dict[str, int]
    latency: tuple[int, ...]
    line_hits: tuple[int, ...]
    exempted: tuple[int, ...]
    denied: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LostLines:
    """Lines that were lost at the log's pipe, and at its target."""

    pipe: int
    target: int


@dataclass(frozen=True, slots=True)
class LogStatus:
    """The log: where it goes, what was lost, what waits."""

    target: str
    lost: LostLines
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class HelperStatus:
    """A process next to the workers; its pid is 0 while there is none. `how` it ended last."""

    name: str
    pid: int
    ended: int
    how: str


@dataclass(frozen=True, slots=True)
class Status:
    """All of it. `lines`: the texts of the policy's lines; `monotonic_ns`: when it was read; `turn`: what serves
    connections, `c` or `python`.
    """

    status_version: int
    version: str
    pid: int
    uptime_s: float
    generation: int
    generation_age_s: float
    sockets: tuple[str, ...]
    settings: str
    tables_directory: str
    policy: PolicySummary
    lines: tuple[str, ...]
    wanted_workers: int
    stopping: bool
    log: LogStatus
    helpers: tuple[HelperStatus, ...]
    monotonic_ns: int
    workers: tuple[WorkerStatus, ...] = field(default=())
    turn: str | None = left_out()

    @property
    def served_tables(self) -> frozenset[str]:
        """The names of the tables that workers serve."""
        return frozenset(table.name for worker in self.workers for table in worker.tables)
