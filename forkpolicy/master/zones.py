"""The DNS lists of the policy: which are switched off, for all workers. Has them tested and tells a change once.

One worker tests, that of the lowest slot that serves; each gets the state with the fork, and every change. A list is on
until it is shown wrong, and off until a test is right. Knows no DNS; raises nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.messages import ProbeZones, SwitchZones
from forkpolicy.status import ZoneStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.workers import Workers
    from forkpolicy.status import ZoneTest

# A test whose worker says nothing for so long is asked of another; two tries of 30 s each fit.
LATE_S: Final = 90.0
# Name servers that do not answer, as at boot, are asked again sooner than after an hour.
RETRY_S: Final = 60.0


@dataclass(slots=True)
class _Zone:
    off: str = ""
    note: str = ""
    undecided: str = ""
    tested_s: float | None = None


class Zones:
    """All of them, by name."""

    def __init__(self, generation: Generation, workers: Workers, log: LogPipe) -> None:
        self._generation, self._workers, self._log = generation, workers, log
        self._zones: dict[str, _Zone] = {}
        self._tester: Worker | None = None
        self._asked_s = self._due_s = 0.0
        self._number = 0

    @property
    def off(self) -> dict[str, str]:
        """Those that are not to be asked, and why."""
        return {name: zone.off for name, zone in self._zones.items() if zone.off}

    def describe(self) -> tuple[ZoneStatus, ...]:
        """What `status` shows."""
        now_s = time.monotonic()
        return tuple(
            ZoneStatus(
                name,
                zone.off,
                zone.note,
                zone.undecided,
                None if zone.tested_s is None else round(now_s - zone.tested_s, 1),
            )
            for name, zone in self._zones.items()
        )

    def tick(self, now_s: float) -> None:
        """Have them tested when that is due; forget those that the policy has no more."""
        if self._number != self._generation.number:
            self._number = self._generation.number
            self._take_over(self._generation.loaded.zones, now_s)
        if self._tester and (self._tester.pid not in self._workers.alive or now_s - self._asked_s > LATE_S):
            self._tester = None
            self._due_s = now_s
        if self._zones and not self._tester and now_s >= self._due_s:
            self._test(now_s)

    def tested(self, worker: Worker, tests: Iterable[ZoneTest]) -> None:
        """Take the result of a test."""
        if worker is not self._tester:
            return
        self._tester = None
        before, now_s = self.off, time.monotonic()
        # Worse comes last: one list may be asked about addresses and about names.
        for test in sorted(tests, key=lambda each: (bool(each.wrong), bool(each.undecided), bool(each.note))):
            zone = self._zones.get(test.zone)
            if zone:
                self._take(zone, test, now_s)
        every_s = self._generation.settings.dns.test_every_s
        is_open = any(zone.undecided for zone in self._zones.values())
        self._due_s = now_s + (min(every_s, RETRY_S) if is_open else every_s)
        if self.off != before:
            self._switch()

    def refuses(self, name: str, why: str) -> None:
        """A list has said to a worker that it does not answer."""
        zone = self._zones.get(name)
        if zone and not zone.off:
            self._set(name, zone, why)
            self._switch()

    def _take_over(self, names: tuple[str, ...], now_s: float) -> None:
        """The policy has these from now on."""
        if not self._zones.keys() >= set(names):
            self._due_s = now_s
        before = self.off
        self._zones = {name: self._zones.get(name, _Zone()) for name in names}
        if self.off != before:
            self._switch()

    def _test(self, now_s: float) -> None:
        able = [each for each in self._workers.alive.values() if each.ready and each.wanted]
        able = [each for each in able if each.generation == self._generation.number]
        if able:
            self._tester, self._asked_s = min(able, key=lambda each: each.slot), now_s
            self._workers.send(self._tester, ProbeZones())

    def _take(self, zone: _Zone, test: ZoneTest, now_s: float) -> None:
        if test.undecided != zone.undecided:
            if test.undecided:
                self._log.event("warning", "DNS list not tested", zone=test.zone, reason=test.undecided)
            zone.undecided = test.undecided
        if test.undecided:
            return
        zone.tested_s = now_s
        if test.note != zone.note:
            if test.note:
                self._log.event("warning", "DNS list doubtful", zone=test.zone, reason=test.note)
            zone.note = test.note
        if bool(test.wrong) is not bool(zone.off):
            self._set(test.zone, zone, test.wrong)

    def _set(self, name: str, zone: _Zone, off: str) -> None:
        """Switch a list off or on, and say so."""
        zone.off = off
        if off:
            self._log.event("error", "DNS list off", zone=name, reason=off, hint="on again when a test is right")
        else:
            self._log.event("info", "DNS list on", zone=name)

    def _switch(self) -> None:
        self._generation.zones_off = self.off
        for worker in self._workers.alive.values():
            self._workers.send(worker, SwitchZones(self.off))
