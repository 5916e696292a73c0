"""One trial: what an exception would have changed in so many days, and what becomes of the decision that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.whatif.placing import place, why_kept_out
from forkpolicy.history.query import Query
from forkpolicy.history.whatif.judging import replies_to, what_if
from forkpolicy.history.whatif.risks import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from forkpolicy.errors import Diagnostic
    from forkpolicy.history.place import Reader
    from forkpolicy.history.whatif.doubts import Doubt
    from forkpolicy.history.whatif.judging import Reply
    from forkpolicy.history.whatif.risks import Change
    from forkpolicy.loading import Loaded

# Of each change; the page shows fewer, the CSV all of them.
MOST_SAMPLES: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """`statements`: lines of the policy's language; `decision`: the id of the one that they are for, if there is one;
    `days`: how far back; `most`: of so many past requests the newest.
    """

    statements: str
    decision: str
    days: int
    most: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`looked_at` and `changed` count decisions; `changes`: the riskiest first; `is_partial`: older requests were not
    replayed. `own`: the replies to the decision that it is for, without and with the exception, None where there is
    none or its line was cut; `kept_out`: why it stays out, in a sentence.
    """

    looked_at: int
    changed: int
    changes: Sequence[Change]
    doubts: Sequence[Doubt]
    warnings: Sequence[Diagnostic]
    own: tuple[Reply, Reply] | None
    kept_out: str
    is_partial: bool

    @property
    def rows(self) -> int:
        """How many decisions it has with all that is known of them: some 0.8 KB each."""
        return sum(len(change.samples) for change in self.changes)


def answer(
    asked: Asked,
    history: Reader,
    now: Loaded,
    path: Path | None,
    now_s: float,
    on_read: Callable[[int], None],
    is_over: Callable[[], bool],
) -> Answer:
    """Try it. `path`: the console's rule file, if the policy includes one. Raises ConfigError, HistoryError."""
    placed = place(now, path, asked.statements)
    own, kept_out = None, ""
    found = next(history.find(Query(ids=[asked.decision]), 1), None) if asked.decision else None
    if found:
        own = replies_to(now, placed.tried, found, history.raw(found))
        kept_out = why_kept_out(placed, own[1]) if own else ""
    since_ms = int((now_s - asked.days * 86_400) * 1000)
    result = what_if(history, now, placed.tried, since_ms, most=asked.most, on_read=on_read, is_over=is_over)
    return Answer(
        result.looked_at,
        len(result.changed),
        in_order(history, result.changed, MOST_SAMPLES),
        result.doubts,
        placed.tried.warnings,
        own,
        kept_out,
        any(doubt.why == "too many" for doubt in result.doubts),
    )
