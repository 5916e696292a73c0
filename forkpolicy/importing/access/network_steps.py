"""A cidr: table as a table of kind cidr. Raises UncarriedError where it has no equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.importing.access.logical_lines import shown
from forkpolicy.importing.access.map_files import UncarriedError
from forkpolicy.importing.access.networks import most_specific
from forkpolicy.importing.access.results import Does
from forkpolicy.importing.access.steps import WIDEST, Acl, Case, NetworkLookup, Outcome, Source, Table
from forkpolicy.importing.access.words import words_for
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.importing.access.networks import Network
    from forkpolicy.importing.access.pattern_lines import Rule
    from forkpolicy.importing.access.results import Result
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.table_text import TableLine

_CLIENTS: Final = ("client_name", "reverse_client_name")


def network_lookup(
    rules: Sequence[Rule],
    word: str,
    name: str,
    attribute: str,
    result_of: Callable[[str, Origin], Result],
    draft: Draft,
    origin: Origin,
) -> NetworkLookup:
    """The step of a cidr: table about clients."""
    if attribute not in _CLIENTS:
        raise UncarriedError("networks are compared with clients' addresses only")
    results = {rule.result: result_of(rule.result, rule.origin) for rule in rules}
    try:
        networks, dead = most_specific(rules)
    except ValueError as error:
        raise UncarriedError(f"{word}: {error}") from error
    by_reason: dict[str, list[str]] = {}
    for rule, reason in dead:
        by_reason.setdefault(reason, []).append(f"{rule.pattern.text} ({rule.origin})")
    for reason, which in by_reason.items():
        draft.note(origin, f"{word}: never decides: {shown(which)}: {reason}")
    words = _words(results)
    lines = [line for network in networks if not is_wide(network.text) for line in _lines(network, results, words)]
    outcomes = {each: Outcome(result) for result, each in words.items()}
    wide = [network for network in networks if is_wide(network.text)]
    table = Table(Source("client_address", "cidr"), lines, {})
    return NetworkLookup(word, name, table, outcomes, _wide_cases(wide, results, name), origin)


def _lines(network: Network, results: dict[str, Result], words: dict[Result, str]) -> list[TableLine]:
    entry = TableEntry(network.text, words[results[network.rule.result]], network.rule.origin)
    return [*network.rule.comments, entry]


def is_wide(network: str) -> bool:
    """Whether a table takes it only with --allow-wide: then it is a rule."""
    address, slash, length = network.partition("/")
    return bool(slash) and int(length) < WIDEST[":" if ":" in address else "."]


def _wide_cases(wide: Sequence[Network], results: dict[str, Result], name: str) -> list[Case]:
    """The narrower first, as the most specific wins in the table, too."""
    ordered = sorted(wide, key=lambda each: -int(each.text.partition("/")[2]))
    found = []
    for each in ordered:
        acl = Acl(f"{name}-{each.text}", "client_address", (each.text,))
        found.append(Case(((acl, True),), results[each.rule.result], each.rule.origin, each.rule.comments))
    while found and found[-1].result.does is Does.NOTHING:
        found.pop()
    return found


def _words(results: dict[str, Result]) -> dict[Result, str]:
    outcomes = {text: Outcome(result) for text, result in results.items()}
    return {results[text]: word for text, word in words_for(outcomes, many=len(outcomes)).of.items()}
