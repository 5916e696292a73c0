"""The pages of rules: the whole policy with a gutter of hits, and one rule with whom it hit."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import link
from forkpolicy.console.now.kinds import kind_of
from forkpolicy.console.page import Notice, Page, Rows
from forkpolicy.console.rules.counts import DAYS
from forkpolicy.console.rules.listing import place_link
from forkpolicy.console.rules.room import served
from forkpolicy.console.rules.standing import standing
from forkpolicy.console.rules.views import Facts, line_view, never_words, rule_view
from forkpolicy.history.query import Query
from forkpolicy.history.versions import VersionDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.console.rules.listing import Line
    from forkpolicy.console.rules.room import Text
    from forkpolicy.console.visit import Visit
    from forkpolicy.policy.model import Rule

A_PAGE: Final = 150
_NEWEST: Final = 10
_COLUMNS: Final = ("file", "line", "rule", "hits_24h", f"hits_{DAYS}d", "last_s", "hits_of_server", "never")


def show(visit: Visit) -> Page:
    """The policy as text, from a line on."""
    text = visit.parts.rules.text
    facts = _facts(visit, text)
    only = "never" if visit.text("only") == "never" else ""
    lines = [each for each in text.lines if each.rule and facts.is_never(each.rule)] if only else text.lines
    begin = _begin(visit, lines)
    shown = lines[begin : begin + A_PAGE]
    rules = text.loaded.policy.model.rules
    data = {
        "lines": [line_view(line, facts) for line in shown],
        "rules": len(rules),
        "never": sum(facts.is_never(rule) for rule in rules),
        "since_s": facts.since_s,
        "served_since_s": facts.served.since_s if facts.served else None,
        "gone": facts.counted.gone if facts.counted else None,
        "days": DAYS,
        "only": only,
        "previous": link("/rules", only=only, begin=max(0, begin - A_PAGE)) if begin else "",
        "next": link("/rules", only=only, begin=begin + A_PAGE) if begin + A_PAGE < len(lines) else "",
    }
    rows = Rows(_COLUMNS, _rows(text, facts))
    command = "forkpolicy status"
    return Page("rules/page", "Rules", _sentence(facts, rules), data=data, rows=rows, command=command)


def show_rule(visit: Visit) -> Page:
    """One rule, by its file and line."""
    text = visit.parts.rules.text
    where = visit.path["at"]
    line = next((each for each in text.lines if each.rule and each.rule.where == where), None)
    if line is None or line.rule is None:
        raise NotFound(f"There is no rule at {where}: lines move when a file is edited, and Rules has all of them.")
    rule, facts = line.rule, _facts(visit, text)
    hits = facts.hits(rule)
    known_as = hits.known_as if hits else []
    data = {
        "rule": line_view(line, facts),
        "restricted": line.restricted,
        **rule_view(rule, text, facts, visit.now_s),
        "decisions": link("/decisions", q=f"rule:{where}"),
        "earlier": [
            {"where": each, "link": link("/decisions", q=f"rule:{each}")} for each in known_as if each != where
        ],
        "newest": None,
        "standing": None,
        "in_policy": place_link(line.path, line.number),
    }
    if facts.is_recorded(rule):
        newest = visit.known("the history", lambda: list(visit.parts.history.find(Query(rules=[where]), _NEWEST)))
        data["newest"] = None if newest is None else [_found(each) for each in newest]
    if visit.parts.settings.history.log:
        directory = VersionDirectory(visit.parts.settings.history.path)
        data["standing"] = visit.known("versions of the policy", lambda: standing(directory, line.path, line.text))
    command = f"forkpolicy history find {quote(f'rule:{where}')}"
    return Page("rules/rule", f"Rule {_short(where)}", _rule_sentence(rule, facts), data=data, command=command)


def _facts(visit: Visit, text: Text) -> Facts:
    counted = visit.known("hits of rules", lambda: visit.parts.rules.counted(text.loaded))
    if counted:
        visit.notices += [Notice(f"hits of rules: {each}") for each in counted.unread]
    running = visit.known("the server", visit.parts.status)
    return Facts(text, counted, served(running, visit.now_s) if running else None, visit.parts.rules.is_recorded)


def _begin(visit: Visit, lines: Sequence[Line]) -> int:
    """The first line of the page: of `begin`, or so that it has the line of `at`. Raises UserMistake."""
    where = visit.text("at")
    if not where:
        return visit.number("begin", 0, most=max(0, len(lines) - 1))
    path, _, number = where.rpartition(":")
    for at, line in enumerate(lines):
        if line.path == path and str(line.number) == number:
            return at - at % A_PAGE
    raise UserMistake(f"at: the policy has no line {where}", "at")


def _rows(text: Text, facts: Facts) -> Iterator[list[object]]:
    for line in text.lines:
        if rule := line.rule:
            hits, known = facts.hits(rule), facts.is_counted(rule)
            day, total = (hits.day if hits else 0, hits.total if hits else 0) if known else (None, None)
            last_s = hits.last_s if hits else None
            row: list[object] = [line.path, line.number, rule.text, day, total, last_s, facts.of_server(rule)]
            yield [*row, never_words(rule, facts) if facts.is_never(rule) else ""]


def _sentence(facts: Facts, rules: tuple[Rule, ...]) -> str:
    never = sum(facts.is_never(rule) for rule in rules)
    if not rules:
        return "The policy has no rule."
    every = f"The policy has {len(rules):,} rule{'s' * (len(rules) != 1)}"
    if facts.since_s is None and facts.served is None:
        return f"{every}; how often they fired is not known."
    if never:
        return f"{every}; {never:,} of them never fired."
    unknown = sum(not facts.is_counted(rule) and facts.of_server(rule) is None for rule in rules)
    if unknown:
        return f"{every}; {unknown:,} of them are not counted, all others fired."
    return f"{every}; {'each has' if len(rules) > 1 else 'it has'} fired."


def _rule_sentence(rule: Rule, facts: Facts) -> str:
    hits = facts.hits(rule)
    if facts.is_never(rule):
        return f"It has never fired: {never_words(rule, facts)}."
    if facts.is_counted(rule):
        day, total = (hits.day, hits.total) if hits else (0, 0)
        return f"It fired {_times(day)} in 24 hours, {_times(total)} in {DAYS} days."
    of_server = facts.of_server(rule)
    if of_server is not None:
        return f"It fired {of_server:,} times since the server has loaded this policy; the history does not have it."
    return "How often it fired is not known."


def _found(found: object) -> dict[str, object]:
    names = ("id", "verb", "client", "sender", "recipient", "login")
    return {name: getattr(found, name) for name in names} | {"at_s": found.at_ms / 1000, "kind": kind_of(found.verb)}  # type: ignore[attr-defined]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _short(where: str) -> str:
    return where.rpartition("/")[2]
