"""`sender`, `recipient`, `sasl_sender`: patterns of mail addresses, as access(5) has them."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.apolicy import searched_for_warnings
from forkpolicy.policy.matchers.exact import ExactMatcher, OneKeyMatcher, Patterns
from forkpolicy.policy.matchers.host import listed_name, names_above
from forkpolicy.policy.matchers.table import domain_of_address
from forkpolicy.policy.matchers.values import AttributeType
from forkpolicy.tables.keys import NULL_SENDER, address_keys, domain_names, fold_address
from forkpolicy.tables.names import parse_address_pattern

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.guards import KeysOf
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word


def address_matcher(name: str, words: list[Word], context: BuildContext) -> Matcher:
    """Address patterns; a list of plain domains, the usual one, costs one look-up."""
    listed = context.by_key(words, parse_address_pattern)
    patterns = _patterns(context.delimiter)
    if _only_domains(listed):
        return OneKeyMatcher(name, listed, patterns, listed_name(listed, domain_of_address))
    return ExactMatcher(name, listed, patterns)


@lru_cache(maxsize=4)
def _patterns(delimiter: str) -> Patterns:
    lister, above = partial(_lister, delimiter=delimiter), partial(_above, delimiter=delimiter)
    # The local part of `user@` may stand in any domain.
    return Patterns(lister, above, overlaps=lambda key: key[-1] == "@")


def _lister(keys: Collection[str], delimiter: str) -> KeysOf:
    if _only_domains(keys):
        return lambda address: domain_names(domain_of_address(address))
    if delimiter or any(key[0] == "." or key[-1] in "@>" for key in keys):
        return lambda address: address_keys(address, delimiter)
    return _address_and_domain


def _above(key: str, delimiter: str) -> Iterable[str]:
    if "@" not in key and key != NULL_SENDER:
        return names_above(key)
    return (key,) if key[-1] == "@" else address_keys(key, delimiter)


def _only_domains(keys: Iterable[str]) -> bool:
    return all("@" not in key and key[0] not in ".<" for key in keys)


def _address_and_domain(address: str) -> tuple[str, ...]:
    local, at, domain = address.rpartition("@")
    if not at:
        return ()
    local = local.casefold()
    return tuple(key for name in domain_names(domain) for key in (f"{local}@{name}", name))


TYPE = AttributeType("address", address_matcher, fold_address, warnings=searched_for_warnings).acl_type
