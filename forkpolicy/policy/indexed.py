"""Long policies: which lines can fire at all is looked up, so that the cost does not grow with the number of lines.

Every line that has a positive ACL of exact values, networks, expressions or a table has a guard: when the guard
does not hold, the line cannot fire, cannot fail and need not be tried. Guards of all lines stand together in a few
indexes: one dict per attribute for exact values, one for hosts and one binary search for networks, one RE2 set per
attribute, one question per table. What they give, and the lines without a guard, are the candidates; those are
tried in the order of the policy, as `evaluate` would. An index may name a line too many, never one too few, since
each candidate is tried in full.

Says the same as `codegen`, which serves short policies; a failing table raises, and `Policy.decide` asks `evaluate`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Protocol

from forkpolicy.policy.matchers.guards import AskOnce, Exact, Expressions, Networks
from forkpolicy.policy.matchers.matcher import Asking
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.protocol.attributes import attribute
from forkpolicy.protocol.layout import Values
from forkpolicy.tables.keys import ip_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.policy.matchers.guards import Guard, Lister
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.model import Acl, Line, Model
    from forkpolicy.policy.nodes import Word
    from forkpolicy.protocol.attributes import Attribute
    from forkpolicy.tables.keys import IpRange

Question = Callable[[Values], "bool | None"]

# Guards in the order in which they are preferred: the more a look-up narrows down, the better.
PREFERENCE: dict[type, int] = {Exact: 0, Networks: 1, AskOnce: 3, Expressions: 4}
NO_LINES: tuple[int, ...] = ()


def index_model(
    model: Model,
    wanted: Sequence[str],
    noted: list[Line],
    understood: Callable[[Values], Values],
) -> Callable[..., Line]:
    """The function that decides as `model` says. Its arguments are the values of `wanted`; `understood` is a `door`."""
    positions = {name: number for number, name in enumerate(wanted)}
    guarded = _Guards(model.lines, positions)
    questions = {acl.number: _question(acl, positions) for acl in model.acls.values() if not acl.is_score}
    lines, end, always, probes = model.lines, model.default_line, guarded.always, guarded.probes

    def decide(*values: str) -> Line:
        seen = understood(values)
        candidates = list(always)
        for probe in probes:
            candidates += probe.lines(seen)
        if not candidates:
            return end
        return _first(sorted(set(candidates)), lines, questions, seen, noted) or end

    return decide


def _first(
    candidates: list[int],
    lines: list[Line],
    questions: dict[int, Question],
    values: Values,
    noted: list[Line],
) -> Line | None:
    """The first candidate that fires and replies; `log` and `score` lines have their effect on the way."""
    answers: dict[int, bool | None] = {}
    score = 0.0
    for number in candidates:
        line = lines[number]
        for acl, negated in line.clauses:
            if acl.is_score:
                answer: bool | None = acl.matchers[0].holds(str(score))
            elif acl.number in answers:
                answer = answers[acl.number]
            else:
                answer = answers[acl.number] = questions[acl.number](values)
            if answer is negated or answer is None:
                break
        else:
            if line.action.kind == "reply":
                return line
            if line.action.kind == "log":
                noted.append(line)
            score += line.action.amount
    return None


def _question(acl: Acl, positions: dict[str, int]) -> Question:
    """One ACL, ready to be asked: True, False, or None for "cannot be known". Raises what a table raises."""
    matchers = [
        (matcher.holds, tuple(positions[name] for name in matcher.attributes))
        for matcher in acl.matchers
        if all(name in positions for name in matcher.attributes)
    ]
    asked = _one_part(*matchers[0]) if len(matchers) == 1 else _any_part(matchers)
    named = [(positions[name], attribute(name)) for name in acl.attributes if name in positions]
    checks = [(at, each) for at, each in named if not each.always_known]
    return _if_known(asked, checks, positions["protocol_state"]) if checks else asked


def _one_part(holds: Callable[..., bool], places: tuple[int, ...]) -> Question:
    if len(places) == 1:
        place = places[0]
        return lambda values: holds(values[place] or "")
    return lambda values: holds(*(values[at] or "" for at in places))


def _any_part(matchers: list[tuple[Callable[..., bool], tuple[int, ...]]]) -> Question:
    asked = [_one_part(holds, places) for holds, places in matchers]
    return lambda values: any(ask(values) for ask in asked)


def _if_known(asked: Question, checks: list[tuple[int, Attribute]], state: int) -> Question:
    def ask(values: Values) -> bool | None:
        for at, each in checks:
            # A value that says something is known: only for the empty ones does the state matter.
            value = values[at]
            if (not value or each.number) and not each.known(value, values[state] or ""):
                return None
        return asked(values)

    return ask


class _Probe(Protocol):
    """One index: the lines whose guard may hold for these values."""

    def lines(self, values: Values) -> Iterable[int]:
        """Line numbers, in any order."""


class _Guards:
    """Sorts the lines into indexes."""

    def __init__(self, lines: list[Line], positions: dict[str, int]) -> None:
        self._positions = positions
        self._exact: dict[str, tuple[Lister, dict[str, list[int]]]] = {}
        self._networks: dict[str, list[tuple[IpRange, int]]] = {}
        self._regexes: dict[str, list[tuple[Word, int]]] = {}
        self._asked: dict[int, tuple[Matcher, list[int]]] = {}
        unguarded = [line.number for line in lines if not self._guard(line)]
        self.always = tuple(unguarded)
        self.probes: list[_Probe] = [
            *(_ExactProbe(positions[name], lister, keys) for name, (lister, keys) in self._exact.items()),
            *(_NetworkProbe(positions[name], spans) for name, spans in self._networks.items()),
            *(_RegexProbe(positions[name], name, words) for name, words in self._regexes.items()),
            *(self._ask_once(matcher, numbers) for matcher, numbers in self._asked.values()),
        ]

    def _ask_once(self, matcher: Matcher, numbers: list[int]) -> _AskOnceProbe:
        return _AskOnceProbe(matcher, tuple(self._positions[name] for name in matcher.attributes), tuple(numbers))

    def _guard(self, line: Line) -> bool:
        asked = takewhile(_is_asked_freely, line.clauses)
        ranked = [(_rank(acl, guards), guards) for acl, negated in asked if not negated and (guards := _guards(acl))]
        if not ranked:
            return False
        for guard in min(ranked, key=lambda each: each[0])[1]:
            self._add(guard, line.number)
        return True

    def _add(self, guard: Guard, number: int) -> None:
        match guard:
            case Exact(name, keys, lister):
                numbers = self._exact.setdefault(name, (lister, {}))[1]
                for key in keys:
                    numbers.setdefault(key, []).append(number)
            case Networks(name, ranges):
                self._networks.setdefault(name, []).extend((span, number) for span in ranges)
            case Expressions(name, words):
                self._regexes.setdefault(name, []).extend((word, number) for word in words)
            case AskOnce(matcher):
                self._asked.setdefault(id(matcher), (matcher, []))[1].append(number)


def _is_asked_freely(clause: tuple[Acl, bool]) -> bool:
    """Whether an ACL may be asked before what stands left of it has been."""
    return not any(matcher.asking & (Asking.COUNTS | Asking.WAITS) for matcher in clause[0].matchers)


def _guards(acl: Acl) -> list[Guard]:
    """The guards of an ACL, one for each of its matchers; none where one of them has none."""
    guards = [guard for matcher in acl.matchers if (guard := matcher.guard())]
    return guards if len(guards) == len(acl.matchers) else []


def _rank(acl: Acl, guards: list[Guard]) -> tuple[int, int]:
    """How good the guards of an ACL are, the smaller the better."""
    return max(_preference(guard) for guard in guards), len(acl.words)


def _preference(guard: Guard) -> int:
    # A table that is asked for two attributes narrows down more than one that is asked for one.
    return PREFERENCE[type(guard)] - (isinstance(guard, AskOnce) and len(guard.matcher.attributes) > 1)


class _ExactProbe:
    """All exact values of one attribute: a dict."""

    def __init__(self, at: int, lister: Lister, keys: dict[str, list[int]]) -> None:
        self._at = at
        self._keys_of = lister(keys)
        self._found = {key: tuple(numbers) for key, numbers in keys.items()}.get

    def lines(self, values: Values) -> Iterable[int]:
        """The lines of every key that the value may stand under."""
        found = self._found
        hits = [numbers for key in self._keys_of(values[self._at] or "") if (numbers := found(key))]
        if len(hits) < 2:
            return hits[0] if hits else NO_LINES
        return [number for numbers in hits for number in numbers]


class _NetworkProbe:
    """All networks of one attribute: single addresses in a dict, the rest as disjoint spans."""

    def __init__(self, at: int, spans: list[tuple[IpRange, int]]) -> None:
        self._at = at
        single: dict[bytes, list[int]] = {}
        wide = []
        for (first, last), number in spans:
            if first == last:
                single.setdefault(first, []).append(number)
            else:
                wide.append((first, last, number))
        self._single = {key: tuple(numbers) for key, numbers in single.items()}.get
        self._firsts, self._lasts, self._numbers = _disjoint(wide)

    def lines(self, values: Values) -> Iterable[int]:
        """The lines of every network that has the address."""
        key = ip_key(values[self._at] or "")
        if key is None:
            return NO_LINES
        found = self._single(key, NO_LINES)
        at = bisect_left(self._lasts, key)
        if at < len(self._lasts) and self._firsts[at] <= key:
            return (*found, *self._numbers[at])
        return found


class _RegexProbe:
    """All expressions of one attribute: one set."""

    def __init__(self, at: int, name: str, words: list[tuple[Word, int]]) -> None:
        self._at = at
        self._part = RegexMatcher(name, [word for word, _ in words])
        self._numbers = [number for _, number in words]

    def lines(self, values: Values) -> Iterable[int]:
        """The lines of every expression that is found."""
        return [self._numbers[at] for at in self._part.remembered(values[self._at] or "")]


class _AskOnceProbe:
    """One matcher: asked once, for all lines that it guards."""

    def __init__(self, matcher: Matcher, places: tuple[int, ...], numbers: tuple[int, ...]) -> None:
        self._holds = matcher.holds
        self._places = places
        self._numbers = numbers

    def lines(self, values: Values) -> Iterable[int]:
        """All its lines when it holds."""
        return self._numbers if self._holds(*(values[at] or "" for at in self._places)) else NO_LINES


def _disjoint(spans: list[tuple[bytes, bytes, int]]) -> tuple[list[bytes], list[bytes], list[tuple[int, ...]]]:
    """Overlapping spans as disjoint ones in order, each with the numbers of all spans that cover it."""
    opens: dict[bytes, list[int]] = {}
    closes: dict[bytes, list[int]] = {}
    for first, last, number in spans:
        opens.setdefault(first, []).append(number)
        closes.setdefault(_after(last), []).append(number)
    firsts: list[bytes] = []
    lasts: list[bytes] = []
    numbers: list[tuple[int, ...]] = []
    covering: list[int] = []
    edges = sorted({*opens, *closes})
    for edge, following in pairwise(edges):
        for number in closes.get(edge, ()):
            covering.remove(number)
        covering += opens.get(edge, ())
        if covering:
            firsts.append(edge)
            lasts.append(_before(following))
            numbers.append(tuple(sorted(set(covering))))
    return firsts, lasts, numbers


# The address after the last of a family is the first byte string behind it: keys are compared, never shown.
def _after(key: bytes) -> bytes:
    number = int.from_bytes(key, "big") + 1
    return number.to_bytes(len(key), "big")


def _before(key: bytes) -> bytes:
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")
