"""The status of a server, as its master reports it at the control socket: what `status`, `top`, `advise` and the
metrics read.

Declarations only. The order of the fields is that of the documents. A new field has a default, which
stands for "unknown": a master of an earlier release does not send it. The fields of `TableStatus` and `ShadowStatus`
are what a worker knows and the master passes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from forkpolicy.documents import LEFT_OUT, left_out, plain_fields

# One more with each change that the commands of the previous release would misread; a new field is none.
STATUS_VERSION: Final = 2
# Of the time that a question to the store takes: a few microseconds, or as long as somebody else holds its lock.
ASKED_LIMITS_S: Final = (16e-6, 64e-6, 256e-6, 1e-3, 4e-3, 16e-3, 64e-3, 256e-3, 1.0)


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What a worker serves under a table's name. `refused`: why not the file in place; `version`: of the content;
    `expires`: the last day of the entry that expires first.
    """

    name: str
    kind: str
    version: str
    entries: int
    created: float
    inode: int
    refused: str
    expires: str = ""


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
class StateFigures:
    """What the state process reports of its maps, or an engine of itself. `unsaved`: changed keys that the kept map
    does not have yet; `saved_ns`: when it had all, on the monotonic clock, 0 while it never had; `trouble`: why it is
    not written.
    """

    used_bytes: int = 0
    max_bytes: int = 0
    entries: int = 0
    unsaved: int = 0
    saved_ns: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class AskedStatus:
    """What a worker has asked the store and the world, and what it has told the state process, since it began.
    `answered`: how often, by `KIND NAME RESULT`, where NAME is an ACL or a list; `seconds`: what questions to the store
    took; `times`: how many took less than each of ASKED_LIMITS_S, and at last all others, empty without a store;
    `unsent`: changed keys that wait; `lost`: changed keys for which there was no room, so that an hourly pass finds
    them; `evicted`: records that it had to forget before their time, since the map was full. `is_up`: whether an engine
    answers; `engine`: how full it is, from one worker alone.
    """

    answered: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    times: tuple[int, ...] = ()
    unsent: int = 0
    lost: int = 0
    evicted: int = 0
    is_up: bool = True
    engine: StateFigures | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, slots=True)
class StateStatus:
    """What is remembered. `up`: whether the state process is ready; without it workers go on, and nothing is kept.
    `save_age_s`: how much a power loss would forget; None while nothing was saved yet.

    With an engine there is its URL in `engine`, no map, and `up` says whether all workers reach it.
    """

    live: str
    kept: str
    up: bool
    figures: StateFigures
    save_age_s: float | None = field(default=None, metadata=LEFT_OUT)
    engine: str = ""


@dataclass(frozen=True, slots=True)
class ZoneTest:
    """What the test of a DNS list has shown. `wrong`: why it must not be asked; `note`: what to look at, though it may
    be right; `undecided`: why nobody knows. All empty: it is right.
    """

    zone: str
    wrong: str = ""
    note: str = ""
    undecided: str = ""


@dataclass(frozen=True, slots=True)
class ZoneStatus:
    """A DNS list of the policy. `off`: why it is not asked, empty where it is; `note` and `undecided` as in ZoneTest;
    `test_age_s`: of the last test that has shown something, None before the first one.
    """

    zone: str
    off: str = ""
    note: str = ""
    undecided: str = ""
    test_age_s: float | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker serves, by its own report. `denied`: denials of the most frequent senders' domains; `asked`: None
    where the policy asks nobody; `lists`: how often DNS lists were asked, by `ZONE RESULT`, None
    where they were not; `services`: the same of other policy servers, by `ENDPOINT RESULT`.
    """

    tables: tuple[TableStatus, ...] = ()
    shadow: ShadowStatus | None = None
    denied: dict[str, int] = field(default_factory=dict)
    asked: AskedStatus | None = field(default=None, metadata=LEFT_OUT)
    lists: dict[str, int] | None = field(default=None, metadata=LEFT_OUT)
    services: dict[str, int] | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """What the log lines of a start and a reload say about a policy. `shadow`: its file, or why it is left out;
    `version`, `settings_version`: the beginnings of digests of its files and of the settings file. `restricted`: its
    restricted files that are not in use as they are, and what is used in their place.
    """

    policy: str
    shadow: str | None = left_out()
    lines: int = 0
    acls: int = 0
    tables: str = "-"
    warnings: int = 0
    version: str | None = left_out()
    settings_version: str | None = left_out()
    restricted: str | None = left_out()

    @property
    def as_fields(self) -> dict[str, object]:
        """Fields of a log line."""
        return plain_fields(self)


@dataclass(frozen=True, slots=True)
class WorkerCounters:
    """The numbers of one slot of the scoreboard, in its order. Times are monotonic.

    `serving`: STAYING or LEAVING_SOON while the worker takes connections, 0 when it does not. `load`: time spent on
    requests lately, in millionths of all time. `waiting`: requests that wait for an answer of an engine, the DNS or a
    service; `waited_ns`: how long such ones have waited.
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
    waiting: int = 0
    waited_ns: int = 0


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
    asked: AskedStatus | None = field(default=None, metadata=LEFT_OUT)
    lists: dict[str, int] | None = field(default=None, metadata=LEFT_OUT)
    services: dict[str, int] | None = field(default=None, metadata=LEFT_OUT)


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
    connections, `c` or `python`; `state`: None where the policy remembers nothing; `history`: the log of `[history]`.
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
    state: StateStatus | None = field(default=None, metadata=LEFT_OUT)
    zones: tuple[ZoneStatus, ...] | None = field(default=None, metadata=LEFT_OUT)
    history: LogStatus | None = field(default=None, metadata=LEFT_OUT)

    @property
    def served_tables(self) -> frozenset[str]:
        """The names of the tables that workers serve."""
        return frozenset(table.name for worker in self.workers for table in worker.tables)
