"""The answer of the page Now in a sentence: how many mails were refused, whether that is usual, whether any wait.

A decision is one recipient of a mail. What cannot be known is said, and is never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.console.now.lateness import Lateness
    from forkpolicy.console.now.usual import LastHour


def sentence(hour: LastHour | None, late: Lateness | None, waiting: int | None, recorded: str) -> str:
    """`hour`, `late`: None where the history says nothing; `waiting`: requests that wait, None where the server is
    away; `recorded`: why there is no history, empty where there should be one.
    """
    return f"{_refused(hour, late, recorded)}; {_waiting(waiting)}."


def _refused(hour: LastHour | None, late: Lateness | None, recorded: str) -> str:
    if recorded:
        return f"How many mails were refused is not known: {recorded}"
    if hour is None or late is None:
        return "How many mails were refused cannot be known now"
    if late.behind_s:
        return f"How many mails were refused in the last hour is not known: the history is {long(late.behind_s)} behind"
    if hour.refused is None:
        return "The history has nothing of the last hour"
    mails = "mail was" if hour.refused == 1 else "mails were"
    return f"{hour.refused:,} {mails} refused in the last hour{_compared(hour)}"


def _compared(hour: LastHour) -> str:
    if hour.usual is None or hour.refused is None:
        return ""
    if not hour.usual:
        return ", where none is usual" if hour.refused else ", as usual"
    change = round(100 * (hour.refused - hour.usual) / hour.usual)
    if hour.refused >= 3 * hour.usual:
        return f", {hour.refused / hour.usual:,.1f} times the usual"
    if not change:
        return ", as usual"
    return f", {abs(change)} % {'more' if change > 0 else 'fewer'} than usual"


def long(seconds: float) -> str:
    """A time in one unit, in words: `14 minutes`."""
    for unit, unit_s in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * unit_s:
            return f"{int(seconds // unit_s)} {unit}s"
    return f"{max(1, round(seconds))} second{'s' * (round(seconds) > 1)}"


def _waiting(waiting: int | None) -> str:
    if waiting is None:
        return "whether anything waits is not known, as the server does not answer"
    if not waiting:
        return "no request waits"
    return f"{waiting:,} request{'s wait' if waiting != 1 else ' waits'} for an engine, the DNS or a service"
