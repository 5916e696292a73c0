"""From a policy file to a `Policy`: the stages in order. Raises ConfigError with every mistake of all stages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.files import Files
from forkpolicy.policy.in_front import put_in_front
from forkpolicy.policy.matchers.context import BuildContext
from forkpolicy.policy.matchers.table_value import PREFIX, split_table_value
from forkpolicy.policy.nodes import AclStatement, TableStatement
from forkpolicy.policy.parser import parse_policy
from forkpolicy.policy.policy import Policy
from forkpolicy.policy.resolve import Resolver
from forkpolicy.policy.restricted import (
    check_actions,
    check_restricted,
    first_mistakes,
    is_table_of_others,
    place_of,
)
from forkpolicy.protocol.reply import parse_reply
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forkpolicy.policy.matchers.matcher import Lookup
    from forkpolicy.policy.model import Model
    from forkpolicy.policy.nodes import Statement, TableDeclaration
    from forkpolicy.policy.parser import Parsed
    from forkpolicy.postfix.addresses import Views
    from forkpolicy.state.store import Answering

# What the values of a table may be taken for: limits of a rate, numbers that are compared, and by ACLs of the types of
# these names.
VALUES_AS = ("limits", "number", "country", "asn")
ON_ERROR = "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"


def load_policy(
    path: str,
    lookup_for: Callable[[TableDeclaration], Lookup],
    *,
    files: Files | None = None,
    delimiter: str = "",
    views: Views | None = None,
    on_error: str = ON_ERROR,
    clock: Callable[[], float] = time.time,
    index_costs_us: Mapping[type, float] | None = None,
    also_wanted: Sequence[str] = (),
    store: Answering | None = None,
    skips_failures: bool = False,
    own_sockets: Sequence[str] = (),
    in_front: str = "",
    restricts_front: bool = False,
) -> tuple[Policy, list[Diagnostic]]:
    """The policy and its warnings. `lookup_for` gives the table that a declaration means; it opens
    nothing yet. `views` of addresses are those of `rewriting`; None: as they came. `also_wanted` are attributes that
    somebody else reads of the same requests. `store` has what the policy remembers; with `skips_failures` an ACL cannot
    be known when that fails, unless it says otherwise. `own_sockets`: endpoints of this server, which it must not ask.
    `in_front`: a file of statements that stand in front of the policy's first rule; `restricts_front`: as those of a
    restricted file.
    """
    context = BuildContext(files or Files(), {}, delimiter, clock, skips_failures, own_sockets)
    model, paths, diagnostics = _resolved(
        path, lookup_for, context, on_error, in_front, restricts_front=restricts_front
    )
    return Policy(
        model,
        tuple(paths),
        views=views,
        index_costs_us=index_costs_us,
        also_wanted=also_wanted,
        store=store,
        restricted=context.restricted,
    ), diagnostics


def check_policy(path: str, lookup_for: Callable[[TableDeclaration], Lookup], files: Files) -> list[Diagnostic]:
    """The warnings about a policy that nobody will ask: no plan is made. Raises ConfigError as `load_policy` does."""
    return _resolved(path, lookup_for, BuildContext(files, {}), ON_ERROR)[2]


def _resolved(
    path: str,
    lookup_for: Callable[[TableDeclaration], Lookup],
    context: BuildContext,
    on_error: str,
    in_front: str = "",
    *,
    restricts_front: bool = False,
) -> tuple[Model, list[str], list[Diagnostic]]:
    """What a policy means, the files that it was read from, and its warnings."""
    parsed = parse_policy(path, context.files)
    if in_front:
        put_in_front(parsed, parse_policy(in_front, context.files, restricted=restricts_front))
    parsed.diagnostics += check_restricted(parsed)
    # A table of a restricted file is a mistake, and nothing below knows such a one.
    parsed.statements = [each for each in parsed.statements if not is_table_of_others(each, parsed.restricted)]
    context.restricted = frozenset(parsed.restricted)
    declarations = {each.name: each for each in _declarations(parsed)}
    resolver = Resolver(context, lambda declared: lookup_for(declarations[declared.name]))
    model = resolver.resolve(parsed.statements, on_error)
    diagnostics = [*parsed.diagnostics, *context.diagnostics, *check_actions(model, parsed.restricted)]
    if any(diagnostic.severity == "error" for diagnostic in diagnostics):
        raise ConfigError(list(first_mistakes(in_order(diagnostics, parsed.paths), parsed.restricted)))
    return model, parsed.paths, in_order(diagnostics, parsed.paths)


def declared_tables(path: str, shadow: str = "", files: Files | None = None) -> list[TableDeclaration]:
    """The tables that a policy declares, and those that only its shadow does, for the compiler.

    Raises ConfigError for a policy that is wrong; a shadow that is gives what can be read of it.
    """
    files = files or Files()
    parsed = parse_policy(path, files)
    wrong = [each for each in parsed.diagnostics if each.path not in parsed.restricted]
    if wrong:
        raise ConfigError(wrong)
    if shadow:
        also = parse_policy(shadow, files)
        parsed.statements += also.statements
        parsed.restricted |= also.restricted
    return _declarations(parsed)


def _declarations(parsed: Parsed) -> list[TableDeclaration]:
    """Each table with what the policy asks it for; what restricted files ask changes no compile."""
    statements = [each for each in parsed.statements if place_of(each).path not in parsed.restricted]
    asked, values = _asked_together(statements), _values_as(statements)
    tables = [statement.declaration for statement in statements if isinstance(statement, TableStatement)]
    # The first of a name counts: two in one policy are a mistake that loading it tells.
    named = {each.name: each for each in reversed(tables)}
    return [
        each._replace(
            # A table of several columns says itself what its key is.
            key_attributes=() if KINDS[each.kind].columns else asked.get(each.name, ()),
            values_as=tuple(sorted(values.get(each.name, ()))),
        )
        for each in reversed(named.values())
    ]


def _values_as(statements: Iterable[Statement]) -> dict[str, set[str]]:
    """What the values of each table are taken for."""
    found: dict[str, set[str]] = {}
    for statement in statements:
        if not isinstance(statement, AclStatement):
            continue
        for word in (statement.type_name, *statement.values):
            option, table, _ = word.text.rpartition(PREFIX)
            if not table:
                continue
            value = split_table_value(word.text[len(option) :])
            named = option.removesuffix("=") or statement.type_name.text
            kind = "number" if value.is_numeric else named.lower()
            if kind in VALUES_AS:
                found.setdefault(value.name, set()).add(kind)
    return found


def _asked_together(statements: Iterable[Statement]) -> dict[str, tuple[str, ...]]:
    """The attributes that each table is asked for together; none where that is one, or not always the same number."""
    asked: dict[str, list[tuple[str, ...]]] = {}
    for statement in statements:
        if not isinstance(statement, AclStatement):
            continue
        pair = statement.type_name.text.lower().startswith(PREFIX)
        names = [statement.type_name] if pair else [word for word in statement.values if word.text.startswith(PREFIX)]
        values = tuple(word.text.lower().strip("{}") for word in statement.values if word.text.lower() != "silent")
        for word in names:
            asked.setdefault(split_table_value(word.text).name, []).append(values if pair else ("",))
    return {name: _merged(found) for name, found in asked.items()}


def _merged(asked: list[tuple[str, ...]]) -> tuple[str, ...]:
    if len({len(each) for each in asked}) > 1 or len(asked[0]) == 1:
        return ()
    return tuple(names[0] if len(set(names)) == 1 else "" for names in zip(*asked, strict=True))


def check_on_error(text: str, settings_path: str) -> None:
    """Raises ConfigError unless the setting `on_error` is a reply that Postfix takes."""
    try:
        parse_reply(text)
    except ValueError as error:
        raise ConfigError([Diagnostic(settings_path, 0, 0, f"on_error: {error}")]) from error


def in_order(diagnostics: list[Diagnostic], paths: list[str]) -> list[Diagnostic]:
    """Diagnostics as they stand in the files, each once."""
    order = {path: number for number, path in enumerate(paths)}
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda each: (order.get(each.path, len(order)), each.line, each.column))
