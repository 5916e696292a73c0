"""What the history log has of a decision, next to what every log has: the whole request, what made each term of the
rule hold, and what ACLs that remember or ask were answered. As JSON texts, made for the line at hand.

Raises nothing: a table that cannot be read any more is noted in place of its entry.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from forkpolicy.log_lines import json_value
from forkpolicy.policy.matchers.table import AskingMatcher
from forkpolicy.protocol.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkpolicy.policy.answers import Given
    from forkpolicy.policy.matchers.matcher import TableEntry
    from forkpolicy.policy.model import Acl, Rule
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values

# What stands in quotes as it is, and the ends of lines.
_USUAL: Final = bytes(set(range(ord(" "), ord("~") + 1)) - set(b'"\\')) + b"\n"
# Entries of tables come again: a company's domain stands in nearly every decision.
_REMEMBERED_TERMS: Final = 4096
_REMEMBERED_CHARS: Final = 100


def request_json(raw: bytes) -> str:
    """A request's attributes as a JSON object. Nearly all need no escape, and then a sixth of the time is enough."""
    if not raw.translate(None, _USUAL):
        lines = raw.decode().rstrip("\n").split("\n")
        pairs = '","'.join([line.replace("=", '":"', 1) for line in lines])
        # No quote came with the request, so each of these is one of ours: every line has a name.
        if pairs.count('":"') == len(lines):
            return f'{{"{pairs}"}}'
    return json_value(Request.parse(raw).attributes)


def terms_of(policy: Policy, rule: Rule) -> Callable[[Values], str]:
    """A function that says what each term of a rule that has decided was met by, as JSON: a value with its line, or an
    entry with its source.
    """
    terms = [_term(policy, acl, negated) for acl, negated in rule.terms if not acl.silent]

    def terms_json(values: Values) -> str:
        seen = policy.understood(values)
        return f"[{','.join([text if isinstance(text, str) else text(seen) for text in terms])}]"

    return terms_json


def answers_json(policy: Policy) -> str:
    """What each ACL that remembers or asks was answered for this request."""
    return json_value({name: _answer(given) for name, given in policy.given().items()})


def _answer(given: Given) -> dict[str, object]:
    if given.failure:
        return {"failed": str(given.failure)}
    answer: dict[str, object] = {"holds": given.holds}
    if given.finding and given.finding.value:
        answer["value"] = given.finding.value
    if given.reason or given.not_asked:
        answer["reason"] = given.reason or given.not_asked
    return answer


def _term(policy: Policy, acl: Acl, negated: bool) -> str | Callable[[Values], str]:
    if negated:
        return _unmet(acl.name)
    positions = {name: at for at, name in enumerate(policy.wanted)}
    match acl.matchers:
        case (AskingMatcher() as matcher,) if not acl.asked_once:
            return _TableTerm(acl.name, matcher, [positions[name] for name in matcher.attributes])
    return lambda seen: _met(policy, acl, dict(zip(policy.wanted, seen, strict=True)))


class _TableTerm:
    """A term that asks one table, as most do. A site's recipients come again and again, and so do its domains: what
    is said of a value, and of an entry, is made once for a version of the table.
    """

    def __init__(self, name: str, matcher: AskingMatcher, positions: Sequence[int]) -> None:
        self._name, self._matcher, self._positions = name, matcher, positions
        self._find: object = None
        self._texts: dict[bytes | None, str] = {}
        self._texts_of_values: dict[tuple[str, ...], str] = {}

    def __call__(self, seen: Values) -> str:
        find = self._matcher.lookup.find
        if find is not self._find or len(self._texts_of_values) > _REMEMBERED_TERMS:
            self._find = find
            self._texts.clear()
            self._texts_of_values.clear()
        asked = tuple([seen[at] or "" for at in self._positions])
        text = self._texts_of_values.get(asked)
        if text is None:
            try:
                text = self._found(asked)
            except Exception as error:  # noqa: BLE001 - the decision stands, whatever has happened to a table since
                return json_value({"acl": self._name, "failed": str(error)})
            # Strangers choose values, and most addresses are short.
            if all(len(value) <= _REMEMBERED_CHARS for value in asked):
                self._texts_of_values[asked] = text
        return text

    def _found(self, asked: tuple[str, ...]) -> str:
        raw = self._matcher.raw(*asked)
        text = self._texts.get(raw)
        if text is None:
            if len(self._texts) > _REMEMBERED_TERMS:
                self._texts.clear()
            text = self._texts[raw] = self._text_of(raw)
        return text

    def _text_of(self, raw: bytes | None) -> str:
        lookup = self._matcher.lookup
        return _unmet(self._name, "") if raw is None else _entry(self._name, lookup.name, lookup.entry(raw))


def _met(policy: Policy, acl: Acl, seen: Mapping[str, str | None]) -> str:
    if acl.terms:
        term, negated = policy.met_term(acl, seen) or (None, False)
        if term is None or term.silent:
            return _unmet(acl.name, "")
        by = _unmet(term.name) if negated else _met(policy, term, seen)
        return f'{{"acl":{json_value(acl.name)},"by":{by}}}'
    try:
        found = policy.finding(acl, seen)
    except Exception as error:  # noqa: BLE001 - as above
        return json_value({"acl": acl.name, "failed": str(error)})
    if found is None:
        return _unmet(acl.name, "")
    if found.entry:
        return _entry(acl.name, found.table, found.entry)
    return _value(acl.name, found.text, str(found.place or ""), found.value)


@lru_cache(maxsize=_REMEMBERED_TERMS)
def _unmet(name: str, mark: str = "!") -> str:
    return json_value({"acl": f"{mark}{name}"})


@lru_cache(maxsize=_REMEMBERED_TERMS)
def _value(name: str, text: str, line: str, value: str) -> str:
    return json_value(_filled({"acl": name, "found": text, "line": line, "value": value}))


def _entry(name: str, table: str, entry: TableEntry) -> str:
    source = f"{entry.source}:{entry.line}" if entry.line else entry.source
    return json_value(
        _filled({"acl": name, "table": table, "entry": entry.key, "value": entry.value or "", "source": source})
    )


def _filled(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in fields.items() if text}
