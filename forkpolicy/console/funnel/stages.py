"""The rows of the page Funnel: one for each stage, in the order in which mail passes them. Pure.

None is what nobody knows, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.setup.postfix_text import FRONT, LATE
from forkpolicy.history.mail_log.stage_counts import Sum
from forkpolicy.history.mail_log.stages import (
    ADDRESSES,
    DEFERRED,
    DELIVERY,
    HELD,
    PASSED,
    PROBE,
    REFUSED,
    SCANNER,
    STORE,
    VERIFICATION,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.history.mail_log.stage_counts import Counted

RESULTS: Final = (REFUSED, DEFERRED, HELD, PASSED)
# With what each counts, and what its cost is.
_STAGES: Final = (
    (ADDRESSES, "Addresses", "recipients", ""),
    (FRONT, "Front rules", "recipients", "CPU of the policy server a request"),
    (VERIFICATION, "Verification", "recipients", "time of the backend a question"),
    (LATE, "Late rules", "recipients", "CPU of the policy server a request"),
    (SCANNER, "Scanner", "mails", "time of a scan"),
    (STORE, "Store", "recipients", "time to hand a mail over"),
    (DELIVERY, "Backend", "recipients", "time to hand a mail over"),
)
# The time of a scan is that between two lines. Where their times are whole seconds, the mean of fewer is worth nothing.
_FEW_SCANS: Final = 100
# What passes each: the log has no line for it elsewhere.
_PASSING: Final = frozenset({SCANNER, STORE, DELIVERY})
# What each may do.
_HOLDING: Final = frozenset({FRONT, LATE, SCANNER, STORE})


@dataclass(frozen=True, slots=True)
class Stage:
    """One row. `counts`: of `unit`, by result; a result that the stage cannot have is missing. `each_s`: what one
    costs, in seconds, as `cost` says; `asked`: how many cost that, where it is known; `all_s`: what all of them cost.
    """

    stage: str
    name: str
    unit: str
    counts: Mapping[str, int | None]
    cost: str
    each_s: float | None
    asked: int | None
    all_s: float | None

    @property
    def stopped(self) -> int | None:
        """What was refused, put off or held there, as far as it is known."""
        known = [count for result, count in self.counts.items() if result != PASSED and count is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Known:
    """`rules`: what rules stopped, by stage and result; `log`: what Postfix's log says; `cpu_s`: CPU of a request to
    the policy server.
    """

    rules: Mapping[tuple[str, str], int] | None
    log: Counted | None
    cpu_s: float | None


def stages(known: Known) -> list[Stage]:
    """All rows."""
    return [
        _of_rules(known, stage, name, cost) if stage in (FRONT, LATE) else _of_log(known, stage, name, unit, cost)
        for stage, name, unit, cost in _STAGES
    ]


def _of_rules(known: Known, stage: str, name: str, cost: str) -> Stage:
    counts = {each: None if known.rules is None else known.rules.get((stage, each), 0) for each in _results(stage)}
    return Stage(stage, name, "recipients", counts, cost, known.cpu_s, None, None)


def _of_log(known: Known, stage: str, name: str, unit: str, cost: str) -> Stage:
    if known.log is None or known.log.is_empty:
        return Stage(stage, name, unit, dict.fromkeys(_results(stage)), cost, None, None, None)
    sums = {each: known.log.sums.get((stage, each), Sum()) for each in (*_results(stage), PROBE)}
    counts: dict[str, int | None] = {each: sums[each].count for each in _results(stage)}
    if stage == SCANNER:
        # What it marks has passed it, and Postfix holds it.
        counts[PASSED] = max(0, sums[PASSED].count - sums[HELD].count)
    asked, all_s = sum(each.timed for each in sums.values()), sum(each.seconds for each in sums.values())
    if not asked or (stage == SCANNER and asked < _FEW_SCANS and all_s % 1 == 0):
        return Stage(stage, name, unit, counts, cost, None, None, None)
    return Stage(stage, name, unit, counts, cost, all_s / asked, asked, all_s)


def _results(stage: str) -> tuple[str, ...]:
    more = {HELD} if stage in _HOLDING else set()
    more |= {PASSED} if stage in _PASSING else set()
    return tuple(each for each in RESULTS if each in {REFUSED, DEFERRED, *more})
