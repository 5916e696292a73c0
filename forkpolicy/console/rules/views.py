"""What pages of rules show, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.console.links import rule as rule_link
from forkpolicy.console.now.kinds import kind_of
from forkpolicy.console.rules.listing import anchor, pieces_of, place_link
from forkpolicy.console.rules.reasons import empty_table
from forkpolicy.history.lines import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.console.rules.counts import Counted, Hits
    from forkpolicy.console.rules.listing import Line
    from forkpolicy.console.rules.room import Served, Text
    from forkpolicy.policy.model import Rule

View = dict[str, object]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the rules of a policy, by the history and by the running server. None: nothing is."""

    text: Text
    counted: Counted | None
    served: Served | None
    is_recorded: Callable[[Rule], bool]

    @property
    def since_s(self) -> float | None:
        """Since when the history counts."""
        return self.counted.since_s if self.counted else None

    def is_counted(self, rule: Rule) -> bool:
        """Whether the history knows how often it fired."""
        return self.since_s is not None and self.is_recorded(rule)

    def hits(self, rule: Rule) -> Hits | None:
        """By the history; None: there are none, or nobody knows."""
        return self.counted.rules.get(rule.number) if self.counted else None

    def of_server(self, rule: Rule) -> int | None:
        """How often it fired since the server has this policy; None where that is another one, or none runs."""
        return self.served.hits.get(f"{rule.where}: {rule.text}") if self.served else None

    def is_never(self, rule: Rule) -> bool:
        """Whether nobody knows of any hit, and somebody would."""
        of_server = self.of_server(rule)
        if self.hits(rule) or of_server:
            return False
        return of_server == 0 or self.is_counted(rule)


def never_words(rule: Rule, facts: Facts) -> str:
    """Why a rule has never fired, as far as that is known, and since when that was counted."""
    assert rule.place
    if reason := facts.text.reasons.get((rule.place.path, rule.place.line)):
        return reason
    if facts.served and (name := empty_table(rule, facts.served.entries)):
        return f'table "{name}" is empty'
    since_s = facts.since_s if facts.is_counted(rule) else facts.served.since_s if facts.served else None
    return f"no request has met it since {time_text(int(since_s * 1000))[:16]}Z" if since_s else "no request has met it"


def line_view(line: Line, facts: Facts) -> View:
    """One line with its gutter."""
    view: View = {
        "path": line.path,
        "number": line.number,
        "kind": line.kind,
        "depth": line.depth,
        "restricted": line.restricted,
        "place": place_link(line.path, line.number),
        "anchor": anchor(line.path, line.number) if line.number and line.kind != "file" else "",
        "pieces": [each._asdict() for each in pieces_of(line, facts.text.loaded.policy.model, facts.text.addresses)],
        "rule": None,
    }
    if line.rule:
        view["rule"] = _gutter(line.rule, facts)
    return view


def _gutter(rule: Rule, facts: Facts) -> View:
    hits, is_counted, is_never = facts.hits(rule), facts.is_counted(rule), facts.is_never(rule)
    return {
        "where": rule.where,
        "link": rule_link(rule.where),
        "kind": kind_of(rule.action.reply.text.partition(" ")[0]) if rule.action.kind == "reply" else "other",
        "day": (hits.day if hits else 0) if is_counted else None,
        "total": (hits.total if hits else 0) if is_counted else None,
        "hours": hits.hours if hits and is_counted else None,
        "spark": sparkline(hits.hours) if hits and hits.day else "",
        "last_s": hits.last_s if hits else None,
        "of_server": facts.of_server(rule),
        "never": never_words(rule, facts) if is_never else "",
    }


def rule_view(rule: Rule, text: Text, facts: Facts, now_s: float) -> View:
    """What it is made of."""
    hits = facts.hits(rule)
    place = rule.action.place
    days = list(enumerate(reversed(hits.days))) if hits and facts.is_counted(rule) else []
    pairs = facts.served.differences if facts.served else {}
    return {
        "acls": [
            {"name": f"{'!' * negated}{acl.name}", "link": _declared(acl.word.place), "lines": _lines(text, acl.name)}
            for acl, negated in rule.terms
        ],
        "action": {
            "name": rule.action.name,
            "text": rule.action.reply.text,
            "link": _declared(place) if place else "",
            "lines": _lines(text, rule.action.name),
        },
        "by_day": [{"at_s": now_s - at * 86_400, "decisions": count} for at, count in days],
        "differences": [
            {"pair": pair, "decisions": count} for pair, count in pairs.items() if pair.startswith(f"{rule.where} ->")
        ],
    }


def _declared(place: object) -> str:
    return place_link(place.path, place.line)  # type: ignore[attr-defined]


def _lines(text: Text, name: str) -> list[str]:
    """The lines that declare a name, or add to it."""
    return [line.text for line in text.lines if line.name == name and line.kind in ("acl", "action")]


def sparkline(numbers: Sequence[int]) -> str:
    """A row of columns as one path of SVG, 4 wide and 20 high at most."""
    most = max(numbers)
    heights = ((at, max(1, round(20 * number / most))) for at, number in enumerate(numbers) if number)
    return "".join(f"M{4 * at} 20v-{height}h3v{height}" for at, height in heights)
