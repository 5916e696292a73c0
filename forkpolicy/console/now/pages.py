"""The page Now, its live list, and the notice of every page when refusals are far more than usual."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import TooMany, UserMistake
from forkpolicy.console.held.troubles import note_troubles
from forkpolicy.console.links import decisions
from forkpolicy.console.now.figures import NEWEST, SPANS, hottest, rates_of, row_of, rules_of, server_of, waiting_of
from forkpolicy.console.now.sentence import sentence
from forkpolicy.console.page import Notice, Page, Rows, Stream
from forkpolicy.history.query import Query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from forkpolicy.console.now.lateness import Lateness
    from forkpolicy.console.now.live import Live, Taken
    from forkpolicy.console.now.now import Now
    from forkpolicy.console.now.usual import LastHour
    from forkpolicy.console.visit import Visit
    from forkpolicy.history.search import Found

_WHAT: Final = "the history"
_OFF: Final = "there is no history, as [history] log is empty"
# A proxy ends a connection on which nothing comes for a minute.
_BEAT_S: Final = 20.0
# Then the browser comes again, and is asked again who it is.
_LONGEST_S: Final = 300.0


def show(visit: Visit) -> Page:
    """Now. Each part stands for itself: what cannot be read is a notice."""
    now = visit.parts.now
    span = visit.text("span", most=10) or "24h"
    if span not in SPANS:
        raise UserMistake(f"span: expected one of {', '.join(SPANS)}, got {span}", "span")
    data: dict[str, object] = {"span": span, "spans": {name: each.words for name, each in SPANS.items()}}
    note_troubles(visit)
    looks = visit.known("the server", now.looks.now)
    data["server"] = server_of(*looks) if looks else None
    texts = rules_of(looks[1]) if looks else {}
    late, hour = _history(visit, now, data, texts) if now.is_recorded else (None, None)
    for name in ("plot", "rates", "hottest", "newest", "hour", "newest_s", "behind_s"):
        data.setdefault(name, None)
    recorded = "" if now.is_recorded else _OFF
    waiting = waiting_of(looks[1]) if looks else None
    rows = data["rates"] if isinstance(data["rates"], list) else []
    return Page(
        "now",
        "Now",
        sentence(hour, late, waiting, recorded),
        data,
        "forkpolicy status",
        Rows(("time", "refused", "deferred", "passed", "other"), [_csv(row) for row in rows]),
    )


def _csv(row: dict[str, object]) -> list[object]:
    return [row["at_s"], *(row[kind] for kind in ("refused", "deferred", "passed", "other"))]


def _history(
    visit: Visit, now: Now, data: dict[str, object], texts: dict[str, str]
) -> tuple[Lateness | None, LastHour | None]:
    late = visit.known(_WHAT, now.lateness)
    known_until_s = None
    if late:
        data |= {"newest_s": late.newest_s, "behind_s": late.behind_s, "lateness_unknown": late.unknown}
        known_until_s = (late.newest_s or 0.0) if late.behind_s else None
    found = visit.known(_WHAT, lambda: rates_of(now, SPANS[str(data["span"])], known_until_s))
    if found:
        counts, data["plot"], data["rates"] = found
        visit.notices += [Notice(f"{_WHAT}: {each}") for each in counts.unread]
    hour = visit.known(_WHAT, now.last_hour)
    since_s = hour.since_s if hour else int(visit.now_s) - 3600
    data["hour"] = hour
    data["hottest"] = visit.known(_WHAT, lambda: hottest(now, since_s, texts))
    with visit.noting(_WHAT):
        _note_gaps(visit, since_s)
    rows: list[dict[str, object]] = []
    with visit.noting(_WHAT):
        # What can be read comes before the error of a day that cannot.
        rows.extend(row_of(each) for each in visit.parts.history.find(Query(), NEWEST))
    data["newest"] = rows
    # One day that cannot be read is in the way of several figures.
    visit.notices[:] = dict.fromkeys(visit.notices)
    return late, hour


def _note_gaps(visit: Visit, since_s: int) -> None:
    gaps = visit.parts.history.gaps(Query(since_ms=since_s * 1000))
    if missing := sum(decisions for _, decisions, _ in gaps):
        why = "; ".join(dict.fromkeys(reason for _, _, reason in gaps))
        visit.notices.append(Notice(f"The history lacks {missing:,} decisions, of the last hour or of this day: {why}"))


def alarm_notices(visit: Visit) -> list[Notice]:
    """For every page of those who may see the server; nothing is raised and nothing waits."""
    alarm = visit.parts.now.alarm()
    if alarm is None:
        return []
    hour, mostly = alarm.hour, alarm.mostly
    usual = f"{hour.usual:,} {'is' if hour.usual == 1 else 'are'} usual" if hour.usual else "none is usual"
    text = f"{hour.refused:,} mails were refused in the last hour, where {usual} ({hour.compared})."
    words = []
    if mostly.rule.text:
        text += f" Most by {mostly.rule.text} ({mostly.rule.count:,} of {mostly.rule.of:,})"
        words.append(f"rule:{mostly.rule.text}")
        for share, name, word in ((mostly.network, "from", "client"), (mostly.domain, "with senders of", "from")):
            if share.text:
                text += f", {name} {share.text} ({share.count} of its newest {share.of})"
                words.append(f"{word}:{share.text}")
        text += "."
    return [Notice(text, "alarm", decisions(" ".join([*words, "since:1h"])))]


def live(visit: Visit) -> Stream:
    """Rows of decisions as they come: server-sent events, each with an id to go on from. Raises TooMany."""
    now = visit.parts.now
    now.live.check(visit.session or visit.client)
    last_id = visit.headers.get("last-event-id", "") or visit.text("after", most=40)
    is_json = visit.query.get("format") == "json"
    return Stream(_events(now.live, visit, last_id, is_json=is_json))


async def _events(live_list: Live, visit: Visit, last_id: str, *, is_json: bool) -> AsyncIterator[bytes]:
    loop, has_more = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(has_more.set)

    try:
        listener = live_list.listen(visit.session or visit.client, lambda _found: True, wake, last_id)
    except TooMany:
        # Another one has begun since this one was allowed; a browser tries again.
        return
    trouble, until_s = "", loop.time() + _LONGEST_S
    try:
        # First of all, so that a browser knows that it is connected.
        yield b"retry: 3000\n\n"
        while loop.time() < until_s:
            taken = live_list.take(listener)
            for found in taken.found:
                yield event(found.id, _data(visit, found, is_json=is_json))
            if taken.lost or taken.has_more or taken.trouble != trouble:
                trouble = taken.trouble
                yield event("", _about(taken), "note")
            try:
                await asyncio.wait_for(has_more.wait(), _BEAT_S)
            except TimeoutError:
                yield b": here\n\n"
            has_more.clear()
    finally:
        live_list.leave(listener)


def event(name: str, data: str, kind: str = "") -> bytes:
    """One server-sent event."""
    lines = [f"id: {name}"] if name else []
    lines += [f"event: {kind}"] if kind else []
    # \r would end a line, too.
    lines += [f"data: {line}" for line in data.replace("\r", "\n").split("\n") if line]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


def _data(visit: Visit, found: Found, *, is_json: bool) -> str:
    row = row_of(found)
    if is_json:
        return json.dumps(row, ensure_ascii=True)
    return visit.render("now_rows", {"rows": [row], "visit": visit, "now_s": found.at_ms / 1000})


def _about(taken: Taken) -> str:
    if taken.trouble:
        return f"The history cannot be read: {taken.trouble}"
    if not (taken.lost or taken.has_more):
        return "The history can be read again."
    return f"{taken.lost:,} {'or more ' * taken.has_more}decisions came too fast for this list and are not in it."
