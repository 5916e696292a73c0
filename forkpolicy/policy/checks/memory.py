"""Warnings about what a policy remembers: what counts more than its author may think, and whom greylisting meets."""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import nearest
from forkpolicy.policy.checks.rules import CLIENTS_OWN, about, states_of_rule, turns_away

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.implication import Implication
    from forkpolicy.policy.model import Acl, Model, Rule

    Term = tuple[Acl, bool]

# What is counted before anybody knows whether the mail will be accepted.
MAIL: Final = frozenset({"messages", "recipients"})
AT_END: Final = "END-OF-MESSAGE"


def counted_too_early(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Rules in which plain ACLs stand right of one that counts."""
    for rule in model.rules:
        behind = list(dropwhile(lambda term: not _writes(term[0]), rule.terms))
        plain = [_shown(term) for term in behind if not term[0].asked_once]
        if plain:
            counting, _negated = behind[0]
            message = f"{counting.name} counts requests that the rest of the rule excludes"
            yield about(rule, message, f"put {' '.join(plain)} in front of it, if only those are meant")


def counted_in_vain(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """ACLs of type `any` in which plain ones stand right of one that counts."""
    for acl in model.acls.values():
        behind = list(dropwhile(lambda term: not _writes(term[0]), acl.terms))
        plain = [_shown(term) for term in behind if not term[0].asked_once]
        if plain:
            message = f"{behind[0][0].name} counts requests for which {acl.name} holds anyway"
            yield acl.word.warning(message, f"put {' '.join(plain)} in front of it, if those are not meant")


def counted_and_refused(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Limits that count mail which a later rule may refuse."""
    for rule in model.rules:
        counting = next((acl for acl, _ in rule.terms if _counts(acl) & MAIL), None)
        if counting is None or states_of_rule(rule) <= {AT_END}:
            continue
        met = rule.terms[: [acl for acl, _ in rule.terms].index(counting)]
        for later in model.rules[rule.number + 1 :]:
            if turns_away(later) and _may_fire(later, rule, met, implication):
                message = f"{counting.name} counts mail that a later rule may refuse: {later.where}: {later.text}"
                hint = "put the limit below it, or ask at END-OF-MESSAGE to count accepted mail (protocol_state)"
                yield about(rule, message, hint)
                break
            if later.action.kind == "reply" and all(_is_met(term, met, implication) for term in later.terms):
                # Nothing that was counted comes further.
                break


def _is_met(term: Term, met: tuple[Term, ...], implication: Implication) -> bool:
    acl, negated = term
    if negated:
        return any(not_ and implication.number(other) == implication.number(acl) for other, not_ in met)
    return any(not not_ and implication.number(acl) in implication.wider(other) for other, not_ in met)


def _may_fire(later: Rule, rule: Rule, met: tuple[Term, ...], implication: Implication) -> bool:
    """Whether a rule may refuse what has met the terms in front of a limit. Another limit is meant to do so."""
    if any(_counts(acl) for acl, _ in later.terms):
        return False
    if not states_of_rule(later) & states_of_rule(rule):
        return False
    return not any(_opposed(one, other, implication) for one in met for other in later.terms)


def _opposed(one: Term, other: Term, implication: Implication) -> bool:
    (acl, negated), (second, second_negated) = one, other
    if negated is second_negated:
        return not negated and implication.exclude(acl, second)
    holds, not_holds = (second, acl) if negated else (acl, second)
    return implication.number(not_holds) in implication.wider(holds)


def greylisting_of_all(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Greylisting that meets one's own people: their mail programs do not come again."""
    for rule in model.rules:
        if not turns_away(rule) or not any(_greylists(acl) and not not_ for acl, not_ in rule.terms):
            continue
        if any("policy_context" in acl.attributes for acl, _ in rule.terms):
            continue
        above = [each for each in model.rules[: rule.number] if each.action.kind == "reply" and not turns_away(each)]
        has_login = _spares(rule, above, CLIENTS_OWN)
        has_networks = _spares(rule, above, frozenset({"client_address"}))
        missing = ["who has signed in"] * (not has_login) + ["clients in your own networks"] * (not has_networks)
        if missing:
            message = f"greylisting makes {' and '.join(missing)} wait, whose programs may not try again"
            hint = "put a rule that lets them pass above it, or !signed_in and !from_inside in front of it"
            yield about(rule, message, hint)


def _spares(rule: Rule, above: list[Rule], attributes: frozenset[str]) -> bool:
    """Whether those that an attribute tells apart are left alone, here or by a rule above."""
    here = any(negated and _asks(acl, attributes) for acl, negated in rule.terms)
    return here or any(not negated and _asks(acl, attributes) for each in above for acl, negated in each.terms)


def lists(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Lists that are filled under one name or by one key, and asked under or by another."""
    filled = {rule.action.deed.list_name: rule for rule in model.rules if rule.action.deed}
    asked = {each.list_name for acl in model.acls.values() for each in acl.matchers if each.list_name}
    for acl in dict.fromkeys(acl for rule in model.rules for acl in rule.asked_acls):
        for matcher in acl.matchers:
            name = matcher.list_name
            near = nearest(name, filled) if name and name not in filled else ""
            if near and near not in asked:
                hint = f'did you mean "{near}"? Only forkpolicy state remember fills "{name}"'
                yield acl.word.warning(f'no action remembers anything in the list "{name}"', hint)
    for rule in model.rules:
        deed = rule.action.deed
        own = len(deed.key.parts) if deed else 0
        parts = _parts_of(model, deed.list_name) if deed else set()
        if deed and parts and own not in parts:
            asked_by = f'the list "{deed.list_name}" is asked by keys of {_many(max(parts))}'
            yield about(rule, f"{asked_by}, but {rule.action.name} has {_many(own)}", "write the same keys in both")


def _many(parts: int) -> str:
    return f"{parts} part{'s' * (parts != 1)}"


def _parts_of(model: Model, list_name: str) -> set[int]:
    """Of how many parts the keys are by which a list is asked."""
    matchers = (each for acl in model.acls.values() for each in acl.matchers)
    return {each.key_parts for each in matchers if each.list_name == list_name}


def _asks(acl: Acl, attributes: frozenset[str]) -> bool:
    return not acl.asked_once and not attributes.isdisjoint(acl.attributes)


def _writes(acl: Acl) -> bool:
    return any(matcher.writes for matcher in acl.all_matchers)


def _counts(acl: Acl) -> set[str]:
    """What of a message it counts."""
    return {matcher.counting for matcher in acl.all_matchers if matcher.counting}


def _greylists(acl: Acl) -> bool:
    return any(each.type_name == "greylisting" for each in acl.alternatives)


def _shown(term: Term) -> str:
    """A term as it stands in the policy."""
    acl, negated = term
    return f"{'!' if negated else ''}{acl.name}"


MEMORY_CHECKS: tuple[Callable[[Model, Implication], Iterator[Diagnostic]], ...] = (
    counted_too_early,
    counted_in_vain,
    counted_and_refused,
    greylisting_of_all,
    lists,
)
