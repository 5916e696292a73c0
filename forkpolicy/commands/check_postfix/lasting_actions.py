"""Actions that act on a message where their author may not expect it: findings of `forkpolicy check --postfix`.

FILTER, HOLD, REDIRECT, BCC and PREPEND are the reply for one recipient and act on the message. When a restriction after
the policy refuses that recipient, Postfix keeps the action for the others (3.7.11; tests/postfix shows it). And
warn_if_reject before the policy turns only refusals into warnings: these and DISCARD still act (3.7.11;
findings/postfix-warn-if-reject-still-acts.sh).

A FILTER to the gateway's store acts on the mail to the others, too; but the store asks again about each of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.commands.check_postfix.reachability import context_fits
from forkpolicy.commands.check_postfix.setup import about
from forkpolicy.policy.checks.rules import states_of_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.commands.check_postfix.setup import Setup
    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Rule
    from forkpolicy.postfix.restrictions import CallSite

# DISCARD accepts every later recipient, too: nothing after it is refused.
LASTING = frozenset({"BCC", "FILTER", "HOLD", "PREPEND", "REDIRECT"})
ACTING_DESPITE_WARN_IF_REJECT = LASTING | {"DISCARD"}


# The sockets of the store, through any transport (docs/gateway.md).
_TO_STORE = re.compile(r"FILTER\s+[\w.-]+:unix:(?:\S*/)?private/store(?:-spam|-virus)?", re.IGNORECASE)


def lasting_actions(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    """One finding for a call site with a rule that has such an action, before what may still refuse a recipient."""
    if not (setup.model and site.refusing_after and "RCPT" in site.states):
        return
    lines = [
        line
        for line in _lines(setup, site, LASTING)
        if "RCPT" in states_of_rule(line) and not _TO_STORE.fullmatch(line.action.reply.text)
    ]
    if not lines:
        return
    message = f"{', '.join(site.refusing_after)} may refuse a recipient for whom the reply of {_named(lines)} is "
    message += f"{_verb(lines[0], LASTING)}: the action lasts, and acts on the mail to the other recipients"
    hint = "ask for such actions last: reject_unlisted_recipient, check_policy_service { ..., policy_context=last }"
    yield about(setup, site, site.list_name, message, hint)


def acting_despite_warn_if_reject(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    """One finding for a call site after warn_if_reject, with the first rule whose action takes effect nevertheless."""
    if site.before[-1:] != ("warn_if_reject",):
        return
    message = "warn_if_reject stands before check_policy_service: what the policy rejects is logged and accepted"
    if lines := _lines(setup, site, ACTING_DESPITE_WARN_IF_REJECT):
        message += (
            f", but {_verb(lines[0], ACTING_DESPITE_WARN_IF_REJECT)} of {_named(lines)} acts on the mail nevertheless"
        )
    hint = "remove it when the trial is over; `shadow` in forkpolicy.toml tries a policy without any effect"
    yield about(setup, site, site.list_name, message, hint)


def _lines(setup: Setup, site: CallSite, verbs: frozenset[str]) -> list[Rule]:
    """The rules with one of these actions that may reply to a call site."""
    lines = setup.model.rules if setup.model else []
    return [line for line in lines if not verbs.isdisjoint(line.action.verbs) and context_fits(line, site)]


def _verb(line: Rule, verbs: frozenset[str]) -> str:
    """What it does of these; a service may reply with several."""
    return min(verbs & line.action.verbs)


def _named(lines: list[Rule]) -> str:
    return lines[0].where + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
