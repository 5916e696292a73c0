"""How an explanation looks on a terminal: the action, then each rule that was tried with its terms.

One term a row: whether it is met (yes, no, cannot be known, failed), and why. `explain` and `make demo` show it, and
`history show` of a past decision.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from forkpolicy.explaining.facts import (
    WOULD,
    WOULD_NOT,
    decides,
    escape_unprintable,
    met,
    not_given,
    unreadable,
    why,
)
from forkpolicy.policy.evaluate import Answer
from forkpolicy.terminal.colour import Painter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.model import Model
    from forkpolicy.protocol.request import Request

DEPENDS = "the reply depends on what cannot be read (acl {}); if no term below that asks it is met, it is:"
COLOUR_OF = {
    "yes": "green",
    "no": "dim",
    WOULD: "green",
    WOULD_NOT: "dim",
    Answer.UNKNOWN.value: "yellow",
    Answer.NOT_ASKED.value: "yellow",
    Answer.FAILED.value: "red",
}
# Longer policies show the rules that matter.
SHORT_POLICY = 20


def as_text(trace: Trace, text: str, request: Request, model: Model) -> str:
    """The whole explanation."""
    paint = Painter(sys.stdout)
    unread = unreadable(trace)
    depends = [paint.colour("yellow", DEPENDS.format(", ".join(unread)))] if unread else []
    action = paint.bold(f"action={escape_unprintable(text)}")
    return "\n".join([*depends, action, *why_lines(trace, request, model)])


def why_lines(trace: Trace, request: Request, model: Model, *, is_past: bool = False) -> list[str]:
    """What stands below the action. `is_past`: what actions remember and forget was done."""
    paint, unread = Painter(sys.stdout), unreadable(trace)
    lines: list[str] = []
    if trace.failure:
        lines.append(paint.red(f"answered with on_error: {trace.failure}"))
    elif trace.outcome.place is None:
        lines.append(f"no rule fired: action {trace.outcome.action.name}")
    tried_rules = trace.tried
    shown = [
        each
        for each in tried_rules
        if each.fired
        or each.failed
        or len(each.looked) > 1
        or len(tried_rules) < SHORT_POLICY
        or any(looked.acl.name in unread for looked, _ in each.looked)
    ]
    for tried in shown:
        lines += _tried_text(tried, trace, request, paint, is_past=is_past)
    if len(shown) < len(tried_rules):
        lines.append(paint.dim(f"({len(tried_rules) - len(shown)} more rules whose first term is not met)"))
    if any(rule.action.kind == "score" for rule in model.rules):
        lines.append(f"score {trace.score:g}")
    missing = not_given(trace, request, model)
    if missing:
        lines.append(paint.colour("yellow", f"not given, taken as empty: {', '.join(missing)}"))
    return lines


def _tried_text(tried: Tried, trace: Trace, request: Request, paint: Painter, *, is_past: bool) -> list[str]:
    decided = decides(tried, trace)
    mark = "  <- decided" if decided else "  (fired)" if tried.fired else ""
    title = f"{tried.rule.where}: {tried.rule.text}"
    terms = list(_terms(tried.looked))
    name_width, met_width = max(len(name) for name, _, _ in terms), max(len(is_met) for _, is_met, _ in terms)
    if tried.fired and tried.rule.action.deed and not is_past:
        mark = "  (fires, not done)"
    rows = [(paint.bold(title) if decided else title) + paint.bold(mark)]
    for name, is_met, looked in terms:
        shown = paint.colour(COLOUR_OF[is_met], f"{is_met:<{met_width}}")
        rows.append(f"  {name:<{name_width}}  {shown}  {why(looked, request, trace)}".rstrip())
    return rows


def _terms(several: Iterable[tuple[Looked, bool]], indent: str = "") -> Iterator[tuple[str, str, Looked]]:
    """The rows of some terms, each with those that it has asked itself below it."""
    for looked, negated in several:
        yield f"{indent}{'!' * negated}{looked.acl.name}", met(looked, negated), looked
        yield from _terms(looked.terms, f"{indent}  ")
