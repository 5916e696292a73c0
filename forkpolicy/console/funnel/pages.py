"""The page Funnel: the stages in front of the mailboxes, what each stopped in a span of time, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import UserMistake
from forkpolicy.console.funnel.rule_stages import DAY, HOUR, MONTH, stopping, sums
from forkpolicy.console.funnel.stages import RESULTS, Known, stages
from forkpolicy.console.page import Notice, Page, Rows
from forkpolicy.gateway.store_messages import StatusReply, StoreStatus
from forkpolicy.history.lines import time_text
from forkpolicy.history.mail_log.stages import HELD, PASSED
from forkpolicy.history.rollup_sums import SLOT_S, SLOTS_A_DAY, day_of_slot, first_slot, slot_of

if TYPE_CHECKING:
    from forkpolicy.console.funnel.rule_stages import Stopping
    from forkpolicy.console.funnel.stages import Stage
    from forkpolicy.console.held.room import Gateway
    from forkpolicy.console.visit import Visit
    from forkpolicy.history.mail_log.stage_counts import Counted
    from forkpolicy.status import Status

SPANS: Final = {HOUR: "the last hour", DAY: "the last 24 hours", MONTH: "the last 30 days"}
_MOST_RULES: Final = 20
_DAYS: Final = 30
_STORE_TIMEOUT_S: Final = 2.0
_LATE_S: Final = 60.0
_COLUMNS: Final = ("stage", "unit", *RESULTS, "cost", "each_s", "asked", "all_s")


def show(visit: Visit) -> Page:
    """Each source stands for itself: what cannot be read is a notice, and its figures are unknown."""
    span = visit.text("span", most=10) or DAY
    if span not in SPANS:
        raise UserMistake(f"span: expected one of {', '.join(SPANS)}, got {span}", "span")
    rules = _rules(visit, span)
    log = _log(visit, span)
    server = visit.known("the server", visit.parts.status)
    store = visit.known("the store", lambda: _store(visit.parts.gateway)) if visit.parts.gateway.is_on else None
    rows = stages(Known(None if rules is None else sums(rules), log, _cpu_s(server) if server else None))
    data: dict[str, object] = {
        "span": span,
        "spans": SPANS,
        "stages": [_view(each) for each in rows],
        "rules": None if rules is None else [_rule_view(each) for each in rules[:_MOST_RULES]],
        "store": store,
        "log_since_s": log.since_s if log and not log.is_empty else None,
        "log_until_s": log.until_s if log and not log.is_empty else None,
    }
    return Page("funnel", "Funnel", _sentence(rows, SPANS[span]), data, rows=Rows(_COLUMNS, map(_csv, rows)))


def first_slot_of(span: str, now_s: float) -> int:
    """Where a span begins, as the hits of rules have it: an hour and a day of slots, whole days of a month."""
    now = slot_of(now_s)
    if span == MONTH:
        return first_slot(day_of_slot(now - (_DAYS - 1) * SLOTS_A_DAY))
    return now - (3600 // SLOT_S if span == HOUR else SLOTS_A_DAY) + 1


def _rules(visit: Visit, span: str) -> list[Stopping] | None:
    loaded = visit.known("the policy", visit.parts.change.drafts.now)
    if loaded is None:
        return None
    counted = visit.known("hits of rules", lambda: visit.parts.rules.counted(loaded))
    if counted is None:
        if not visit.parts.settings.history.log:
            visit.notices.append(Notice("hits of rules: there is no history, as [history] log is empty"))
        return None
    visit.notices += [Notice(f"hits of rules: {each}") for each in counted.unread]
    if counted.since_s is None:
        visit.notices.append(Notice("hits of rules: the history has no decision yet"))
        return None
    return stopping(loaded.policy.model.rules, counted, span)


def _log(visit: Visit, span: str) -> Counted | None:
    begin = first_slot_of(span, visit.now_s)
    counted = visit.known("the mail log", lambda: visit.parts.stages.since(begin))
    if counted is None:
        if not visit.parts.settings.history.mail_log:
            visit.notices.append(Notice("the mail log: [history] mail_log names none"))
        return None
    if counted.trouble:
        visit.notices.append(Notice(counted.trouble))
    elif counted.since_s > begin * SLOT_S or counted.until_s < visit.now_s - _LATE_S:
        span_words = f"from {_time(counted.since_s)} to {_time(counted.until_s)}"
        visit.notices.append(Notice(f"the mail log is being counted, so far {span_words}: reload for more"))
    elif counted.begins_s is not None and counted.begins_s > (begin + 1) * SLOT_S:
        visit.notices.append(Notice(f"the mail log has nothing before {_time(counted.begins_s)}"))
    return counted


def _store(gateway: Gateway) -> dict[str, object]:
    """What waits in the store now, whatever the span."""
    reply = gateway.ask(StoreStatus(), StatusReply, _STORE_TIMEOUT_S)
    names = ("held", "releasing", "oldest_releasing_s", "stored_bytes", "free_bytes")
    return {name: getattr(reply, name) for name in names}


def _time(at_s: float) -> str:
    return f"{time_text(int(at_s * 1000))[:16]}Z"


def _cpu_s(status: Status) -> float | None:
    """CPU of a request, with what workers do between requests, since the workers began."""
    requests = sum(each.counters.requests for each in status.workers)
    return sum(each.counters.cpu_ns for each in status.workers) / 1e9 / requests if requests else None


def _view(row: Stage) -> dict[str, object]:
    return {
        "stage": row.stage,
        "name": row.name,
        "unit": row.unit,
        **{each: row.counts.get(each) for each in RESULTS},
        "has": list(row.counts),
        "cost": row.cost,
        "each_s": row.each_s,
        "asked": row.asked,
        "all_s": row.all_s,
    }


def _csv(row: Stage) -> list[object]:
    return [
        row.stage,
        row.unit,
        *(row.counts.get(each) for each in RESULTS),
        row.cost,
        row.each_s,
        row.asked,
        row.all_s,
    ]


def _rule_view(each: Stopping) -> dict[str, object]:
    return {
        "rule": each.rule.where,
        "text": each.rule.text,
        "stage": each.stage,
        "result": each.result,
        "count": each.times,
    }


def _sentence(rows: list[Stage], words: str) -> str:
    """What was stopped at each stage in front of the store, and what became of the rest."""
    *front, store, backend = rows
    parts = [f"{row.name.lower()} {row.stopped:,}" for row in front if row.stopped]
    unknown = [row.name.lower() for row in front if row.stopped is None]
    stopped = f"Stopped in {words}: {', '.join(parts)}" if parts else f"Nothing is known to be stopped in {words}"
    if unknown:
        stopped += f"; unknown: {', '.join(unknown)}"
    held, delivered = store.counts[HELD], backend.counts[PASSED]
    if held is None or delivered is None:
        return f"{stopped}."
    return f"{stopped}. Held for {held:,} recipient{'s' * (held != 1)}, delivered to {delivered:,}."
