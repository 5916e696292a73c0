"""What the page What if shows of trials, as data. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.links import why
from forkpolicy.console.page import Rows
from forkpolicy.errors import ConfigError
from forkpolicy.explaining.what_if_object import reply_object
from forkpolicy.history.whatif.risks import Kind

if TYPE_CHECKING:
    from forkpolicy.console.whatif.replays import Replay
    from forkpolicy.history.whatif.proposals import Proposal
    from forkpolicy.history.whatif.risks import Change, Sample

View = dict[str, object]
_SHOWN: Final = 20
_COLUMNS: Final = ("time", "id", "client", "sender", "recipient", "login", "before", "after", "risks")
_KINDS: Final = {Kind.LETS_IN: "lets in", Kind.KEEPS_OUT: "keeps out", Kind.OTHER: "other"}


def choice_view(proposal: Proposal, replay: Replay, address: str) -> View:
    """One proposal with its count, as far as it is known."""
    answer = replay.answer
    return {
        "summary": proposal.summary,
        "until": proposal.until or None,
        "text": proposal.text,
        "link": address,
        "state": state_of(replay),
        "changed": answer.changed if answer else None,
        "exact": not answer.doubts if answer else None,
        "kept_out": answer.kept_out if answer else "",
    }


def state_of(replay: Replay) -> str:
    """`waiting`, `running`, `done` or `failed`."""
    if replay.done.is_set():
        return "done" if replay.answer else "failed"
    return "running" if replay.is_running else "waiting"


def answer_view(replay: Replay) -> View:
    """What a trial has found, or how far it is."""
    state = state_of(replay)
    trouble = replay.trouble
    view: View = {"state": state, "read": replay.read, "made_s": replay.made_s, "mistakes": [], "answer": None}
    if state == "failed" and trouble:
        diagnostics = trouble.diagnostics if isinstance(trouble, ConfigError) else ()
        view["mistakes"] = [str(each) for each in diagnostics] or [str(trouble)]
    elif answer := replay.answer:
        view["answer"] = {
            "looked_at": answer.looked_at,
            "changed": answer.changed,
            "exact": not answer.doubts,
            "partial": answer.is_partial,
            "doubts": [each._asdict() for each in answer.doubts],
            "warnings": [str(each) for each in answer.warnings],
            "own": {"before": reply_object(answer.own[0]), "after": reply_object(answer.own[1])}
            if answer.own
            else None,
            "kept_out": answer.kept_out,
            "changes": [_change(each) for each in answer.changes],
        }
    return view


def sentence_of(replay: Replay) -> str:
    """The answer, in front of everything else."""
    answer = replay.answer
    if not replay.done.is_set():
        return "The past requests are being replayed."
    if not answer:
        return "This cannot be tried as it is."
    if answer.kept_out:
        return answer.kept_out
    days = f"in the last {_counted(replay.asked.days, 'day')}"
    if not answer.changed:
        return f"It would have changed none of the {answer.looked_at:,} past decisions that it can touch {days}."
    exactly = "exactly " if not answer.doubts else ""
    let_in = sum(each.decisions for each in answer.changes if each.kind is Kind.LETS_IN)
    more = f"; {let_in:,} of them would have been let in" if let_in != answer.changed else ", and let all of them in"
    changed = f"{exactly}{_counted(answer.changed, 'decision')}"
    newest = f"the newest {answer.looked_at:,}" if answer.is_partial else f"the {answer.looked_at:,}"
    return f"It would have changed {changed} of {newest} that it can touch {days}{more}."


def answer_rows(replay: Replay) -> Rows:
    """All decisions that are kept, the riskiest first, for CSV."""
    changes = replay.answer.changes if replay.answer else ()
    return Rows(_COLUMNS, [_row(change, sample) for change in changes for sample in change.samples])


def _row(change: Change, sample: Sample) -> list[object]:
    found = sample.changed.found
    who = (found.client, found.sender, found.recipient, found.login)
    return [found.time, found.id, *who, change.before.text, change.after.text, "; ".join(sample.risks)]


def _change(change: Change) -> View:
    samples = change.samples[:_SHOWN]
    return {
        "decisions": change.decisions,
        "kind": _KINDS[change.kind],
        "before": reply_object(change.before),
        "after": reply_object(change.after),
        "samples": [_sample(each) for each in samples],
        "more": change.decisions - len(samples),
    }


def _sample(sample: Sample) -> View:
    found = sample.changed.found
    names = ("id", "client", "sender", "recipient", "login", "host")
    return {name: getattr(found, name) for name in names} | {
        "at_s": found.at_ms / 1000,
        "why": why(found.id),
        "risks": list(sample.risks),
    }


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
