"""Warnings about rules: ones that never fire, and ones that do something else than their author may think.

Linear in the number of rules: implied ACLs come from an index, and a rule is compared with the few earlier ones that
share its rarest term. commands/check_postfix asks `states_of_rule` and `fits_context` too, the console the latter.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

from forkpolicy.errors import Diagnostic
from forkpolicy.policy.matchers.guards import Exact
from forkpolicy.protocol.attributes import HELD, STATES, states_of
from forkpolicy.protocol.reply import WHOLE_MESSAGE
from forkpolicy.tables.keys import NULL_SENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.policy.implication import Implication
    from forkpolicy.policy.model import Acl, Action, Model, Rule

Term = tuple[int, bool]
"""The number of an ACL, the same for all that mean the same, and whether it is negated."""

TURNS_AWAY = frozenset({"REJECT", "4xx", "5xx", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "DISCARD"})
TURNING_RESTRICTIONS = ("reject", "defer")
PERMITTING = frozenset({"OK", "RELAY"})
# What a client that has authenticated or has a certificate is known by: nobody who sends bounces from outside.
CLIENTS_OWN = frozenset({"sasl_username", "sasl_method", "sasl_sender", "ccert_fingerprint", "ccert_subject"})

# The null sender as ACLs on the sender have it.
NULL = ("sender", NULL_SENDER)


def fits_context(rule: Rule, context: str) -> bool:
    """Whether a rule can fire where policy_context has this value; empty: none is sent."""
    asked = [(acl, negated) for acl, negated in rule.terms if acl.attributes == ("policy_context",)]
    values = {"policy_context": context}
    return all(asks_others(acl) or (acl.find(values) is not None) is not negated for acl, negated in asked)


def is_of_held_mail(rule: Rule) -> bool:
    """Whether only a gateway's store asks for it, about one recipient at a time: never Postfix."""
    return any(not negated and _names_held_mail(acl) for acl, negated in rule.terms)


def _names_held_mail(acl: Acl) -> bool:
    guards = [matcher.guard() for matcher in acl.matchers]
    exact = [each for each in guards if isinstance(each, Exact) and each.attribute == "policy_context"]
    names = [key for each in exact for key in each.keys]
    return bool(names) and len(exact) == len(guards) and all(name.startswith(HELD) for name in names)


def asks_others(acl: Acl) -> bool:
    """Whether a table or the store decides, and not the request alone."""
    return acl.asked_once or any(matcher.lookup for matcher in acl.all_matchers)


