"""Actions that stay when their recipient is refused afterwards: a finding of `forkpolicy check --postfix`.

FILTER, HOLD, REDIRECT, BCC and PREPEND are said about one recipient and act on the message. When a restriction behind
the policy then refuses that recipient, Postfix keeps the action for the others (3.7.11; tests/postfix shows it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.checks_lines import states_of_line
from forkpolicy.tools.postfix_setup import about
from forkpolicy.tools.reach import context_fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Complaint
    from forkpolicy.tools.postfix_setup import Setup
    from forkpolicy.tools.restrictions import Hook

# DISCARD lets every later recipient in, too: nothing is refused behind it.
STAYING = frozenset({"BCC", "FILTER", "HOLD", "PREPEND", "REDIRECT"})


def staying_actions(setup: Setup, hook: Hook) -> Iterator[Complaint]:
    """One finding for a hook in front of what may still refuse a recipient, if a line that it asks for has such an
    action.
    """
    if not (setup.model and hook.refusing_after and "RCPT" in hook.states):
        return
    lines = [
        line
        for line in setup.model.lines
        if line.action.verb in STAYING and "RCPT" in states_of_line(line) and context_fits(line, hook)
    ]
    if not lines:
        return
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    message = f"{', '.join(hook.refusing_after)} may refuse a recipient for whom {lines[0].where}{more} has said "
    message += f"{lines[0].action.verb}: the action stays, and acts on the mail to the other recipients"
    hint = "ask for such actions last: reject_unlisted_recipient, check_policy_service { ..., policy_context=last }"
    yield about(setup, hook, hook.list_name, message, hint)
