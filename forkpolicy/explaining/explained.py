"""One request, decided in words by a loaded policy. The caller has put a clock into it (history/clock.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.protocol.layout import wanted_values

if TYPE_CHECKING:
    from forkpolicy.policy.answers import Mode
    from forkpolicy.policy.evaluate import Trace
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.request import Request


def explained(policy: Policy, request: Request, mode: Mode, *, all_rules: bool = False) -> tuple[Trace, str]:
    """Why, and the text of the reply. `all_rules`: also those behind the one that decides."""
    values = wanted_values(request, policy.wanted)
    trace = policy.trace(values, mode, all_rules=all_rules)
    text, failure = policy.result(trace.outcome, values, trace.answers)
    trace.failure = trace.failure or failure
    return trace, text
