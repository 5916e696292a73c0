"""Warnings about `access` lines: ones that never fire, and ones that do something else than their author may think.

Linear in the number of lines: implied ACLs come from an index, and a line is compared with the few earlier ones that
share its rarest clause. commands/check_postfix asks `states_of_line` too.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

from forkpolicy.errors import Diagnostic
from forkpolicy.policy.matchers.guards import Exact
from forkpolicy.protocol.attributes import STATES, states_of
from forkpolicy.protocol.reply import WHOLE_MESSAGE
from forkpolicy.tables.keys import NULL_SENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.policy.implication import Implication
    from forkpolicy.policy.model import Acl, Action, Model, Rule

Clause = tuple[int, bool]
"""The number of an ACL, the same for all that mean the same, and whether it is negated."""

TURNS_AWAY = frozenset({"REJECT", "4xx", "5xx", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "DISCARD"})
TURNING_RESTRICTIONS = ("reject", "defer")
PERMITTING = frozenset({"OK", "RELAY"})
# What a client that has authenticated or has a certificate is known by: nobody who sends bounces from outside.
CLIENTS_OWN = frozenset({"sasl_username", "sasl_method", "sasl_sender", "ccert_fingerprint", "ccert_subject"})

# The null sender as ACLs on the sender have it.
NULL = ("sender", NULL_SENDER)


def contradictions(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Lines that ask for what cannot be."""
    for line in model.rules:
        for (acl, negated), (other, other_negated) in combinations(line.terms, 2):
            told = _contradiction(implication, acl, other) if negated is other_negated is False else None
            if negated is not other_negated:
                told = _opposed(implication, other, acl) if negated else _opposed(implication, acl, other)
            if told:
                yield about(line, f"this line never fires: {told}")
                break


def _contradiction(implication: Implication, acl: Acl, other: Acl) -> str | None:
    return f"{acl.name} and {other.name} have no value in common" if implication.exclude(acl, other) else None


def _opposed(implication: Implication, asked: Acl, excluded: Acl) -> str | None:
    """What is wrong with `asked !excluded`."""
    number = implication.number(excluded)
    if number == implication.number(asked):
        return "it asks that the same holds and does not hold"
    if number in implication.wider(asked):
        return f"whenever {asked.name} holds, {excluded.name} does"
    return None


