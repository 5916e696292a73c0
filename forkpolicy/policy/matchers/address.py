"""`sender`, `recipient`, `sasl_sender`: patterns of mail addresses, as access(5) has them."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.apolicy import searched_for_warnings
from forkpolicy.policy.matchers.exact import ExactMatcher, OneKeyMatcher, Patterns
from forkpolicy.policy.matchers.host import listed_name, names_above
from forkpolicy.policy.matchers.values import AttributeType
from forkpolicy.tables.keys import NULL_SENDER, domain_names, fold_address
from forkpolicy.tables.kinds.address import address_keys, form_of, keys_lister
from forkpolicy.tables.kinds.domain import domain_of_address
from forkpolicy.tables.kinds.kind import Subject
from forkpolicy.tables.names import parse_address_pattern

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.guards import KeysOf
    from forkpolicy.policy.matchers.matcher import Matcher, Names
    from forkpolicy.policy.nodes import Word


def address_matcher(name: str, words: list[Word], context: BuildContext) -> Matcher:
    """Address patterns; a list of plain domains, the usual one, costs one look-up."""
    listed = context.by_key(words, parse_address_pattern)
    patterns = _patterns(context.delimiter)
    if _only_domains(listed):
        return DomainsMatcher(name, listed, patterns)
    return ExactMatcher(name, listed, patterns)


class DomainsMatcher(OneKeyMatcher):
    """Plain domains: all that is asked of an address is its domain."""

    def __init__(self, attribute: str, words: dict[str, Word], patterns: Patterns) -> None:
        name_of = listed_name(words)
        super().__init__(attribute, words, patterns, lambda address: name_of(domain_of_address(address)))
        self.name_of = name_of

    def source(self, names: Names) -> str:
        """The look-up of the domain, which is known for nearly every address: no search through the address."""
        name_of, words = names.value("name_of", self.name_of), names.value("words", frozenset(self.words))
        return f"{name_of}({names.domain(self.attributes[0])}) in {words}"


@lru_cache(maxsize=4)
def _patterns(delimiter: str) -> Patterns:
    lister, above = partial(_lister, delimiter=delimiter), partial(_above, delimiter=delimiter)
    # The local part of `user@` may stand in any domain.
    return Patterns(lister, above, overlaps=lambda key: key[-1] == "@")


def _lister(keys: Collection[str], delimiter: str) -> KeysOf:
    if _only_domains(keys):
        return lambda address: domain_names(domain_of_address(address))
    return keys_lister(frozenset(form_of(key.encode()) for key in keys), delimiter)


def _above(key: str, delimiter: str) -> Iterable[str]:
    if "@" not in key and key != NULL_SENDER:
        return names_above(key)
    return (key,) if key[-1] == "@" else address_keys(key, delimiter)


def _only_domains(keys: Iterable[str]) -> bool:
    return all("@" not in key and key[0] not in ".<" for key in keys)


TYPE = AttributeType(Subject.MAIL, address_matcher, fold_address, warnings=searched_for_warnings).acl_type
