"""What a daily report makes of a policy's texts: pflogsumm, which most Postfix machines run over their mail log.

Facts by running pflogsumm 1.1.5 on lines of Postfix 3.7: of a rejection it shows the text up to the first colon,
semicolon or comma, and counts together what is equal up to there; of WARN and INFO it shows nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.errors import Diagnostic
from forkpolicy.policy.template import CODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.model import Action, Model

_REJECTING = frozenset({"REJECT", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "4xx", "5xx"})
_NOT_SHOWN = frozenset({"WARN", "INFO"})
_ENDS = re.compile("[:;,]")
_NAMED = 3


def report_warnings(model: Model) -> Iterator[Diagnostic]:
    """One warning for all texts that are cut, one for all that are not shown; each at the first such action."""
    used = {rule.action.name for rule in model.rules}
    actions = [each for each in model.actions.values() if each.kind == "reply" and each.place and each.name in used]
    # What a request puts in is not part of `reply`: its colons do not stand in the policy.
    cut = [each for each in actions if each.verb in _REJECTING and _ENDS.search(each.reply.text)]
    if cut:
        message = f"pflogsumm reports the text of {_names(cut)} up to the first of : ; and , only"
        yield _about(
            cut[0], message, "say in front of it what differs: texts that are equal up to there become one entry"
        )
    silent = [each for each in actions if each.verb in _NOT_SHOWN]
    if silent:
        yield _about(
            silent[0], f"pflogsumm reports nothing of {_names(silent)}", "WARN and INFO stand in the mail log alone"
        )


def codes_of_nothing(model: Model, decisions: str) -> Iterator[Diagnostic]:
    """One warning for all texts with the id of a decision that is not logged. `decisions`: which are."""
    with_code = [each for each in model.actions.values() if each.template and CODE in each.template.names]
    lost = [each for each in with_code if decisions == "none" or (decisions == "acted" and each.verb == "DUNNO")]
    if lost:
        message = f"{{code}} is empty in {_names(lost)}: these decisions are not logged"
        yield _about(lost[0], message, f'it is the id of a decision in the log; [log] decisions is "{decisions}"')


def _names(actions: list[Action]) -> str:
    names = [each.name for each in actions]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _about(action: Action, message: str, hint: str) -> Diagnostic:
    place = action.place
    assert place is not None
    return Diagnostic(place.path, place.line, place.column, message, place.source, 1, hint, "warning")
