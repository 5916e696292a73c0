"""The life of the state process: it makes the live map before the first worker opens it, and keeps its copy on disk a
second behind the workers.

It alone writes the kept map, under a lock: in an upgrade that of the new master waits until that of the old one has
written its last and gone, while workers of both use the one live map. It does what operators ask for (reset, remember,
forget), and reports to the master once a second. What workers never reported, since they were killed, is found by a
pass over everything, at its start and once an hour, in steps.

The end of the master's link is its end: it writes what it has. A kept map that cannot be written is reported and tried
again; a live map that cannot be made is the end of the start.
"""

from __future__ import annotations

import contextlib
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy import link
from forkpolicy.control_messages import StateWalkCommand
from forkpolicy.errors import EXIT_CANNOT_WRITE, CannotWriteError, ForkpolicyError, StateError
from forkpolicy.lock import LockHeldError, hold
from forkpolicy.state import map_file
from forkpolicy.state.changed_keys import receive
from forkpolicy.state.changing import change
from forkpolicy.state.kept_map import KeptMap, open_both
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state_messages import TO_STATE, StateDone, StateReady, StateRefused, StateReport, StateWalked
from forkpolicy.state_places import map_bytes
from forkpolicy.status import StateFigures

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from forkpolicy.control_messages import StateCommand
    from forkpolicy.log import LogPipe
    from forkpolicy.state_messages import FromState
    from forkpolicy.state_settings import StateSettings

SAVE_S: Final = 1.0
FULL_PASS_S: Final = 3600.0
FULL_PASS_STEP: Final = 1000
# A commit of so many takes some tenths of a second on a slow disk: between two of them datagrams are taken.
COMMIT_KEYS: Final = 4000
# What workers report while the disk does not take it; beyond that the next pass over everything finds it.
MOST_PENDING: Final = 1_000_000
# What a process that a dead master has left has to write.
LOCK_PATIENCE_S: Final = 10.0
READ_BYTES: Final = 1 << 16
# Records of one answer: it fits a message, and takes less than a thousandth of a second.
WALK_RECORDS: Final = 200
WALK_BYTES: Final = 20_000
LOCK_NAME: Final = "writer.lock"
LOCK_AGAIN_S: Final = 0.05
# LMDB reports a full file system as an input/output error as well.
HINT: Final = "make room if the file system of [state] kept is full (df); it is tried again each second"


def keep(
    settings: StateSettings, master: socket.socket, changed_keys: socket.socket, log: LogPipe, *, takes_over: bool
) -> None:
    """Live until the master's link ends. `takes_over`: that of a previous master may still write the kept map."""
    kept = _Kept(settings, log)
    try:
        live = kept.begin(may_wait=takes_over)
    except ForkpolicyError as error:
        master.sendall(link.encode(StateRefused(EXIT_CANNOT_WRITE, str(error))))
        return
    _Keeper(live, kept, master, changed_keys, log).run()


