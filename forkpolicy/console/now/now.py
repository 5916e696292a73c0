"""What the page Now and the notice of every page are made of, kept for all requests."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.lateness import lateness
from forkpolicy.console.now.live import Live
from forkpolicy.console.now.looks import Looks
from forkpolicy.console.now.mostly import Mostly, mostly
from forkpolicy.console.now.rates import Rates
from forkpolicy.console.now.usual import last_hour
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.rollup_sums import SLOTS_A_DAY, open_rollups, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.console.now.lateness import Lateness
    from forkpolicy.console.now.usual import LastHour
    from forkpolicy.history.place import Reader
    from forkpolicy.history.rollup_sums import Rollups
    from forkpolicy.history_settings import HistorySettings
    from forkpolicy.status import Status

# Each page has the notice; it is made anew twice a minute.
_ALARM_S: Final = 30.0
_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class Alarm:
    """Far more refusals than usual, and what makes most of them."""

    hour: LastHour
    mostly: Mostly


class Now:
    """For all threads. Raises HistoryError and what `look` raises."""

    def __init__(
        self,
        settings: HistorySettings,
        open_history: Callable[[], Reader],
        look: Callable[[], Status],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings, self._open_history, self.clock = settings, open_history, clock
        self.looks = Looks(look, clock)
        self.live = Live(open_history, clock)
        self._lock = threading.Lock()
        self._rollups: Rollups | None = None
        self._rates: Rates | None = None
        self._alarm: Alarm | None = None
        self._alarm_at_s = 0.0

    @property
    def is_recorded(self) -> bool:
        """Whether there is to be a history."""
        return bool(self.settings.log)

    @property
    def rollups(self) -> Rollups:
        """Opened once."""
        with self._lock:
            if self._rollups is None:
                self._rollups = open_rollups(self.settings)
            return self._rollups

    @property
    def rates(self) -> Rates:
        """Sums of days, shared by all pages."""
        rollups = self.rollups
        with self._lock:
            if self._rates is None:
                self._rates = Rates(rollups, self.clock)
            return self._rates

    def lateness(self) -> Lateness:
        """How far behind the history is."""
        return lateness(self.settings, self._open_history(), self.rollups, self.clock())

    def last_hour(self) -> LastHour:
        """Refusals, and what is usual."""
        return last_hour(self.rates, self.clock())

    def warm(self) -> None:
        """Read the days of the longest plot, so that the first page does not have to."""
        if self.is_recorded:
            last = slot_of(self.clock())
            with contextlib.suppress(HistoryError):
                self.rates.counts(last - _DAYS * SLOTS_A_DAY, last)
            self.alarm()

    def alarm(self) -> Alarm | None:
        """Whether refusals are far more than usual, as of half a minute ago at most; None also where that cannot be
        known: the page Now says why.
        """
        with self._lock:
            now_s = self.clock()
            if 0 <= now_s - self._alarm_at_s < _ALARM_S:
                return self._alarm
            # Others go on with the previous one meanwhile.
            self._alarm_at_s = now_s
        alarm = self._made_alarm(now_s) if self.is_recorded else None
        with self._lock:
            self._alarm = alarm
        return alarm

    def _made_alarm(self, now_s: float) -> Alarm | None:
        try:
            hour = self.last_hour()
            if not hour.is_alarm:
                return None
            return Alarm(hour, mostly(self.rates, self._open_history(), hour.since_s, now_s))
        except HistoryError:
            return None
