"""From a policy file to a `Policy`: the stages in order. Raises ConfigError with every mistake of all stages."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.files import Files
from forkpolicy.policy.matchers.context import BuildContext
from forkpolicy.policy.nodes import AclStatement, TableStatement
from forkpolicy.policy.parser import parse_policy
from forkpolicy.policy.plan.index import COSTS_US
from forkpolicy.policy.policy import Policy
from forkpolicy.policy.resolve import Resolver
from forkpolicy.protocol.reply import parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forkpolicy.policy.matchers.matcher import Lookup
    from forkpolicy.policy.nodes import Statement, TableDeclaration
    from forkpolicy.postfix.addresses import Views
    from forkpolicy.state.store import Answering

# What the values of a table may be taken for: limits of a rate, and by ACLs of the types of these names.
VALUES_AS = ("limits", "country", "asn")
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
    index_costs_us: Mapping[type, float] = COSTS_US,
    also_wanted: Sequence[str] = (),
    store: Answering | None = None,
    skips_failures: bool = False,
    own_sockets: Sequence[str] = (),
) -> tuple[Policy, list[Diagnostic]]:
    """The policy and its warnings. `lookup_for` gives the table that a declaration means; it opens
    nothing yet. `views` of addresses are those of `rewriting`; None: as they came. `also_wanted` are attributes that
    somebody else reads of the same requests. `store` has what the policy remembers; with `skips_failures` an ACL cannot
    be known when that fails, unless it says otherwise. `own_sockets`: endpoints of this server, which it must not ask.
    """
    files = files or Files()
    parsed = parse_policy(path, files)
    context = BuildContext(files, {}, delimiter, clock, skips_failures, own_sockets)
    declarations = {each.name: each for each in _declarations(parsed.statements)}
    resolver = Resolver(context, lambda declared: lookup_for(declarations[declared.name]))
    model = resolver.resolve(parsed.statements, on_error)
    diagnostics = [*parsed.diagnostics, *context.diagnostics]
    if any(diagnostic.severity == "error" for diagnostic in diagnostics):
        raise ConfigError(in_order(diagnostics, parsed.paths))
    return Policy(
        model,
        tuple(parsed.paths),
        views=views,
        index_costs_us=index_costs_us,
        also_wanted=also_wanted,
        store=store,
    ), in_order(diagnostics, parsed.paths)


def declared_tables(path: str, shadow: str = "", files: Files | None = None) -> list[TableDeclaration]:
    """The tables that a policy declares, and those that only its shadow does, for the compiler.

    Raises ConfigError for a policy that is wrong; a shadow that is gives what can be read of it.
    """
    files = files or Files()
    parsed = parse_policy(path, files)
    if parsed.diagnostics:
        raise ConfigError(parsed.diagnostics)
    statements = [*parsed.statements, *(parse_policy(shadow, files).statements if shadow else ())]
    return _declarations(statements)


def _declarations(statements: Sequence[Statement]) -> list[TableDeclaration]:
    """Each table with what the statements ask it for."""
    asked, values = _asked_together(statements), _values_as(statements)
    tables = [statement.declaration for statement in statements if isinstance(statement, TableStatement)]
    # The first of a name counts: two in one policy are a mistake that loading it tells.
    named = {each.name: each for each in reversed(tables)}
    return [
        replace(each, key_attributes=asked.get(each.name, ()), values_as=tuple(sorted(values.get(each.name, ()))))
        for each in reversed(named.values())
    ]


def _values_as(statements: Iterable[Statement]) -> dict[str, set[str]]:
    """What the values of each table are taken for."""
    found: dict[str, set[str]] = {}
    for statement in statements:
        if not isinstance(statement, AclStatement):
            continue
        for word in statement.values:
            option, table, name = word.text.rpartition("table:")
            kind = option.lower().removesuffix("=") or statement.type_name.text.lower()
            if table and kind in VALUES_AS:
                found.setdefault(name, set()).add(kind)
    return found


def _asked_together(statements: Iterable[Statement]) -> dict[str, tuple[str, ...]]:
    """The attributes that each table is asked for together; none where that is one, or not always the same number."""
    asked: dict[str, list[tuple[str, ...]]] = {}
    for statement in statements:
        if not isinstance(statement, AclStatement):
            continue
        pair = statement.type_name.text.lower().startswith("table:")
        names = [statement.type_name] if pair else [word for word in statement.values if word.text.startswith("table:")]
        values = tuple(word.text.lower().strip("{}") for word in statement.values if word.text.lower() != "silent")
        for word in names:
            asked.setdefault(word.text[len("table:") :], []).append(values if pair else ("",))
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