def within(records: list[tuple[bytes, bytes]], most_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """As many as fit; one in any case."""
    size = 0
    for key, record in records:
        size += len(key) + len(record)
        if size > most_bytes and size > len(key) + len(record):
            return
        yield key, record


class _Kept:
    """The kept map under its lock: `map` is None while another process has the lock. `trouble`: why it is not kept."""

    def __init__(self, settings: StateSettings, log: LogPipe) -> None:
        self._settings = settings
        self._log = log
        self._lock: int | None = None
        self.map: KeptMap | None = None
        self.trouble = ""

    def begin(self, *, may_wait: bool) -> LiveMap:
        """The live map, made from the kept one where it is not there. `may_wait`: where it is, the kept one may be
        opened later. Raises ForkpolicyError.
        """
        live = self._settings.live
        if may_wait and map_file.is_complete(live) and not self._locked(0.0):
            return LiveMap.open(live)
        self._locked(LOCK_PATIENCE_S)
        began_s = time.monotonic()
        maps = open_both(live, self._settings.kept, map_bytes(self._settings))
        self.map = maps.kept
        took_s = round(time.monotonic() - began_s, 3)
        self._log.event("info", "state opened", live=live, restored=maps.restored, seconds=took_s)
        return maps.live

    def is_open(self) -> bool:
        """Whether it is open; it is opened when the other process has gone. Raises ForkpolicyError."""
        if self.map is None and self._locked(0.0):
            self.map = KeptMap.open(self._settings.kept, map_bytes(self._settings))
        return self.map is not None

    def _locked(self, patience_s: float) -> bool:
        """Whether we have the lock. With patience, one that is not free in time is an error."""
        until_s = time.monotonic() + patience_s
        while self._lock is None:
            try:
                self._lock = hold(Path(self._settings.kept) / LOCK_NAME)
            except LockHeldError as error:
                if not patience_s:
                    return False
                if time.monotonic() >= until_s:
                    raise CannotWriteError(f"[state] kept: {error}") from error
                time.sleep(LOCK_AGAIN_S)
        return True

    def note(self, trouble: str) -> None:
        """Report a fault when it begins, and when it is over."""
        if trouble and trouble != self.trouble:
            self._log.event("error", "state not kept", reason=trouble, hint=HINT)
        elif self.trouble and not trouble:
            self._log.event("info", "state kept again")
        self.trouble = trouble


class _Keeper:
    """The process once the live map is there."""

    def __init__(
        self, live: LiveMap, kept: _Kept, master: socket.socket, changed_keys: socket.socket, log: LogPipe
    ) -> None:
        self._live = live
        self._kept = kept
        self._master = master
        self._changed_keys = changed_keys
        self._log = log
        self._decoder = link.Decoder(TO_STATE)
        self._pending: set[bytes] = set()
        self._saved_ns = 0
        self._ended = False
        # Where the pass over everything goes on; None between two. What was reported to a process that died is found.
        self._pass_after: bytes | None = b""
        self._pass_at_s = time.monotonic() + FULL_PASS_S
        self._poller = select.poll()
        for sock in (master, changed_keys):
            self._poller.register(sock, select.POLLIN)

    def run(self) -> None:
        """Until the link ends."""
        if not self._live.shows_holder():
            hint = "a worker that stops while it asks the store is ended after hang_timeout only"
            self._log.event("warning", "lock of the state cannot be watched", hint=hint)
        self._send(StateReady())
        save_at_s = time.monotonic()
        while not self._ended:
            self._wait(save_at_s)
            if time.monotonic() >= save_at_s:
                save_at_s = time.monotonic() + SAVE_S
                self._save()
                self._report()
            elif self._pass_after is not None:
                self._pass_step()
        self._take_keys()
        self._save()

    def _wait(self, until_s: float) -> None:
        """Take what comes until then; only what is there while a pass is under way."""
        wait_s = 0.0 if self._pass_after is not None and self._kept.map else max(0.0, until_s - time.monotonic())
        ready = [fd for fd, _ in self._poller.poll(wait_s * 1000)]
        if self._changed_keys.fileno() in ready:
            self._take_keys()
        if self._master.fileno() in ready:
            self._take_commands()

    def _take_keys(self) -> None:
        while (found := receive(self._changed_keys)) is not None:
            self._pending.update(found)
        if len(self._pending) > MOST_PENDING:
            self._pending.clear()
            self._pass_after = b""

    def _take_commands(self) -> None:
        data = self._master.recv(READ_BYTES)
        self._ended = not data
        for command in self._decoder.feed(data):
            try:
                done = self._done(command)
            except (StateError, ValueError) as error:
                done = StateDone(0, str(error))
            self._send(done)

    def _done(self, command: StateCommand) -> StateDone | StateWalked:
        if not isinstance(command, StateWalkCommand):
            return StateDone(change(self._live, command))
        most = max(1, min(command.most, WALK_RECORDS))
        found = self._live.walk(bytes.fromhex(command.prefix), bytes.fromhex(command.after), most)
        fitting = tuple((key.hex(), record.hex()) for key, record in within(found, WALK_BYTES))
        return StateWalked(fitting, self._live.now_s())

    def _save(self) -> None:
        """Keep what has changed; what cannot be kept is tried again."""
        self._pending |= self._live.take_changed()
        began_ns = time.monotonic_ns()
        try:
            if not self._kept.is_open():
                return
            assert self._kept.map
            while self._pending:
                some = {self._pending.pop() for _ in range(min(len(self._pending), COMMIT_KEYS))}
                try:
                    self._kept.map.keep(self._live, some)
                except StateError:
                    self._pending |= some
                    raise
        except ForkpolicyError as error:
            self._kept.note(str(error))
        else:
            self._kept.note("")
            self._saved_ns = began_ns

    def _pass_step(self) -> None:
        """Compare some more records of the two maps, and begin again in an hour."""
        if self._pass_after is None or self._kept.map is None:
            return
        try:
            self._pass_after = self._kept.map.full_pass_step(self._live, self._pass_after, FULL_PASS_STEP) or None
        except StateError as error:
            self._kept.note(str(error))
            self._pass_after = None

    def _report(self) -> None:
        """How the maps are; and begin a pass that is due."""
        if map_file.identity_of(self._live.directory) != self._live.identity:
            self._send(StateRefused(EXIT_CANNOT_WRITE, f"{self._live.directory}: the live map was removed"))
            self._ended = True
            return
        if time.monotonic() >= self._pass_at_s:
            self._pass_after, self._pass_at_s = b"", time.monotonic() + FULL_PASS_S
        try:
            used_bytes, max_bytes, entries, _ = self._live.describe()
        except StateError as error:
            self._kept.note(str(error))
            return
        figures = StateFigures(used_bytes, max_bytes, entries, len(self._pending), self._saved_ns, self._kept.trouble)
        self._send(StateReport(figures))

    def _send(self, message: FromState) -> None:
        # The master reads whenever its loop turns; when it has died, the end of the link says so.
        with contextlib.suppress(OSError):
            self._master.sendall(link.encode(message))
