"""A main.cf, or maps alone, as a policy, and the restriction lists that ask it.

What can be carried stands in a list as runs of neighbours. Each run becomes one `check_policy_service` at its place,
with a `policy_context` of its own; all else stays where it is, so that the order and the ends of lists are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError
from forkpolicy.importing.access.lists import LISTS, WARN, Restriction, restrictions_of
from forkpolicy.importing.access.logical_lines import shown
from forkpolicy.importing.access.main_cf import MainCf, looks_like_main_cf, parse_main_cf
from forkpolicy.importing.access.map_files import UncarriedError
from forkpolicy.importing.access.new_main_cf import list_lines, mail_settings, rewritten
from forkpolicy.importing.access.reading import ASKS, Reader
from forkpolicy.importing.access.steps import Acl
from forkpolicy.importing.access.writing import Writer
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.source import SourceFile, read_source

if TYPE_CHECKING:
    from forkpolicy.importing.access.steps import Step
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs

# `check_sender_access:hash:/etc/postfix/senders`: a map alone, and what it is asked about.
_ALONE: Final = re.compile(rf"({'|'.join(ASKS)}):(.+:.+|.*/.*)", re.DOTALL)
_LIKE_A_MAP: Final = re.compile(r"\w+:.*", re.ASCII | re.DOTALL)
_NEAREST: Final = {
    "ldap": "a table of kind address or domain with the source ldap:FILE",
    "mysql": "a table with the source sql:URL",
    "pgsql": "a table with the source sql:URL",
    "sqlite": "a table with the source sql:URL",
}
NEW_MAIN_CF: Final = "main.cf.new"


@dataclass
class Run:
    """Neighbours of one list that become one question to the policy server."""

    context: str
    steps: list[tuple[Restriction, Step]] = field(default_factory=list)
    warns: bool = False


@dataclass
class Plan:
    """What becomes of one list: runs, and restrictions that stay as they are written."""

    name: str
    items: list[Run | Restriction] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """Its runs in order."""
        return [item for item in self.items if isinstance(item, Run)]


def is_file(path: str) -> bool:
    """Whether a word of the command line is a file, and not a map, which has its type in front (a file: ./hash:map)."""
    return _LIKE_A_MAP.fullmatch(path) is None


def asks_by_context(inputs: Inputs, plans: list[Plan]) -> bool:
    """Whether rules ask for policy_context. With one run of maps alone, they do not."""
    return any(map(is_file, inputs.paths)) or len(plans[0].runs) > 1


def read(inputs: Inputs, draft: Draft) -> None:
    """Read main.cf with the maps that it names, or maps alone."""
    plans, reader = planned(inputs, draft)
    is_alone = not any(map(is_file, inputs.paths))
    by_context = asks_by_context(inputs, plans)
    _write(plans, reader, by_context=by_context)
    changed = {plan.name: list_lines(plan.name, _items(plan)) for plan in plans if plan.runs}
    if not is_alone:
        draft.header += ["", *mail_settings(reader.main), f"{reader.main.source.path} with this policy"]
        draft.files[NEW_MAIN_CF] = rewritten(reader.main, changed)
    elif by_context:
        draft.header += ["", "The list that asks this policy"]
    if by_context:
        draft.header[-1] += ", for Postfix 3.1 and later:"
        draft.header += ["", *(f"    {line}" for lines in changed.values() for line in lines)]


def planned(inputs: Inputs, draft: Draft) -> tuple[list[Plan], Reader]:
    """What becomes of each list. Raises UsageError and ConfigError."""
    if not any(map(is_file, inputs.paths)):
        return _planned_alone(inputs, draft)
    if len(inputs.paths) != 1:
        raise UsageError("expected one main.cf, or maps alone: check_sender_access:hash:FILE ...")
    source = read_source(inputs.paths[0], inputs.files)
    if not looks_like_main_cf("\n".join(source.lines)):
        raise UsageError(
            f"{source.path} is not a main.cf with restriction lists; name a map with what it is asked about: "
            f"check_sender_access:hash:{source.path}"
        )
    reader = Reader(parse_main_cf(source, draft), inputs.files, draft)
    plans = [plan for name in LISTS if (plan := _planned(name, reader))]
    if reader.stays or any(_names_class(plan, reader) for plan in plans):
        plans += [plan for name in sorted(reader.classes) if (plan := _planned(name, reader))]
    return plans, reader


def _planned_alone(inputs: Inputs, draft: Draft) -> tuple[list[Plan], Reader]:
    """Maps in the order in which they are named, as one list."""
    main = MainCf(SourceFile("main.cf", (), "utf-8"))
    reader = Reader(main, inputs.files, draft)
    plan = Plan("smtpd_recipient_restrictions")
    for path in inputs.paths:
        found = _ALONE.fullmatch(path)
        if not found:
            raise UsageError(
                f"{path} is not a map with what it is asked about, as check_sender_access:hash:/etc/senders is; "
                f"known: {', '.join(ASKS)}"
            )
        origin = Origin(found[2])
        _add(plan, Restriction(found[1], found[2], f"{found[1]} {found[2]}", warns=False, origin=origin), reader)
    return [plan], reader


def _planned(name: str, reader: Reader) -> Plan | None:
    """What becomes of a list that main.cf sets."""
    parameter = reader.main.parameters.get(name)
    if parameter is None:
        return None
    plan = Plan(name)
    try:
        for restriction in restrictions_of(reader.main, parameter):
            _add(plan, restriction, reader)
    except ValueError as error:
        reader.draft.leave_out(parameter.line.origin, name, str(error), "it stays in main.cf")
        return None
    own = [item.written for item in plan.items if isinstance(item, Restriction) and item.name not in ASKS]
    if own:
        reader.draft.note(parameter.line.origin, f"{name}: {shown(own, 50)} stay in main.cf")
    return plan


def _add(plan: Plan, restriction: Restriction, reader: Reader) -> None:
    """Put a restriction into the last run, into a new one, or leave it where it is."""
    try:
        step = reader.step(restriction)
    except UncarriedError as error:
        plan.items.append(restriction)
        if restriction.name in ASKS:
            reader.stays.add(restriction.argument)
            kind = restriction.argument.removeprefix("proxy:").partition(":")[0]
            reader.draft.leave_out(
                restriction.origin, restriction.written, str(error), _NEAREST.get(kind, "it stays in main.cf")
            )
        return
    last = plan.items[-1] if plan.items else None
    if isinstance(last, Run) and not last.warns and not restriction.warns and not last.steps[-1][1].ends_run:
        last.steps.append((restriction, step))
        return
    run = Run(_context(plan), [(restriction, step)], restriction.warns)
    plan.items.append(run)


def _context(plan: Plan) -> str:
    """`recipient`, `recipient-2` ...: the list, and which run of it."""
    base = plan.name.removeprefix("smtpd_").removesuffix("_restrictions")
    number = len(plan.runs) + 1
    return f"{base}-{number}" if number > 1 else base


def _names_class(plan: Plan, reader: Reader) -> bool:
    return any(isinstance(item, Restriction) and item.written in reader.classes for item in plan.items)


def _write(plans: list[Plan], reader: Reader, *, by_context: bool) -> None:
    routed = reader.main.value("allow_untrusted_routing") == "yes"
    writer = Writer(reader.draft, permits_routed=routed)
    for plan in plans:
        for run in plan.runs:
            asked = writer.acl(Acl(f"at_{run.context}", "policy_context", (run.context,)))
            for restriction, step in run.steps:
                reader.draft.comment(f"{plan.name}: {restriction.written}" if by_context else restriction.written)
                writer.step(step, (asked,) if by_context else ())


def _items(plan: Plan) -> list[str]:
    """The list as main.cf will have it."""
    items = []
    for item in plan.items:
        warns = f"{WARN} " if item.warns else ""
        text = _service(item.context) if isinstance(item, Run) else item.written
        items.append(warns + text)
    return items


def _service(context: str) -> str:
    return f"check_policy_service {{ unix:private/policy, policy_context={context} }}"
