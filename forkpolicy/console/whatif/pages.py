"""The page What if: exceptions that would let one decision's mail in, or a draft, with whom they would have changed.

A trial may take seconds: the page shows how far it is, asks again by itself where scripts run, and has a link else.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from shlex import quote
from typing import TYPE_CHECKING, Final

from forkpolicy.console.change.engine import Applied, Differs, Refused, Same, Wrong
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import link, why, with_query
from forkpolicy.console.page import Page, Redirect
from forkpolicy.console.whatif.replays import rule_path
from forkpolicy.console.whatif.trial import Asked
from forkpolicy.console.whatif.views import answer_rows, answer_view, choice_view, sentence_of
from forkpolicy.history.past_request import read_past
from forkpolicy.history.query import Query, ids_in
from forkpolicy.history.rollup_sums import slot_of
from forkpolicy.history.whatif.policies import lines_of
from forkpolicy.history.whatif.proposals import Proposal, free_name, proposals_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.console.change.engine import Outcome
    from forkpolicy.console.visit import Visit
    from forkpolicy.console.whatif.replays import Replay
    from forkpolicy.history.search import Found
    from forkpolicy.loading import Loaded

_DAYS: Final = 7
_MOST_DAYS: Final = 400
_UNTIL_DAYS: Final = 30
MOST_AT_FIRST: Final = 20_000
MOST: Final = 200_000
_MOST_CHARS: Final = 8_000
# Most trials take less: then the page has the answer at once.
_WAIT_S: Final = 0.1
_WAIT_FOR_ALL_S: Final = 15.0


def show(visit: Visit) -> Page:
    """What is proposed, or was typed, and what it would have changed."""
    now = visit.parts.change.drafts.now()
    found = _decision(visit)
    statements = visit.text("statements", most=_MOST_CHARS)
    until = _until(visit)
    proposals = _proposals(visit, now, found, until) if found else []
    number = visit.number("choice", 0, most=max(0, len(proposals) - 1))
    if statements:
        chosen = Proposal("your own lines", lines_of(statements) if "\n" not in statements else f"{statements}\n")
    elif proposals:
        chosen = proposals[number]
    else:
        return _nothing(found)
    return _page(visit, now, found, proposals, chosen, number if not statements else -1)


def apply(visit: Visit) -> Page | Redirect:
    """Put an exception into the console's rule file."""
    text = visit.form.get("text", "")
    if not text.strip() or len(text) > _MOST_CHARS:
        raise UserMistake("There is nothing to apply.", "text")
    lines = text.replace("\r\n", "\n").rstrip("\n") + "\n"
    outcome = visit.parts.change.append(lines, visit.account.name, visit.text("note"), visit.client)
    if isinstance(outcome, Applied):
        return Redirect(link(f"/change/{outcome.n}", applied=1))
    data = {"text": lines, "edit": link("/change", add=lines), "why": _why_not(outcome)}
    return Page("whatif/refused", "What if", "It was not applied, and nothing was changed.", data=data, status=409)


def _why_not(outcome: Outcome) -> list[str]:
    match outcome:
        case Wrong(checked):
            return [str(each) for each in (*checked.mistakes, *checked.elsewhere)]
        case Refused(_, said):
            return ["the server has refused it, and the file is as before", *said]
        case Differs():
            return ["somebody has changed the rules at the same moment"]
        case Same():
            return ["the rules have these lines already"]
    return []


def _decision(visit: Visit) -> Found | None:
    """The one that is asked about. Raises NotFound, HistoryError."""
    text = visit.text("id")
    if not text:
        return None
    code = next(ids_in(text), text)
    found = next(visit.parts.history.find(Query(ids=[code]), 1), None)
    if found is None:
        raise NotFound(f"There is no decision {code} in the history.")
    return found


def _until(visit: Visit) -> str:
    """The last day of an exception: `never` for none, in 30 days where nothing is said. Raises UserMistake."""
    if visit.text("ends") == "never":
        return ""
    today = datetime.fromtimestamp(visit.now_s, UTC).date()
    text = visit.text("until")
    if not text:
        return str(today + timedelta(days=_UNTIL_DAYS))
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UserMistake(f"Until: expected a day, as in 2026-12-31, got {text}", "until") from None
    if day < today:
        raise UserMistake(f"Until: {day} is over", "until")
    return str(day)


def _proposals(visit: Visit, now: Loaded, found: Found, until: str) -> list[Proposal]:
    past = read_past(visit.parts.history.raw(found))
    day = until or str(datetime.fromtimestamp(visit.now_s, UTC).date())
    every = proposals_of(now.policy, past.attributes, free_name(now.policy, found.id), day)
    return [each for each in every if bool(each.until) == bool(until)]


