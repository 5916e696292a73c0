"""What the locust users of one process share: the rest of its part of the day, the mails that come again, the results.

A mail that a policy which remembers has deferred comes again if its kind does (traffic/mail_kinds.py), as a new message
and before new mail.
"""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING

import gevent
from locust.exception import StopUser

from loadtest.measure.results import Results
from loadtest.traffic.mail_kinds import RETRIES

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from loadtest.traffic.traffic import Day, Timed


class Run:
    """What the users of this process share: the rest of the day, and the results."""

    def __init__(self, options: Namespace, day: Day, index: int, count: int) -> None:
        """Process `index` of `count` takes every `count`-th mail."""
        self.options = options
        self.index = index
        self.remembers = day.remembers
        self.results = Results()
        self.active = 0
        self._day = day
        self._mails = self._share(self._day.mails(), count)
        # Mails that come again: when, and how often they have come.
        self._again: list[tuple[float, int, int, Timed]] = []

    def next_mail(self) -> tuple[Timed, int]:
        """The next mail, when it is due, and how often it came before. StopUser at midnight."""
        if self._again and self._again[0][0] <= time.time():
            return self._comes_again()
        timed = next(self._mails, None)
        if timed is None:
            if not self._again:
                raise StopUser
            return self._comes_again()
        if self.options.day_speedup:
            due_s = (timed.at_s - self._day.begin_s) / self.options.day_speedup
            early_s = self.results.start_s + due_s - time.time()
            self.results.late_us = max(self.results.late_us, int(-early_s * 1e6))
            gevent.sleep(max(0.0, early_s))
        return timed, 0

    def deferred(self, timed: Timed, times: int) -> None:
        """It was told to come again: it does, if it is of a kind that does."""
        pauses_s = RETRIES.get(timed.mail.kind, ())
        if self.remembers and times < len(pauses_s):
            heapq.heappush(self._again, (time.time() + pauses_s[times], timed.number, times + 1, timed))

    def _comes_again(self) -> tuple[Timed, int]:
        due_s, _, times, timed = heapq.heappop(self._again)
        gevent.sleep(max(0.0, due_s - time.time()))
        self.results.retried += len(timed.mail.recipients)
        return timed, times

    def _share(self, mails: Iterator[Timed], count: int) -> Iterator[Timed]:
        return (timed for timed in mails if timed.number % count == self.index)
