"""What may surprise the author of a policy that loads: warnings of `forkpolicy check`, an explicit list of checks.

Nothing here decides anything and nothing is an error. Linear in the length of the policy: ten thousand rules take a
fraction of a second. `rules` has what is said about rules, `values` about values, `reports` about texts; here is what
is said about names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.errors import Diagnostic
from forkpolicy.policy.checks.memory import MEMORY_CHECKS
from forkpolicy.policy.checks.reports import report_warnings
from forkpolicy.policy.checks.rules import RULE_CHECKS, about
from forkpolicy.policy.checks.services import SERVICE_CHECKS, too_slow
from forkpolicy.policy.checks.values import value_warnings
from forkpolicy.policy.implication import Implication
from forkpolicy.policy.model import DEFAULT_ACTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.policy.model import Model
    from forkpolicy.policy.nodes import TableDeclaration

# Tables that no rule needs to ask: the web console does (console/access/directory/aliases.py).
ASKED_ELSEWHERE: Final = frozenset({"aliases"})


def find_warnings(
    model: Model, declarations: Mapping[str, TableDeclaration], budget_s: float = 4.0
) -> list[Diagnostic]:
    """Every warning about a policy, in the order of its rules. `budget_s`: how long a request may wait."""
    implication = Implication.of(model.acls.values())
    checks = (*RULE_CHECKS, *MEMORY_CHECKS, *SERVICE_CHECKS)
    warnings = [warning for check in checks for warning in check(model, implication)]
    warnings += [warning for check in MODEL_CHECKS for warning in check(model)]
    warnings += too_slow(model, budget_s)
    warnings += _unused_tables(model, declarations)
    # An included file stands where its first warning does.
    paths = list(dict.fromkeys(warning.path for warning in warnings))
    return sorted(warnings, key=lambda each: (paths.index(each.path), each.line, each.column))


def _unused(model: Model) -> Iterator[Diagnostic]:
    asked = [acl for rule in model.rules for acl, _ in rule.terms]
    asked += [model.acls[name] for each in model.actions.values() if each.template for name in each.template.matches]
    used = {each.name for acl in dict.fromkeys(asked) for each in acl.asked_acls}
    used |= {name for acl in model.acls.values() for matcher in acl.matchers for name in matcher.acls}
    used |= {acl.name for action in model.actions.values() if action.deed for acl in action.deed.key.acls}
    for acl in model.acls.values():
        if acl.name not in used:
            yield acl.word.warning(f'acl "{acl.name}" is never used')
    fired = {rule.action.name for rule in model.rules}
    for action in model.actions.values():
        if action.name not in fired and action.name != DEFAULT_ACTION and action.place:
            place = action.place
            message = f'action "{action.name}" is never used'
            yield Diagnostic(place.path, place.line, place.column, message, place.source, 1, "", "warning")


def _unused_tables(model: Model, declarations: Mapping[str, TableDeclaration]) -> Iterator[Diagnostic]:
    asked = {table.name for acl in model.acls.values() for each in acl.matchers for table in each.tables}
    for name, declared in declarations.items():
        if name not in asked and name not in ASKED_ELSEWHERE:
            yield Diagnostic(declared.path, declared.line, 0, f'table "{name}" is never used', severity="warning")


def _scores(model: Model) -> Iterator[Diagnostic]:
    adds = [rule for rule in model.rules if rule.action.kind == "score"]
    asks = [rule for rule in model.rules if any(acl.changes for acl, _ in rule.terms)]
    if adds and not asks:
        yield about(adds[0], "a score is added, but no rule asks for it with an ACL of type score")
    for rule in asks:
        if not any(each.number < rule.number for each in adds):
            yield about(rule, "this rule asks for a score, but no rule above it adds to one")
    for rule in adds if asks else ():
        if rule.number > asks[-1].number:
            yield about(rule, "a score is added, but no rule below asks for it")


MODEL_CHECKS: tuple[Callable[[Model], Iterator[Diagnostic]], ...] = (_unused, _scores, value_warnings, report_warnings)