def _nothing(found: Found | None) -> Page:
    if found:
        sentence = "Nothing can be proposed: the request has no address that can stand in a policy."
    else:
        sentence = "Open it from a decision, or write rules and see what they would have changed."
    data = {"id": found.id if found else "", "statements": "", "days": _DAYS, "state": "nothing"}
    return Page("whatif/draft", "What if", sentence, data=data)


def _page(
    visit: Visit,
    now: Loaded,
    found: Found | None,
    proposals: Sequence[Proposal],
    chosen: Proposal,
    number: int,
) -> Page:
    asked = _asked(visit, found, chosen)
    first = visit.parts.what_if.get(asked, now, afresh=visit.text("afresh") == "1")
    replays = [visit.parts.what_if.get(_asked(visit, found, each), now) for each in proposals]
    is_whole = visit.wants_json or visit.text("format") == "csv"
    first.done.wait(_WAIT_FOR_ALL_S if is_whole else _WAIT_S)
    here, path, sentence = _address(visit, number), rule_path(now), sentence_of(first)
    data = {
        "decision": found and _decision_view(found),
        "id": found.id if found else "",
        "statements": visit.text("statements", most=_MOST_CHARS),
        "days": asked.days,
        "until": chosen.until or visit.text("until"),
        "ends": visit.text("ends"),
        "choice": number,
        "choices": [
            choice_view(each, replay, _address(visit, at))
            for at, (each, replay) in enumerate(zip(proposals, replays, strict=True))
        ],
        "path": str(path) if path else "",
        "text": chosen.text,
        "edit": link("/change", add=chosen.text) if path else "",
        "note": _note(found, chosen),
        "here": here,
        "afresh": with_query(here, afresh=1),
        "more": _more(first, here),
        "recorded": _recorded(visit, first),
        **answer_view(first),
    }
    match visit.text("part"):
        case "answer":
            return Page("whatif/answer", "What if", data={**data, "sentence_now": sentence}, fragment=True)
        case "count" if proposals:
            return Page("whatif/count", "What if", data=data, fragment=True)
    # What comes later says its own sentence.
    is_said = first.done.is_set() or is_whole
    data["sentence_now"] = "" if is_said else sentence
    rows, command = answer_rows(first) if first.answer else None, _command(found, asked)
    return Page("whatif/page", "What if", sentence if is_said else "", data=data, rows=rows, command=command)


def _address(visit: Visit, number: int) -> str:
    """Of the same page with one of the proposals, or with the same lines."""
    names = ("id", "days", "until", "ends", "most", "statements")
    query = {name: visit.text(name, most=_MOST_CHARS) for name in names}
    if number >= 0:
        query |= {"statements": "", "choice": str(number)}
    return link("/whatif", **query)


def _asked(visit: Visit, found: Found | None, proposal: Proposal) -> Asked:
    days = visit.number("days", _DAYS, least=1, most=_MOST_DAYS)
    most = visit.number("most", MOST_AT_FIRST, least=1, most=MOST)
    return Asked(proposal.text, found.id if found else "", days, most)


def _recorded(visit: Visit, replay: Replay) -> int | None:
    """How many decisions the history has of the time of a trial that has left some out; None where it has not."""
    if not (replay.answer and replay.answer.is_partial):
        return None
    first, last = slot_of(visit.now_s - replay.asked.days * 86_400), slot_of(visit.now_s)
    found = visit.known("the history", lambda: visit.parts.now.rates.rules(first, last))
    return None if found is None else found.total()


def _more(replay: Replay, here: str) -> str:
    """A longer trial, where this one has left requests out."""
    is_partial = replay.answer is not None and replay.answer.is_partial
    return with_query(here, most=MOST) if is_partial and replay.asked.most < MOST else ""


def _decision_view(found: Found) -> dict[str, object]:
    names = ("id", "client", "sender", "recipient", "login", "rule", "verb")
    return {name: getattr(found, name) for name in names} | {"at_s": found.at_ms / 1000, "why": why(found.id)}


def _note(found: Found | None, chosen: Proposal) -> str:
    if not found:
        return ""
    return f"exception for decision {found.id}: {chosen.summary}{f', until {chosen.until}' if chosen.until else ''}"


def _command(found: Found | None, asked: Asked) -> str:
    words = ["forkpolicy", "whatif", *([found.id] if found else [])]
    statements = " / ".join(asked.statements.strip().splitlines())
    return " ".join(quote(each) for each in [*words, "--except", statements, "--since", f"{asked.days}d"])
