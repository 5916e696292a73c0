"""Warnings about other policy servers that a policy asks: in vain, for a reply that is not there, or for too long."""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING

from forkpolicy.policy.checks.rules import about
from forkpolicy.policy.results import WHOLE_REPLY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.implication import Implication
    from forkpolicy.policy.model import Acl, Model


def asked_in_vain(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Rules in which plain ACLs stand right of one that asks a service."""
    for rule in model.rules:
        behind = list(dropwhile(lambda term: not _endpoint(term[0]), rule.terms))
        plain = [f"{'!' * negated}{acl.name}" for acl, negated in behind if not acl.asked_once]
        if plain and not rule.is_note:
            asking = behind[0][0]
            message = f"{asking.name} asks {_endpoint(asking)} about requests that the rest of the rule excludes"
            yield about(rule, message, f"put {' '.join(plain)} in front of it, if only those are meant")


def reply_of_nobody(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Actions that are the whole reply of a service, in rules that may fire without one."""
    for rule in model.rules:
        template = rule.action.template
        if rule.action.verb != WHOLE_REPLY or template is None:
            continue
        name = template.whole_of
        if all(negated or acl.name != name for acl, negated in rule.terms):
            message = (
                f"{rule.action.name} is the reply for which {name} holds, and this rule fires without one: on_error"
            )
            yield about(rule, message, f"add {name} to the rule")


def too_slow(model: Model, budget_s: float) -> Iterator[Diagnostic]:
    """Time limits that a request does not have."""
    for acl in model.acls.values():
        for timeout_s in (each.timeout_s for each in acl.matchers if each.endpoint):
            if timeout_s >= budget_s:
                message = f"no request waits for {acl.name} for {timeout_s} s: [state] budget = {budget_s:g} is for all"
                hint = "make it shorter, or the budget longer and timeout= of the service in main.cf with it"
                yield acl.word.warning(message, hint)


def _endpoint(acl: Acl) -> str:
    return next((each.endpoint for each in acl.all_matchers if each.endpoint), "")


SERVICE_CHECKS: tuple[Callable[[Model, Implication], Iterator[Diagnostic]], ...] = (asked_in_vain, reply_of_nobody)
