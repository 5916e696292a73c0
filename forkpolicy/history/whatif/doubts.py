"""Why a what-if may not say exactly what would have been, in sentences for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.lines import time_text
from forkpolicy.history.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.place import Reader
    from forkpolicy.history.whatif.candidates import Candidates
    from forkpolicy.history.whatif.judging import Counts
    from forkpolicy.loading import Loaded

_SHOWN: Final = 5


class Doubt(NamedTuple):
    """`why`: one word for programs; `decisions`: how many it is about, 0 where nobody knows."""

    why: str
    decisions: int
    text: str


def doubts_of(history: Reader, now: Loaded, candidates: Candidates, counts: Counts, since_ms: int) -> list[Doubt]:
    """All of them; none: what was found is exact."""
    return [
        *_of_what_is_kept(history, now, candidates, since_ms),
        *_of_lines(candidates, counts),
        *_of_answers(counts),
    ]


def _of_what_is_kept(history: Reader, now: Loaded, candidates: Candidates, since_ms: int) -> Iterator[Doubt]:
    if now.settings.history.decisions != "all":
        yield Doubt("acted", 0, 'only decisions that acted are kept: with [history] decisions = "all" DUNNO is, too')
    if candidates.missing:
        days = _listed(candidates.missing)
        yield Doubt("missing", 0, f"of {days} there is no file: nothing was decided then, or it is gone")
    if candidates.unreadable:
        days = _listed(list(candidates.unreadable))
        reason = next(iter(candidates.unreadable.values()))
        yield Doubt("damaged", 0, f"{days} could not be read to the end: {reason}")
    readable = [day for day in candidates.days if day not in candidates.unreadable]
    gaps = history.gaps(Query(since_ms=since_ms)) if len(readable) == len(candidates.days) else []
    if lost := sum(count for _, count, _ in gaps):
        since = time_text(gaps[0][0])
        yield Doubt(
            "gaps",
            lost,
            f"{lost:,} log line{' is' if lost == 1 else 's are'} missing, the first at {since}: {gaps[0][2]}",
        )


def _of_lines(candidates: Candidates, counts: Counts) -> Iterator[Doubt]:
    if candidates.is_cut_short:
        taken = f"only the newest, since {time_text(candidates.oldest_ms)}, were replayed"
        yield Doubt("too many", 0, f"it can touch more past requests than are replayed at once: {taken}")
    if counts.cut:
        yield Doubt("cut", counts.cut, f"{counts.cut:,} requests were cut in the log, and are not replayed")


def _of_answers(counts: Counts) -> Iterator[Doubt]:
    for name, times in counts.counted.most_common(_SHOWN):
        text = (
            f'"{name}" would have counted or remembered otherwise for {times:,} requests: later answers may be others'
        )
        yield Doubt("counters", times, text)
    for name, times in counts.not_asked.most_common(_SHOWN):
        yield Doubt(
            "not asked", times, f'acl "{name}" was not asked then for {times:,} requests: nobody knows its answer'
        )


def _listed(days: list[str]) -> str:
    more = f" and {len(days) - _SHOWN} more days" if len(days) > _SHOWN else ""
    return ", ".join(days[:_SHOWN]) + more
