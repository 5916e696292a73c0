"""The endpoints of the page Decisions."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.scope import history_of, scope_of
from forkpolicy.console.decisions.asked import Asked, ask, ask_for_text, taken
from forkpolicy.console.decisions.groups import GROUPS, MOST_GROUPED, grouped_by
from forkpolicy.console.decisions.nothing import reasons
from forkpolicy.console.decisions.rows import csv_rows, row_of
from forkpolicy.console.errors import UserMistake
from forkpolicy.console.links import decisions
from forkpolicy.console.page import Notice, Page, Redirect
from forkpolicy.history.asking.pasted import MOST_CHARS
from forkpolicy.history.asking.words import meaning_of
from forkpolicy.history.lines import time_text
from forkpolicy.history.mail_log.opening import open_mail_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.console.visit import Visit
    from forkpolicy.history.place import Reader
    from forkpolicy.history.scope import Scope

SHOWN: Final = 50
MOST_LINE_CHARS: Final = 16_384
_TITLE: Final = "Decisions"
_MOST_GAPS: Final = 3


def show(visit: Visit) -> Page:
    """The decisions that the search line finds; all of them where it is empty."""
    line, group = visit.text("q", most=MOST_LINE_CHARS), visit.text("group")
    if group not in ("", *GROUPS):
        raise UserMistake(f"group: expected one of {', '.join(GROUPS)}, got {group}", "group")
    history, scope = history_of(visit), scope_of(visit.account)
    log = open_mail_log(visit.parts.settings.history, visit.now_s)
    try:
        asked = ask(history, log, line, SHOWN, visit.now_s, before=visit.text("before"), sees_all=scope is None)
    except UserMistake as error:
        return _mistaken(line, str(error))
    return _page(visit, history, scope, asked, line)


def paste(visit: Visit) -> Page | Redirect:
    """A text that is too long for an address: the page of the words that it comes to."""
    text = visit.form.get("text", "").strip()
    if not text:
        return Redirect(decisions())
    if len(text) > MOST_CHARS:
        return _mistaken(
            "", f"at most {MOST_CHARS} characters, these are {len(text)}: the part with the reason is enough"
        )
    history, scope = history_of(visit), scope_of(visit.account)
    log = open_mail_log(visit.parts.settings.history, visit.now_s)
    try:
        asked = ask_for_text(history, log, text, visit.now_s)
    except UserMistake as error:
        return _mistaken("", str(error))
    if asked.found:
        return Redirect(decisions(asked.words, pasted="1"))
    return _page(visit, history, scope, asked, "")


def _page(visit: Visit, history: Reader, scope: Scope | None, asked: Asked, line: str) -> Page:
    before, group = visit.text("before"), visit.text("group")
    is_pasted = asked.is_text or bool(visit.text("pasted"))
    with visit.noting("the history"):
        visit.notices += _notices(history, asked)
    for problem in asked.problems:
        visit.notices.append(Notice(problem))
    groups: dict[str, object] | None = None
    if group and asked.found and not (scope and group == "rule"):
        groups = _groups(history, asked, group)
    nothing: list[str] = []
    if not asked.found:
        with visit.noting("the history"):
            nothing = [*reasons(history, visit.parts.settings.history, asked.query, scope, visit.now_s)]
    return Page(
        "decisions",
        _TITLE,
        _sentence(asked, before, is_pasted=is_pasted),
        {
            "line": line,
            "words": asked.words,
            "chips": _chips(asked.words, visit.now_s),
            "is_text": is_pasted,
            "in_vain": asked.in_vain[:3] if not asked.found else [],
            "rows": [row_of(each, scope) for each in asked.found],
            "next": asked.found[-1].cursor if asked.more else None,
            "before": before,
            "group": group,
            "groups": groups,
            "group_names": {name: label for name, (label, _) in GROUPS.items() if scope is None or name != "rule"},
            "nothing": nothing,
            "sees_all": scope is None,
            "mistake": "",
        },
        command=_command(asked.words) if scope is None else "",
        rows=csv_rows(history, replace(asked.query, before="", give_up_s=float("inf")), scope) if asked.found else None,
    )


def _mistaken(line: str, mistake: str) -> Page:
    """The page with what was typed, and why it is not understood."""
    nothing: dict[str, object] = {name: [] for name in ("words", "chips", "in_vain", "rows", "nothing")}
    data = {
        **nothing,
        "line": line,
        "is_text": False,
        "next": None,
        "before": "",
        "group": "",
        "groups": None,
        "group_names": {},
        "sees_all": False,
        "mistake": mistake,
    }
    return Page("decisions", _TITLE, "The search is not understood.", data, status=422)


def _sentence(asked: Asked, before: str, *, is_pasted: bool) -> str:
    count = len(asked.found)
    if not count:
        return "Nothing was found about that text." if is_pasted else "No decision was found."
    if is_pasted:
        about = f"The text is about {_number(count)}"
        unsure = sum(not each.is_sure for each in asked.found)
        return f"{about}; {unsure} of them are probably of the same mail." if unsure else f"{about}."
    if before:
        return f"{_number(count, 'earlier')} until {asked.found[0].time}{'; there are more' if asked.more else ''}."
    if asked.more:
        return f"The newest {_number(count)}; there are more."
    return f"{_number(count)} found." if asked.words else f"{_number(count)} are kept."


def _number(count: int, kind: str = "") -> str:
    what = f"{kind} decision" if kind else "decision"
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _chips(words: Sequence[str], now_s: float) -> list[dict[str, object]]:
    """Each word with its meaning, and the words without it."""
    return [
        {"word": word, "meaning": meaning_of(word, now_s), "without": [*words[:at], *words[at + 1 :]]}
        for at, word in enumerate(words)
    ]


def _notices(history: Reader, asked: Asked) -> list[Notice]:
    """Gaps within what is shown."""
    query = asked.query
    if asked.more:
        query = replace(query, since_ms=max(query.since_ms, asked.found[-1].at_ms))
    if query.before and asked.found:
        query = replace(query, until_ms=min(query.until_ms, asked.found[0].at_ms))
    gaps = history.gaps(query)
    shown = [
        Notice(f"{time_text(at_ms)}: {'1 decision is' if lines == 1 else f'{lines} decisions are'} missing: {reason}")
        for at_ms, lines, reason in gaps[:_MOST_GAPS]
    ]
    if len(gaps) > _MOST_GAPS:
        shown.append(Notice(f"decisions are missing {len(gaps) - _MOST_GAPS} times more within this time"))
    return shown


def _groups(history: Reader, asked: Asked, name: str) -> dict[str, object]:
    """The newest decisions, counted."""
    found, problems = (
        taken(history.find(replace(asked.query, before=""), MOST_GROUPED)) if asked.more else (asked.found, [])
    )
    return {
        "by": GROUPS[name][0],
        "rows": grouped_by(name, found, asked.words),
        "decisions": len(found),
        "is_part": len(found) == MOST_GROUPED or bool(problems),
        "since": found[-1].time if found else None,
    }


def _command(words: Sequence[str]) -> str:
    return f"forkpolicy history find {shlex.join(words or ['since:30d'])}"