def contradictions(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Rules that ask for what cannot be."""
    for rule in model.rules:
        for (acl, negated), (other, other_negated) in combinations(rule.terms, 2):
            why = _contradiction(implication, acl, other) if negated is other_negated is False else None
            if negated is not other_negated:
                why = _opposed(implication, other, acl) if negated else _opposed(implication, acl, other)
            if why:
                yield about(rule, f"this rule never fires: {why}")
                break


def _contradiction(implication: Implication, acl: Acl, other: Acl) -> str | None:
    return f"{acl.name} and {other.name} have no value in common" if implication.exclude(acl, other) else None


def _opposed(implication: Implication, asked: Acl, excluded: Acl) -> str | None:
    """What is wrong with `asked !excluded`."""
    number = implication.number(excluded)
    if number == implication.number(asked):
        return "it needs the same to hold and not to hold"
    if number in implication.wider(asked):
        return f"{excluded.name} holds whenever {asked.name} does"
    return None


def shadowed(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Rules that are shadowed: whatever makes them fire makes an earlier one fire."""
    counts = Counter(term for rule in model.rules for term in _terms(rule, implication))
    # Under its rarest term, so that a term that stands in every rule does not make this quadratic.
    earlier: dict[Term, dict[frozenset[Term], Rule]] = {}
    for rule in model.rules:
        own = _terms(rule, implication)
        implied = own.union(
            (wide, False) for acl, negated in rule.terms if not negated for wide in implication.wider(acl)
        )
        found = _shadowing(earlier, implied)
        if found:
            yield _shadow(rule, found)
        elif rule.action.kind == "reply" and own and not any(acl.changes for acl, _ in rule.terms):
            earlier.setdefault(min(own, key=counts.__getitem__), {})[own] = rule


def _shadowing(earlier: dict[Term, dict[frozenset[Term], Rule]], implied: frozenset[Term]) -> Rule | None:
    buckets = (earlier.get(each, {}) for each in implied)
    found = (rule for bucket in buckets for terms, rule in bucket.items() if terms <= implied)
    return min(found, key=lambda rule: rule.number, default=None)


def _shadow(rule: Rule, first: Rule) -> Diagnostic:
    hint = f"{first.where}: {first.text}"
    if rule.action.name != first.action.name:
        hint += "; put an exception above the rule that it is an exception to"
    where = (
        first.where if first.place and rule.place and first.place.path != rule.place.path else f"line {_number(first)}"
    )
    return about(rule, f"this rule never fires: it is shadowed by {where}", hint)


def impossible_states(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Rules that need what no protocol state has together."""
    for rule in model.rules:
        if not states_of_rule(rule):
            asked = {name for acl, _ in rule.terms for name in acl.attributes} - {"protocol_state"}
            named = any("protocol_state" in acl.attributes for acl, _ in rule.terms)
            where = "at the states that it names" if named else "at one protocol state"
            places = {name: _known_at(states_of(name)) for name in sorted(asked)}
            places |= {acl.name: _known_at(acl.known_states) for acl, _ in rule.terms}
            known = "; ".join(f"{name}: {place}" for name, place in places.items() if place)
            message = f"this rule never fires: what it asks for is never known {where}"
            yield about(rule, message, f"can be known at: {known}" if known else "")


def _known_at(states: frozenset[str]) -> str:
    return "" if len(states) == len(STATES) else ", ".join(state for state in STATES if state in states)


def states_of_rule(rule: Rule) -> set[str]:
    """The protocol states at which a rule can fire."""
    return set(STATES).intersection(*(_states_of_term(acl, negated) for acl, negated in rule.terms))


def _states_of_term(acl: Acl, negated: bool) -> set[str]:
    """Those at which it can be met. `!any` needs that none of its terms is met, and that all are known."""
    if acl.terms:
        several = [_states_of_term(term, not_ is not negated) for term, not_ in acl.terms]
        return set.intersection(*several) if negated else set.union(*several)
    states = set(acl.known_states)
    for name in acl.attributes:
        states &= states_of(name)
    named = _named_states(acl)
    return states if not named else states - named if negated else states & named


def _named_states(acl: Acl) -> set[str]:
    """The states that an ACL names; none where it asks for something else, or where an expression may mean any."""
    guards = [matcher.guard() for matcher in acl.matchers]
    exact = [each for each in guards if isinstance(each, Exact) and each.attribute == "protocol_state"]
    return {key.upper() for each in exact for key in each.keys} if len(exact) == len(guards) else set()


def useless_actions(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Actions at a state where Postfix ignores them, or that reach further than the rule that has them."""
    for rule in model.rules:
        verb = rule.action.verb
        if is_of_held_mail(rule):
            continue
        if verb == "PREPEND" and states_of_rule(rule) == {"END-OF-MESSAGE"}:
            yield about(rule, "PREPEND does nothing at END-OF-MESSAGE, the only state at which this rule fires")
        elif verb in WHOLE_MESSAGE and states_of_rule(rule) <= {"VRFY", "ETRN"} and states_of_rule(rule):
            yield about(rule, f"{verb} does nothing at {_words(states_of_rule(rule))}: there is no message")
        elif verb in WHOLE_MESSAGE and any("recipient" in acl.attributes for acl, _ in rule.terms):
            message = f"{verb} acts on the whole message, for all its recipients, although this rule asks about one"
            yield about(rule, message, "no result of access(5) does that for one recipient only")


def permits(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """The first rule that ends Postfix's own checks; once, since who knows does not want to read it again."""
    for rule in model.rules:
        if may_permit(rule.action) and not is_of_held_mail(rule):
            word = next(iter(PERMITTING & rule.action.passes_on), rule.action.reply.text.split()[0])
            message = f"{word} also skips the restrictions that follow in Postfix's list"
            yield about(rule, message, "DUNNO ends the policy, and Postfix goes on with them")
            return


def may_permit(action: Action) -> bool:
    """Whether Postfix takes it for a permission, which ends its list."""
    if action.verb == "restriction":
        return action.reply.text.startswith("permit")
    return any(each in PERMITTING or each.startswith("PERMIT") for each in action.verbs)


def null_sender(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Rules that ask about the sender and turn mail away, and do so to bounces too."""
    for rule in model.rules:
        asked = [(acl, negated) for acl, negated in rule.terms if not acl.asked_once]
        about_sender = [(acl, negated) for acl, negated in asked if "sender" in acl.attributes]
        if not turns_away(rule) or not about_sender or _asks_for_clients_own(rule):
            continue
        if len(rule.terms) > 1 and any(implication.names(acl, NULL) and not negated for acl, negated in about_sender):
            continue
        if all(_fires_on_null_sender(acl, negated) for acl, negated in about_sender):
            hint = "to let bounces pass, declare an ACL of type null_sender and put its !NAME into the rule"
            yield about(rule, "this rule turns away the null sender, and with it every bounce", hint)


def turns_away(rule: Rule) -> bool:
    """Whether its action refuses mail, now or for good."""
    return not TURNS_AWAY.isdisjoint(rule.action.verbs) or _restriction(rule) in TURNING_RESTRICTIONS


def _restriction(rule: Rule) -> str:
    return rule.action.reply.text.split()[0] if rule.action.verb == "restriction" else ""


def _asks_for_clients_own(rule: Rule) -> bool:
    """Whether it is about clients that have signed in: their mail programs, not other people's bounces."""
    return any(not negated and _is_of_client(acl) for acl, negated in rule.terms)


def _is_of_client(acl: Acl) -> bool:
    several = acl.alternatives
    return bool(several) and all(not CLIENTS_OWN.isdisjoint(each.attributes) for each in several)


def _fires_on_null_sender(acl: Acl, negated: bool) -> bool:
    if any(matcher.lookup for matcher in acl.all_matchers):
        # No table of domains has the null sender; whether another kind does stands in its source.
        return negated
    values = dict.fromkeys(acl.attributes, "")
    return (acl.find(values) is not None) is not negated


def about(rule: Rule, message: str, hint: str = "") -> Diagnostic:
    """A warning about a whole rule."""
    place = rule.place
    assert place is not None, "only rules of the policy are checked"
    return Diagnostic(place.path, place.line, place.column, message, place.source, len("access"), hint, "warning")


def _terms(rule: Rule, implication: Implication) -> frozenset[Term]:
    return frozenset((implication.number(acl), negated) for acl, negated in rule.terms)


def _number(rule: Rule) -> int:
    return rule.place.line if rule.place else 0


def _words(states: set[str]) -> str:
    return ", ".join(state for state in STATES if state in states)


RULE_CHECKS: tuple[Callable[[Model, Implication], Iterator[Diagnostic]], ...] = (
    contradictions,
    shadowed,
    impossible_states,
    useless_actions,
    permits,
    null_sender,
)
