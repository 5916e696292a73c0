"""What a what-if found, as text and as JSON. Decides nothing itself."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.shared.past_decisions import parties
from forkpolicy.errors import printable
from forkpolicy.explaining.what_if_object import reply_object, what_if_object
from forkpolicy.history.whatif.risks import Kind
from forkpolicy.terminal.colour import Painter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.history.search import Found
    from forkpolicy.history.whatif.judging import Reply, WhatIf
    from forkpolicy.history.whatif.proposals import Proposal
    from forkpolicy.history.whatif.risks import Change, Sample

_KINDS: Final = {Kind.LETS_IN: "lets mail in", Kind.KEEPS_OUT: "keeps mail out", Kind.OTHER: ""}


@dataclass(frozen=True, slots=True)
class Report:
    """One exception, replayed; `changes`: the riskiest first."""

    found: WhatIf
    changes: Sequence[Change]

    @property
    def changed(self) -> int:
        """How many decisions change."""
        return len(self.found.changed)


def print_what_if(
    text: str, report: Report, own: Found | None, replies: tuple[Reply, Reply] | None, *, as_json: bool
) -> None:
    """An exception: what it does to one decision, and which others change."""
    if as_json:
        one = {"decision": _own_object(own, replies)} if own else {}
        print(json.dumps({"exception": text, **one, **what_if_object(report.found, report.changes)}))
        return
    paint = Painter(sys.stdout)
    lines = [f"{paint.bold(own.id)}: {_own_text(replies)}"] if own else []
    print("\n".join([*lines, *_lines(report, paint)]))


def print_proposals(own: Found, proposed: Sequence[tuple[Proposal, Report]], *, as_json: bool) -> None:
    """Exceptions for one decision, from the narrowest to the widest."""
    if as_json:
        every = [
            {
                "summary": each.summary,
                "until": each.until or None,
                "exception": each.text,
                **what_if_object(report.found, report.changes),
            }
            for each, report in proposed
        ]
        print(json.dumps({"id": own.id, "proposals": every}))
        return
    paint = Painter(sys.stdout)
    for number, (proposal, report) in enumerate(proposed):
        until = f", until {proposal.until}" if proposal.until else ""
        print(("\n" if number else "") + paint.bold(f"{proposal.summary}{until}"))
        print("".join(f"    {printable(line)}\n" for line in proposal.text.splitlines()), end="")
        # What ends would have changed the same.
        print("\n".join(_lines(report, paint) if not proposal.until else [_head(report)]))
    if not proposed:
        print("nothing can be proposed: the request has no address that can stand in a policy", file=sys.stderr)


def _lines(report: Report, paint: Painter) -> Iterator[str]:
    yield paint.bold(_head(report))
    for doubt in report.found.doubts:
        yield paint.colour("yellow", printable(f"  not exact: {doubt.text}"))
    for change in report.changes:
        kind = _KINDS[change.kind]
        yield ""
        yield printable(f"{change.decisions:>8,}  {change.before.text} -> {change.after.text}") + (
            f"  {paint.red(kind) if change.kind is Kind.LETS_IN else kind}" if kind else ""
        )
        yield f"{'':>8}  {_rule(change.before)} -> {_rule(change.after)}"
        yield from (f"{'':>8}  {_sample(each)}" for each in change.samples)
        if more := change.decisions - len(change.samples):
            yield paint.dim(f"{'':>8}  ({more:,} more: --most N shows more)")


def _head(report: Report) -> str:
    found = report.found
    exactly = "exactly " if found.is_exact and report.changed else ""
    changed = f"{report.changed:,}" if report.changed else "none"
    return f"changes {exactly}{changed} of the {found.looked_at:,} past decisions that it can touch"


def _rule(reply: Reply) -> str:
    return printable(f"{reply.rule}" + (f" ({reply.acls})" if reply.acls else ""))


def _sample(sample: Sample) -> str:
    found = sample.changed.found
    who = parties(found.client, found.sender, found.recipient, found.login)
    risks = f"  ({'; '.join(sample.risks)})" if sample.risks else ""
    return printable(f"{found.time}  {found.id}  {who}{risks}")


def _own_text(replies: tuple[Reply, Reply] | None) -> str:
    if replies is None:
        return "its line was cut in the log: it is not replayed"
    before, after = replies
    if before.text == after.text:
        return printable(f"stays {before.text} ({before.rule})")
    return printable(f"{before.text} ({before.rule}) -> {after.text} ({after.rule})")


def _own_object(own: Found, replies: tuple[Reply, Reply] | None) -> dict[str, object]:
    if replies is None:
        return {"id": own.id, "before": None, "after": None}
    return {"id": own.id, "before": reply_object(replies[0]), "after": reply_object(replies[1])}
