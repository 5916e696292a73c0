"""Which past requests an exception can touch, as queries that go through the history's indexes.

A rule fires, or fails, only where each of its terms may hold. A term that looks for addresses, domains, networks or
logins, or for the entries of a small table, is a list of queries of which one must find the request; all other terms,
and those with a `!`, narrow nothing. An address is found as it came, while a policy sees what Postfix makes of it: so
whatever may be seen otherwise (`Decision.is_odd`) is always among what is found. Too much may be found, never too
little. Pure, but for the entries of tables.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Final

from forkpolicy.files import Files
from forkpolicy.history.query import Names, Query
from forkpolicy.history.whatif.entries import rows_of
from forkpolicy.history.whatif.touched import differing_rules, extended_acls
from forkpolicy.policy.matchers.context import BuildContext
from forkpolicy.policy.matchers.guards import AskOnce, EntryValues, Exact, Networks
from forkpolicy.policy.matchers.types import build_matchers
from forkpolicy.policy.model import DEFAULT_ACTION
from forkpolicy.policy.nodes import Word
from forkpolicy.tables.keys import NULL_SENDER, fold_address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from forkpolicy.history.whatif.entries import Pattern
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.model import Acl, Model, Rule

# One rule is so many queries at most: each is asked of every day.
MOST_QUERIES: Final = 200
_ADDRESSES: Final = ("sender", "recipient", "sasl_username")
_COLUMNS: Final = {"sender": "sender", "recipient": "recipient", "sasl_username": "login"}
_DOMAINS: Final = {"sender_domain": "sender", "recipient_domain": "recipient"}


def queries_of(before: Model, after: Model, paths: Collection[str], delimiter: str) -> list[Query] | None:
    """The queries that find every request for which the statements that `paths` have in one policy and not in the other
    can change anything; None: any may be touched. `delimiter`: Postfix's recipient_delimiter.
    """
    every: list[list[Query] | None] = []
    for model, rules in zip((before, after), differing_rules(before, after, paths), strict=True):
        narrowing = _Narrowing(model, paths, delimiter)
        default = model.actions.get(DEFAULT_ACTION)
        if default and default.place and default.place.path in paths:
            return None
        every += [narrowing.of_rule(rule) for rule in rules]
        every += [narrowing.of_added(acl) for acl in extended_acls(model, paths)]
    found: list[Query] = []
    for queries in every:
        if queries is None:
            return None
        found += [each for each in queries if each not in found]
    return [*found, Query(odd=True)]


class _Narrowing:
    def __init__(self, model: Model, paths: Collection[str], delimiter: str) -> None:
        self._model, self._paths, self._delimiter = model, paths, delimiter

    def of_added(self, acl: Acl) -> list[Query] | None:
        """Where a value that is added to an ACL may hold. One that asks another attribute, too, may leave the ACL
        unknown elsewhere.
        """
        context = BuildContext(Files(), self._model.tables, self._delimiter, acl=acl.name)
        words = [word for word in acl.words if word.place.path in self._paths]
        if acl.terms or not words:
            return None
        matchers = build_matchers(Word(acl.type_name, acl.word.place), words, context)
        if context.diagnostics or any(matcher.attributes != acl.attributes for matcher in matchers):
            return None
        return self._of_matchers(matchers)

    def of_rule(self, rule: Rule) -> list[Query] | None:
        every = [found for acl, negated in rule.terms if not negated and (found := self._of_acl(acl)) is not None]
        every.sort(key=len)
        if not every or len(every[0]) > MOST_QUERIES:
            return None
        queries = every[0]
        for others in every[1:]:
            if len(queries) * len(others) > MOST_QUERIES:
                break
            queries = [_both(*each) for each in product(queries, others)]
        return queries

    def _of_acl(self, acl: Acl) -> list[Query] | None:
        return self._of_matchers([matcher for each in acl.alternatives for matcher in each.matchers])

    def _of_matchers(self, matchers: Iterable[Matcher]) -> list[Query] | None:
        found = [self._of_matcher(matcher) for matcher in matchers]
        if not found or None in found:
            return None
        return [query for queries in found for query in queries or ()]

    def _of_matcher(self, matcher: Matcher) -> list[Query] | None:
        match matcher.guard():
            case Exact(attribute, keys, _) if attribute in _ADDRESSES and len(keys) <= MOST_QUERIES:
                kind = "text" if attribute == "sasl_username" else "address"
                return self._of_rows([[(attribute, kind, key)] for key in keys])
            case Networks("client_address", ranges):
                return [Query(clients=[list(ranges)])]
            case AskOnce(asked) | EntryValues(asked=asked):
                rows = rows_of(asked, MOST_QUERIES)
                return None if rows is None else self._of_rows(rows)
        return None

    def _of_rows(self, rows: Sequence[Sequence[Pattern]]) -> list[Query] | None:
        found: list[Query] = []
        clients = []
        for row in rows:
            queries = [several for pattern in row if (several := list(self._of_pattern(pattern)))]
            if not queries:
                return None
            if len(row) == 1 and queries[0][0].clients:
                # Any number of networks is one query.
                clients += queries[0][0].clients[0]
                continue
            found += [reduce(_both, chosen) for chosen in product(*queries)]
        return [*found, *([Query(clients=[clients])] if clients else [])]

    def _of_pattern(self, pattern: Pattern) -> Iterator[Query]:
        """Queries of which one finds what has that pattern; none: it narrows nothing."""
        about, kind, key = pattern
        if kind == "network":
            if about == "client_address" and not isinstance(key, str):
                yield Query(clients=[[key]])
        elif isinstance(key, str):
            yield from (Query(names=[names]) for names in self._names(about, kind, key))

    def _names(self, about: str, kind: str, key: str) -> Iterator[Names]:
        if about in _DOMAINS:
            if key[:1] != ".":
                yield Names((_DOMAINS[about],), domain=key)
            return
        if about not in _COLUMNS:
            return
        column = (_COLUMNS[about],)
        if kind == "text":
            yield Names(column, text=fold_address(key))
        elif kind != "address" or key[:1] == ".":
            return
        elif key == NULL_SENDER:
            # Whoever has not signed in has an empty login, and no index of those.
            if about == "sender":
                yield Names(column, text="")
        elif "@" not in key:
            yield Names(column, domain=key)
        else:
            local = key.rpartition("@")[0]
            yield Names(column, beginning=key) if key[-1] == "@" else Names(column, text=key)
            yield from (Names(column, beginning=f"{local}{mark}") for mark in self._delimiter)


def _both(one: Query, other: Query) -> Query:
    return replace(one, names=[*one.names, *other.names], clients=[*one.clients, *other.clients])
