"""The page Training: what the scanner learnt, what it could not learn and why, and how much its statistics know."""

from __future__ import annotations

from dataclasses import asdict
from shlex import quote as shell_quote
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from forkpolicy.console.page import Notice, Page, Rows
from forkpolicy.errors import ForkpolicyError
from forkpolicy.gateway.store_messages import ShowTraining, TrainingReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.visit import Visit

_TITLE: Final = "Training"
KINDS: Final = ("spam", "ham")
# In the order of the page, each with what it means.
STATES: Final = {
    "learnt": "the scanner has learnt it",
    "known": "the scanner knew it already",
    "wanted": "will be learnt at once",
    "later": "the scanner could not learn now, and is asked again every five minutes",
    "failed": "given up: the words say why",
}
# rspamd's statistic.conf: Bayes says nothing before.
MIN_LEARNS: Final = 200
_USUAL: Final = "127.0.0.1:11334"
_COLUMNS: Final = ("at_s", "kind", "state", "words", "sender", "subject", "held")


def show(visit: Visit) -> Page:
    """All of it; what cannot be known is said with what to do."""
    try:
        reply = visit.parts.gateway.ask(ShowTraining(), TrainingReply)
    except ForkpolicyError as error:
        visit.notices.append(Notice(f"the store of held mail: {error}"))
        return Page("training/page", _TITLE, "What the scanner learnt cannot be known now.", {"is_known": False})
    if reply.trouble:
        visit.notices.append(Notice(reply.trouble))
    counts = {(kind, state): count for kind, state, count in reply.counts}
    data: dict[str, object] = {
        "is_known": True,
        "counts": [
            {"state": state, "means": means, **{kind: counts.get((kind, state), 0) for kind in KINDS}}
            for state, means in STATES.items()
        ],
        "lessons": [asdict(each) for each in reply.newest],
        "bayes": _bayes(reply),
        "min_learns": MIN_LEARNS,
        "trouble": reply.trouble,
    }
    rows = Rows(_COLUMNS, ([getattr(each, name) for name in _COLUMNS] for each in reply.newest))
    command = _command(visit.parts.gateway.settings.scanner.controller)
    return Page("training/page", _TITLE, _sentence(counts, reply), data, command, rows)


def _command(controller: str) -> str:
    """What a shell asks that controller."""
    place = urlsplit(controller).netloc
    return f"rspamc -h {shell_quote(place)} stat" if place not in ("", _USUAL) else "rspamc stat"


def _bayes(reply: TrainingReply) -> list[dict[str, object]]:
    return [
        {"symbol": symbol, "learnt": count, "is_enough": count >= MIN_LEARNS} for symbol, count in reply.bayes.items()
    ]


def _sentence(counts: Mapping[tuple[str, str], int], reply: TrainingReply) -> str:
    of = {state: sum(counts.get((kind, state), 0) for kind in KINDS) for state in STATES}
    if not any(of.values()):
        return "Nobody has released or deleted a mail so that the scanner learns it."
    text = f"The scanner learnt {_mails(of['learnt'] + of['known'])} that people released or deleted"
    if waits := of["wanted"] + of["later"]:
        text += f"; {_mails(waits)} wait{'s' * (waits == 1)}"
    if of["failed"]:
        text += f"; {of['failed']:,} could not be learnt"
    few = min(reply.bayes.values(), default=None)
    if few is None:
        return f"{text}."
    return f"{text}. Bayes {'takes part in the score' if few >= MIN_LEARNS else 'does not take part in the score yet'}."


def _mails(count: int) -> str:
    return f"{count:,} mail{'s' * (count != 1)}"
