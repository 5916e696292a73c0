"""How many refusals are usual in an hour: a median, which one bad night does not move, and what it is the median of.

The last hour is six slots of ten minutes, of which the current one is not over: 50 to 60 minutes. What it is compared
with has the same length.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import REFUSED
from forkpolicy.history.rollup_sums import SLOT_S, SLOTS_A_DAY, slot_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.console.now.rates import Rates

HOUR_SLOTS: Final = 6
_DAYS, _LEAST_DAYS = 14, 3
_HOURS, _LEAST_HOURS = 24, 6
# Three times as many as usual, and no fewer than this, is worth a person's attention.
ALARM_TIMES: Final = 3.0
ALARM_LEAST: Final = 50


@dataclass(frozen=True, slots=True)
class LastHour:
    """Refusals since `since_s`; None: not known. `usual` is None where there is nothing to compare with; `compared`
    says with what it was. It is whole mails, so that what is said of it is of the number that is shown.
    """

    since_s: int
    refused: int | None
    usual: int | None
    compared: str

    @property
    def is_alarm(self) -> bool:
        """Whether it is far more than usual."""
        if self.refused is None or self.usual is None:
            return False
        return self.refused >= ALARM_LEAST and self.refused >= ALARM_TIMES * self.usual


def last_hour(rates: Rates, now_s: float) -> LastHour:
    """Refusals of the last hour, and what is usual."""
    last = slot_of(now_s)
    first = last - HOUR_SLOTS + 1
    column = rates.counts(last - _DAYS * SLOTS_A_DAY - HOUR_SLOTS + 1, last).kinds[REFUSED]
    part = (now_s - last * SLOT_S) / SLOT_S
    known = [count for count in column[-HOUR_SLOTS:] if count is not None]
    usual, compared = _usual(column, part)
    return LastHour(first * SLOT_S, sum(known) if known else None, usual, compared)


def _usual(column: Sequence[int | None], part: float) -> tuple[int | None, str]:
    """`column` ends with the current slot; `part` of that is over."""
    days = _sums(column, [day * SLOTS_A_DAY for day in range(1, _DAYS + 1)], part)
    if len(days) >= _LEAST_DAYS:
        return round(median(days)), f"the median of this hour on {len(days)} of the previous {_DAYS} days"
    hours = _sums(column, [hour * HOUR_SLOTS for hour in range(1, _HOURS + 1)], part)
    if len(hours) >= _LEAST_HOURS:
        return round(median(hours)), f"the median of {len(hours)} of the previous {_HOURS} hours"
    return None, "nothing yet: the history is too short"


def _sums(column: Sequence[int | None], ago: Sequence[int], part: float) -> list[float]:
    """The sum of an hour that ended so many slots ago, of each that is known as a whole."""
    sums = []
    for slots in ago:
        end = len(column) - slots
        hour = column[max(0, end - HOUR_SLOTS) : end]
        known = [count for count in hour if count is not None]
        if len(known) == HOUR_SLOTS:
            sums.append(sum(known[:-1]) + known[-1] * part)
    return sums