def shadowed(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Lines that an earlier one always forestalls: whatever makes them fire makes it fire."""
    counts = Counter(clause for line in model.rules for clause in _clauses(line, implication))
    # Under its rarest clause, so that a clause that stands in every line does not make this quadratic.
    earlier: dict[Clause, dict[frozenset[Clause], Rule]] = {}
    for line in model.rules:
        own = _clauses(line, implication)
        implied = own.union(
            (wide, False) for acl, negated in line.terms if not negated for wide in implication.wider(acl)
        )
        found = _forestalling(earlier, implied)
        if found:
            yield _shadow(line, found)
        elif line.action.kind == "reply" and own and not any(acl.is_score for acl, _ in line.terms):
            earlier.setdefault(min(own, key=counts.__getitem__), {})[own] = line


def _forestalling(earlier: dict[Clause, dict[frozenset[Clause], Rule]], implied: frozenset[Clause]) -> Rule | None:
    buckets = (earlier.get(each, {}) for each in implied)
    found = (line for bucket in buckets for clauses, line in bucket.items() if clauses <= implied)
    return min(found, key=lambda line: line.number, default=None)


def _shadow(line: Rule, first: Rule) -> Diagnostic:
    hint = f"{first.where}: {first.text}"
    if line.action.name != first.action.name:
        hint += "; an exception stands above the line that it is an exception from"
    where = (
        first.where if first.place and line.place and first.place.path != line.place.path else f"line {_number(first)}"
    )
    return about(line, f"this line never fires: whenever it could, {where} has decided before", hint)


def impossible_states(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Lines that need what no protocol state has together."""
    for line in model.rules:
        if not states_of_line(line):
            asked = {name for acl, _ in line.terms for name in acl.attributes} - {"protocol_state"}
            named = any("protocol_state" in acl.attributes for acl, _ in line.terms)
            where = "at the states that it names" if named else "at one protocol state"
            known = "; ".join(f"{name}: {_known_at(name)}" for name in sorted(asked) if _known_at(name))
            message = f"this line never fires: what it asks for is never known {where}"
            yield about(line, message, f"can be known at: {known}" if known else "")


def _known_at(name: str) -> str:
    states = states_of(name)
    return "" if len(states) == len(STATES) else ", ".join(state for state in STATES if state in states)


def states_of_line(line: Rule) -> set[str]:
    """The protocol states at which a line can fire."""
    states = set(STATES)
    for acl, negated in line.terms:
        for name in acl.attributes:
            states &= states_of(name)
        named = _named_states(acl)
        if named:
            states = states - named if negated else states & named
    return states


def _named_states(acl: Acl) -> set[str]:
    """The states that an ACL names; none where it asks for something else, or where an expression may mean any."""
    guards = [matcher.guard() for matcher in acl.matchers]
    exact = [each for each in guards if isinstance(each, Exact) and each.attribute == "protocol_state"]
    return {key.upper() for each in exact for key in each.keys} if len(exact) == len(guards) else set()


def useless_actions(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """Actions at a state where Postfix does not heed them, or that reach further than the line that has them."""
    for line in model.rules:
        verb = line.action.verb
        if verb == "PREPEND" and states_of_line(line) == {"END-OF-MESSAGE"}:
            yield about(line, "PREPEND does nothing at END-OF-MESSAGE, the only state at which this line fires")
        elif verb in WHOLE_MESSAGE and states_of_line(line) <= {"VRFY", "ETRN"} and states_of_line(line):
            yield about(line, f"{verb} does nothing at {_words(states_of_line(line))}: there is no message")
        elif verb in WHOLE_MESSAGE and any("recipient" in acl.attributes for acl, _ in line.terms):
            message = f"{verb} acts on the whole message, for every recipient of it, though this line asks about one"
            yield about(line, message, "no result of access(5) does that for one recipient only")


def permits(model: Model, _: Implication) -> Iterator[Diagnostic]:
    """The first line that ends Postfix's own checks; once, since whoever knows does not want to read it again."""
    for line in model.rules:
        if may_permit(line.action):
            message = f"{line.action.reply.text.split()[0]} skips the restrictions that follow in Postfix's list, too"
            yield about(line, message, "DUNNO ends the policy and lets them go on")
            return


def may_permit(action: Action) -> bool:
    """Whether Postfix takes it for a permission, which ends its list."""
    return action.verb in PERMITTING or (action.verb == "restriction" and action.reply.text.startswith("permit"))


def null_sender(model: Model, implication: Implication) -> Iterator[Diagnostic]:
    """Lines that ask about the sender and turn mail away, and do so to bounces too."""
    for line in model.rules:
        about_sender = [(acl, negated) for acl, negated in line.terms if "sender" in acl.attributes]
        if not _turns_away(line) or not about_sender or _asks_for_clients_own(line):
            continue
        if len(line.terms) > 1 and any(implication.names(acl, NULL) and not negated for acl, negated in about_sender):
            continue
        if all(_fires_on_null_sender(acl, negated) for acl, negated in about_sender):
            hint = "bounces have no sender: to let them pass, add an ACL of type null_sender and its !NAME to the line"
            yield about(line, "this line turns away the null sender, and with it every bounce", hint)


def _turns_away(line: Rule) -> bool:
    return line.action.verb in TURNS_AWAY or _restriction(line) in TURNING_RESTRICTIONS


def _restriction(line: Rule) -> str:
    return line.action.reply.text.split()[0] if line.action.verb == "restriction" else ""


def _asks_for_clients_own(line: Rule) -> bool:
    """Whether it is about clients that have signed in: their mail programs, not other people's bounces."""
    return any(not negated and not CLIENTS_OWN.isdisjoint(acl.attributes) for acl, negated in line.terms)


def _fires_on_null_sender(acl: Acl, negated: bool) -> bool:
    if any(matcher.lookup for matcher in acl.matchers):
        # No table of domains has the null sender; whether another kind does stands in its source.
        return negated
    values = dict.fromkeys(acl.attributes, "")
    return (acl.find(values) is not None) is not negated


def about(line: Rule, message: str, hint: str = "") -> Diagnostic:
    """A warning about a whole line."""
    place = line.place
    assert place is not None, "only lines of the policy are checked"
    return Diagnostic(place.path, place.line, place.column, message, place.source, len("access"), hint, "warning")


def _clauses(line: Rule, implication: Implication) -> frozenset[Clause]:
    return frozenset((implication.number(acl), negated) for acl, negated in line.terms)


def _number(line: Rule) -> int:
    return line.place.line if line.place else 0


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
