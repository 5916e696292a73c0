"""Why a rule has never fired, where that is known. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.policy.checks.find import find_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Rule

_NEVER: Final = "this rule never fires: "


def known_reasons(loaded: Loaded) -> dict[tuple[str, int], str]:
    """What `check` finds of rules that can never fire, by file and line; without the beginning that all have."""
    found = find_warnings(loaded.policy.model, loaded.declarations, loaded.settings.state.budget)
    return {
        (each.path, each.line): each.message.removeprefix(_NEVER) for each in found if each.message.startswith(_NEVER)
    }


def empty_table(rule: Rule, entries: Mapping[str, int]) -> str:
    """The name of a table without an entry of which a term of the rule needs one; empty where there is none. `entries`:
    of the tables that are served.
    """
    for acl, negated in rule.terms:
        asked = [matcher.lookup for each in acl.alternatives for matcher in each.matchers]
        names = [lookup.name if lookup else "" for lookup in asked]
        if not negated and names and not any(entries.get(name, 1) for name in names):
            return names[0]
    return ""


def entries_of(tables: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The most that any worker serves of each table."""
    found: dict[str, int] = {}
    for name, entries in tables:
        found[name] = max(entries, found.get(name, 0))
    return found
