"""The watcher of this machine's networks: compiles the tables with `interfaces:` sources when the kernel says that
addresses, links or routes have changed.

A process of its own (`watch_interfaces` in the settings), started by a master that may write the tables, or by systemd
as a service next to one that may not (`forkpolicy-compile --watch-interfaces`); workers load the new tables by
themselves. Events only wake it: the networks are listed again, so a lost event (an overrun of the socket's buffer) is
one more reason to list, and never a wrong table. A listing that fails compiles nothing, and the previous table stays
in use. A failure or a warning of the compile is logged when it is new, not at every attempt.
Raises nothing but bugs.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict

from forkpolicy.compile.sources.registry import is_of_kernel
from forkpolicy.errors import ConfigError
from forkpolicy.log import LogPipe, printed
from forkpolicy.policy.load import declared_tables
from forkpolicy.process import own_user
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from forkpolicy.policy.nodes import TableDeclaration

    # `forkpolicy-compile`: its arguments, and its exit status.
    CompileTables = Callable[[Sequence[str]], int]

# rtnetlink(7): RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE.
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
# A change of an interface is a burst of events: it is over when the kernel has said nothing for so long, and it is
# not waited for longer than that.
QUIET_S = 0.2
LONGEST_BURST_S = 1.0
# What failed (a full disk, a kernel that is busy) is tried again, for no event may ever come to wake us.
RETRY_S = 10.0
READ_BYTES = 1 << 16


class CompiledTable(TypedDict):
    """What is read of `forkpolicy-compile --json` about one table."""

    name: str
    state: str
    diagnostics: list[dict[str, object]]
    reason: NotRequired[str]


class EventLog(Protocol):
    """Where lines go."""

    def event(self, level: str, event: str, **fields: object) -> None:
        """Log one event."""


class StderrLog:
    """Standard error, for a watcher that no master has started."""

    def __init__(self, style: str) -> None:
        self._lines = LogPipe(-1, style, {"process": "networks", "pid": os.getpid()})
        self._for_journal = "JOURNAL_STREAM" in os.environ

    def event(self, level: str, event: str, **fields: object) -> None:
        """Print one event."""
        line = self._lines.line(level, event, **fields)
        os.write(2, printed(line, for_journal=self._for_journal))


def why_not_written(tables: Path) -> str:
    """What keeps this process from writing compiled tables; empty where nothing does."""
    there = next(each for each in (tables, *tables.parents) if each.exists())
    if os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return ""
    return f"{own_user()} may not write to {there}"


def watch(settings_path: str, log: EventLog, compile_tables: CompileTables) -> None:
    """Compile now, and whenever the machine's networks change. Returns only where the kernel refuses to let it listen,
    which it has reported then: trying again would not help.
    """
    try:
        # Listening before the first listing: what changes in between is not missed.
        events = _listen()
    except OSError as error:
        log.event("error", "networks not watched", reason=f"cannot listen to the kernel (AF_NETLINK): {error.strerror}")
        return
    with events:
        rebuilding = Rebuilding(settings_path, log, compile_tables)
        done = rebuilding.attempt()
        while True:
            if select.select([events], [], [], None if done else RETRY_S)[0]:
                _let_it_settle(events)
            done = rebuilding.attempt()


def _listen() -> socket.socket:
    """A socket that is readable when addresses, links or routes have changed. Raises OSError."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        events.bind((0, GROUPS))
    except OSError:
        events.close()
        raise
    events.setblocking(False)
    return events


class Rebuilding:
    """Compiles the tables that have `interfaces:` sources, and remembers what it has logged about that."""

    def __init__(self, settings_path: str, log: EventLog, compile_tables: CompileTables) -> None:
        self._settings_path, self._log, self._compile_tables = settings_path, log, compile_tables
        self._failure: dict[str, str] = {}
        self._warnings: dict[str, list[str]] = {}

    def attempt(self) -> bool:
        """Compile what has changed; whether the tables are now what the kernel says."""
        failure = self._compile()
        if failure and failure != self._failure:
            self._log.event("error", "networks not compiled", **failure)
        if self._failure and not failure:
            self._log.event("info", "networks compiled after a failure")
        self._failure = failure
        return not failure

    def _compile(self) -> dict[str, str]:
        """What went wrong, as a line of the log has it."""
        try:
            settings = load_settings(self._settings_path)
            names = [each.name for each in declared_tables(settings.policy, settings.shadow) if _asks_kernel(each)]
        except ConfigError as error:
            return {"reason": str(error)}
        if not names:
            return {}
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            # What fails to be listed is an error and no empty list.
            status = self._compile_tables(
                ["-c", self._settings_path, "--json", "--if-changed", "--interfaces-may-shrink", *names]
            )
        results = json.loads(out.getvalue() or "[]")
        self._log_compiled([each for each in results if each["state"] == "compiled"])
        if not status:
            return {}
        return _failure_of(results) or {"tables": ",".join(names), "reason": err.getvalue().strip()}

    def _log_compiled(self, compiled: list[CompiledTable]) -> None:
        for each in compiled:
            warnings = [_in_words(said) for said in each["diagnostics"]]
            for text in warnings:
                if text not in self._warnings.get(each["name"], ()):
                    self._log.event("warning", "networks compiled with a warning", table=each["name"], reason=text)
            self._warnings[each["name"]] = warnings
        if compiled:
            self._log.event("info", "networks compiled", tables=",".join(each["name"] for each in compiled))


def _failure_of(results: list[CompiledTable]) -> dict[str, str]:
    """The tables that failed, and why; nothing where none was looked at."""
    failed = [each for each in results if each["state"] in ("refused", "not written")]
    reasons = [reason for each in failed for reason in _reasons_of(each)]
    return {"tables": ",".join(each["name"] for each in failed), "reason": "\n".join(reasons)} if failed else {}


def _reasons_of(result: CompiledTable) -> list[str]:
    if "reason" in result:
        return [result["reason"]]
    return [_in_words(each) for each in result["diagnostics"] if each["severity"] == "error"]


def _in_words(diagnostic: Mapping[str, object]) -> str:
    place = ":".join(str(diagnostic[each]) for each in ("path", "line", "column") if diagnostic[each])
    hint = f" ({diagnostic['hint']})" if diagnostic["hint"] else ""
    return f"{place}: {diagnostic['message']}{hint}"


def _asks_kernel(declaration: TableDeclaration) -> bool:
    return any(is_of_kernel(source) for source in declaration.sources)


def _let_it_settle(events: socket.socket) -> None:
    until_s = time.monotonic() + LONGEST_BURST_S
    while True:
        _drain(events)
        if not select.select([events], [], [], QUIET_S)[0] or time.monotonic() > until_s:
            return


def _drain(events: socket.socket) -> None:
    while True:
        try:
            events.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: more events than the buffer holds. The networks are listed again.
            continue
