"""What may surprise the author of a policy that loads: warnings of `forkpolicy check`, an ordered list of checks.

Nothing here decides anything and nothing is an error. Linear in the length of the policy: ten thousand lines take a
fraction of a second.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from forkpolicy.errors import Complaint
from forkpolicy.policy.checks_values import value_warnings
from forkpolicy.policy.matchers.table import PairPart, TablePart
from forkpolicy.policy.model import DEFAULT_ACTION
from forkpolicy.protocol.attributes import STATES, states_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.policy.model import Acl, Line, Model
    from forkpolicy.policy.nodes import TableDeclaration

# An ACL of the same type with the same values is the same ACL, whatever it is called.
Clause = tuple[str, frozenset[str], bool]

TURNS_AWAY = frozenset({"REJECT", "4xx", "5xx", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "DISCARD"})


def find_warnings(model: Model, declarations: Mapping[str, TableDeclaration]) -> list[Complaint]:
    """Every warning about a policy, in the order of the checks."""
    warnings = [warning for check in CHECKS for warning in check(model)]
    return [*warnings, *_unused_tables(model, declarations)]


def _contradictions(model: Model) -> Iterator[Complaint]:
    for line in model.lines:
        clauses = _clauses(line)
        if any((kind, values, not negated) in clauses for kind, values, negated in clauses):
            yield _about(line, "this line never fires: it asks that the same holds and does not hold")


def _shadowed(model: Model) -> Iterator[Complaint]:
    """Lines that an earlier one always forestalls: whatever makes them fire makes it fire."""
    counts = Counter(clause for line in model.lines for clause in _clauses(line))
    # Under its rarest clause, so that a clause that stands in every line does not make this quadratic.
    earlier: dict[Clause, list[tuple[frozenset[Clause], Line]]] = {}
    for line in model.lines:
        clauses = _clauses(line)
        if any(acl.is_score for acl, _ in line.clauses) or not clauses:
            continue
        found = next((first for each in clauses for own, first in earlier.get(each, ()) if own <= clauses), None)
        if found:
            message = f"this line never fires: whenever it could, line {_line_of(found)} has decided before"
            yield _about(line, message, f"{found.where}: {found.text}")
        elif line.action.kind == "reply":
            earlier.setdefault(min(clauses, key=counts.__getitem__), []).append((clauses, line))


def _impossible_states(model: Model) -> Iterator[Complaint]:
    for line in model.lines:
        if not states_of_line(line):
            needs = ", ".join(sorted({name for acl, _ in line.clauses for name in acl.attributes}))
            yield _about(line, f"this line never fires: no protocol state knows all of {needs} and fits the line")


def _wrong_stage(model: Model) -> Iterator[Complaint]:
    for line in model.lines:
        if line.action.verb == "PREPEND" and states_of_line(line) == {"END-OF-MESSAGE"}:
            yield _about(line, "PREPEND does nothing at END-OF-MESSAGE, the only state at which this line fires")


def states_of_line(line: Line) -> set[str]:
    """The protocol states at which a line can fire."""
    states = set(STATES)
    for acl, negated in line.clauses:
        for name in acl.attributes:
            states &= states_of(name)
        if acl.type_name == "protocol_state":
            named = {word.text.upper() for word in acl.words}
            plain = named <= set(STATES)
            states = states - named if negated else states & named if plain else states
    return states


def _unused(model: Model) -> Iterator[Complaint]:
    used = {acl.name for line in model.lines for acl, _ in line.clauses}
    used |= {name for action in model.actions.values() if action.template for name in action.template.matches}
    for acl in model.acls.values():
        if acl.name not in used:
            yield acl.word.warning(f'acl "{acl.name}" is never used')
    fired = {line.action.name for line in model.lines}
    for action in model.actions.values():
        if action.name not in fired and action.name != DEFAULT_ACTION and action.place:
            place = action.place
            message = f'action "{action.name}" is never used'
            yield Complaint(place.path, place.line, place.column, message, place.source, 1, "", "warning")


def _unused_tables(model: Model, declarations: Mapping[str, TableDeclaration]) -> Iterator[Complaint]:
    asked = {
        part.lookup.name for acl in model.acls.values() for part in acl.parts if isinstance(part, (TablePart, PairPart))
    }
    for name, declared in declarations.items():
        if name not in asked:
            yield Complaint(declared.path, declared.line, 0, f'table "{name}" is never used', severity="warning")


def _null_sender(model: Model) -> Iterator[Complaint]:
    """Lines that ask about the sender and turn mail away, and do so to bounces too."""
    for line in model.lines:
        about_sender = [(acl, negated) for acl, negated in line.clauses if "sender" in acl.attributes]
        if line.action.verb not in TURNS_AWAY or not about_sender:
            continue
        if all(_fires_on_null_sender(acl, negated) for acl, negated in about_sender):
            hint = "bounces have no sender: to let them pass, add an ACL of type null_sender and its !NAME to the line"
            yield _about(line, "this line turns away the null sender, and with it every bounce", hint)


def _fires_on_null_sender(acl: Acl, negated: bool) -> bool:
    if any(isinstance(part, (TablePart, PairPart)) for part in acl.parts):
        # No table of domains has the null sender; whether another kind does stands in its source.
        return negated
    values = dict.fromkeys(acl.attributes, "")
    return (acl.find(values) is not None) is not negated


def _scores(model: Model) -> Iterator[Complaint]:
    adds = [line for line in model.lines if line.action.kind == "score"]
    asks = [acl for acl in model.acls.values() if acl.is_score]
    if adds and not asks:
        yield _about(adds[0], "a score is added and no ACL of type score asks for it")
    for acl in asks if not adds else ():
        yield acl.word.warning("a score is asked for and no action adds to it")


CHECKS: tuple[Callable[[Model], Iterator[Complaint]], ...] = (
    _contradictions,
    _shadowed,
    _impossible_states,
    _wrong_stage,
    _unused,
    _null_sender,
    _scores,
    value_warnings,
)


def _clauses(line: Line) -> frozenset[Clause]:
    return frozenset(
        (acl.type_name, frozenset(word.text for word in acl.words), negated) for acl, negated in line.clauses
    )


def _line_of(line: Line) -> int:
    return line.place.line if line.place else 0


def _about(line: Line, message: str, hint: str = "") -> Complaint:
    place = line.place
    assert place is not None
    return Complaint(place.path, place.line, place.column, message, place.source, len("access"), hint, "warning")
