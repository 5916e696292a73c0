"""One request, asked of two policies: what serves, and a draft.

A request is given as attributes (`sender=a@example.com recipient=b@example.org`, one or more a line), as a line of a
log, or as the id of a past decision. A past decision has its time and what ACLs answered then; otherwise neither the
store nor the world is asked, and what depends on them cannot be known. Raises UsageError, HistoryError.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError
from forkpolicy.explaining.as_object import as_object
from forkpolicy.explaining.explained import explained
from forkpolicy.explaining.words import request_of
from forkpolicy.history.clock import Clock
from forkpolicy.history.log_lines import read_line
from forkpolicy.history.logged_request import PastRequest
from forkpolicy.history.past_request import read_past
from forkpolicy.history.query import ids_in, query_of
from forkpolicy.history.recorded import RecordedAnswers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.history.place import Reader
    from forkpolicy.loading import Loaded

MAX_CHARS: Final = 1 << 16
# A table's file is mapped once in a process, and who opens and closes it does that alone.
_ONE: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Sample:
    """A request. `of`: the id of the decision that it is of, if it is; `cut`: what of it the log did not keep."""

    request: PastRequest
    of: str = ""
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """What a policy replies: the text, the rule, and the explanation for tools (explaining/as_object.py)."""

    action: str
    rule: str
    why: Mapping[str, object]


def sample_of(text: str, read_by_policy: tuple[str, ...], history: Reader, now_s: float) -> Sample:
    """The request that somebody has typed or pasted. `read_by_policy`: as `request_of` takes it."""
    text = text.strip()
    if not text:
        raise UsageError("expected attributes as in sender=user@example.com, a line of a log, or the id of a decision")
    if len(text) > MAX_CHARS:
        raise UsageError(f"{len(text):,} characters are too many for one request: at most {MAX_CHARS:,}")
    words = text.split()
    if len(words) == 1 and "=" not in text and (ids := list(ids_in(text))):
        return _past(ids[0], history, now_s)
    is_log_line = "\n" not in text and bool(read_line(text.encode("utf-8", "surrogateescape")).attributes)
    if is_log_line:
        words = [text]
    elif "\n" in text:
        words = [word for line in text.splitlines() for word in _words_of(line)]
    return Sample(request_of(words, read_by_policy))


def _words_of(line: str) -> list[str]:
    """The attributes of a line. A value with blanks stands alone on its line."""
    words = line.split()
    return words if all("=" in word for word in words) else [line.strip()]


def _past(wanted: str, history: Reader, now_s: float) -> Sample:
    found = next(history.find(query_of([f"id:{wanted}"], now_s), 1), None)
    if found is None:
        raise UsageError(f"there is no decision {wanted} in the history")
    past = read_past(history.raw(found))
    return Sample(PastRequest(None, past.attributes, found.time, past.answers), wanted, past.cut)


def explain_with(sample: Sample, *policies: Loaded) -> list[Explained]:
    """What each policy says. Their tables are opened meanwhile; what cannot be opened is in the explanation."""
    with _ONE:
        tables = {table for loaded in policies for table in loaded.tables.values()}
        try:
            for table in tables:
                table.refresh()
            return [_explain(sample, loaded) for loaded in policies]
        finally:
            for table in tables:
                table.close()


def _explain(sample: Sample, loaded: Loaded) -> Explained:
    policy, request = loaded.policy, sample.request.request()
    clock, answers = Clock(), RecordedAnswers()
    answers.answers = sample.request.answers
    clock.put_into(policy)
    clock.turn_to(sample.request.time_s())
    trace, text = explained(policy, request, answers.mode)
    why = as_object(trace, text, request, policy.model)
    return Explained(str(why["action"]), trace.outcome.where, why)
