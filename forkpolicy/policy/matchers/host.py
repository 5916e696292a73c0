"""`client_name`, `reverse_client_name`, `helo_name`: `host.example.com` itself, `.example.com` every name below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.apolicy import searched_for_warnings
from forkpolicy.policy.matchers.exact import ExactMatcher, OneKeyMatcher, Patterns
from forkpolicy.policy.matchers.values import AttributeType
from forkpolicy.tables.keys import domain_keys, domain_names, fold_domain, parent_keys
from forkpolicy.tables.kinds.kind import Subject
from forkpolicy.tables.names import parse_host_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.guards import KeysOf
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word


def host_matcher(name: str, words: list[Word], context: BuildContext) -> Matcher:
    """Host patterns; a list of plain names costs one look-up."""
    listed = context.by_key(words, parse_host_pattern)
    if all(key[0] != "." for key in listed):
        return OneKeyMatcher(name, listed, PATTERNS, listed_name(listed))
    return ExactMatcher(name, listed, PATTERNS)


def listed_name(words: Collection[str]) -> Callable[[str], str]:
    """What gives the one key of a domain where only whole names are listed: of two names the one that is."""

    def key_of(domain: str) -> str:
        if domain.isascii():
            return fold_domain(domain)
        names = domain_names(domain)
        return next((name for name in names if name in words), names[0])

    return key_of


def names_above(key: str) -> tuple[str, ...]:
    """The keys of all patterns that hold for every name that this one holds for."""
    return (key, *parent_keys(key))


def _lister(keys: Collection[str]) -> KeysOf:
    return domain_keys if any(key[0] == "." for key in keys) else domain_names


PATTERNS = Patterns(_lister, names_above)
TYPE = AttributeType(Subject.HOST, host_matcher, fold_domain, warnings=searched_for_warnings).acl_type
