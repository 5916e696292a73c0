"""The rules of all files together, as postfwd numbers them: items by their names, targets of jumps, variables. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.postfwd import perl
from forkpolicy.importing.postfwd.actions import Call, parse_action
from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.importing.postfwd.syntax import Item, Node, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkpolicy.importing.left_out import Origin

# Items of which the last one counts.
_SINGLE: Final = ("id", "action", "score", "rblcount", "rhsblcount")
_ASSIGNMENT = re.compile(r"\s*([^=]+?)\s*([.\-*/+=]=|=[.\-*/+=]|=)\s*(.*?)\s*", re.DOTALL)


class Numbered(NamedTuple):
    """A rule with its number: its ID, its action, its other items by name, and those of which one counts."""

    number: int
    identifier: str
    action: str
    items: Mapping[str, Sequence[Item]]
    single: Mapping[str, str]
    rule: Rule

    @property
    def origin(self) -> Origin:
        """Where it begins."""
        return self.rule.origin


class Assignment(NamedTuple):
    """`name=value` of `set()`."""

    name: str
    operator: str
    value: str


class Program:
    """All of it. `nodes`: in the order of the files, rules as `Numbered`."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: list[Numbered | Node] = []
        self.numbers: dict[str, int] = {}
        self.variables: set[str] = set()
        self.thresholds: dict[str, str] = {"5.0": "554 5.7.1 postfwd score exceeded"}
        # Rules that set one where it cannot be known which requests it is for.
        self.odd_thresholds: list[Origin] = []
        # What rules add to the score.
        self.amounts: list[float] = []
        has_scored, number = False, 0
        for node in nodes:
            if not isinstance(node, Rule):
                self.nodes.append(node)
                continue
            numbered = _numbered(number, node)
            self.nodes.append(numbered)
            self.numbers[numbered.identifier] = number
            number += 1
            call = _call(numbered)
            if call and call.name == "set":
                self.variables |= {each.name for each in assignments(call.argument)}
            if call and call.name == "score":
                has_scored = True
                self.amounts.append(perl.number(call.argument.lstrip("+-*/=").replace(",", ".")))
            if "score" in numbered.single:
                self._threshold(numbered, plain=not has_scored)

    def _threshold(self, numbered: Numbered, *, plain: bool) -> None:
        """A rule `score=N; action=...` changes a limit from then on, for all requests."""
        if plain and not numbered.items and not numbered.rule.never:
            self.thresholds[numbered.single["score"]] = numbered.action
        else:
            self.odd_thresholds.append(numbered.origin)


def assignments(argument: str) -> list[Assignment]:
    """What `set()` assigns; what is no assignment is ignored, as postfwd does."""
    found = (_ASSIGNMENT.fullmatch(each) for each in argument.split(","))
    return [Assignment(*each.groups()) for each in found if each]


def _numbered(number: int, rule: Rule) -> Numbered:
    items: dict[str, list[Item]] = {}
    single: dict[str, str] = {}
    for item in rule.items:
        if item.key in _SINGLE:
            single[item.key] = item.value
        else:
            items.setdefault(item.key, []).append(item)
    return Numbered(number, single.get("id", f"R-{number}"), single["action"], items, single, rule)


def _call(numbered: Numbered) -> Call | None:
    try:
        action = parse_action(numbered.action)
    except CannotError:
        return None
    return action if isinstance(action, Call) else None
