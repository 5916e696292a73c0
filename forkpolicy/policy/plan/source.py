"""Rules as Python code: straight-line functions in which an ACL is a local variable.

A variable is True, False, or None for "cannot be known", and is asked where it is first needed. ACLs that several
functions need are `shared`: their answers stand in a dict that the functions pass on, and so does the score. Whatever
fails raises; `Policy.decide` then asks `evaluate`.

Generated code is ordinary code: its names are numbered, values come through the namespace and never into the text, and
every statement carries the line of the policy that it was made for, so that a traceback names policy.conf:14. Rules of
one shape have one text, and Python compiles it once.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Final

from forkpolicy.postfix.addresses import PLAIN
from forkpolicy.protocol.attributes import STATES, UnlistedAttribute, attribute
from forkpolicy.tables.kinds.domain import domain_of_address

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Sequence

    from forkpolicy.policy.answers import Answers
    from forkpolicy.policy.model import Acl, Rule
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.postfix.addresses import Views

# An ACL that nobody has asked yet. Not None: that is an answer.
UNASKED: Final = object()
# Python nests a hundred blocks and no more; a longer rule begins anew after so many ACLs.
MAX_DEPTH: Final = 60
# How many shapes of rules are kept compiled: a policy has a dozen.
MAX_SHAPES: Final = 256
SCORE: Final = "score"
SHARED: Final = "shared"


class PlanContext:
    """What all functions of a policy have in common."""

    def __init__(
        self,
        wanted: Sequence[str],
        outcomes: Sequence[Outcome],
        noted: list[Outcome],
        views: Views,
        answers: Answers,
        shared: Collection[int],
        *,
        shares_score: bool,
    ) -> None:
        """`shared` are the numbers of ACLs that several functions ask; `shares_score`: several of them score."""
        self.arguments = {name: f"v{at}" for at, name in enumerate(wanted)}
        self.outcomes, self.noted = outcomes, noted
        self.views, self.answers = views, answers
        # One object each, so that it has one name in the code.
        self.answers_holds, self.answers_act = answers.holds, answers.act
        self.shared, self.shares_score = shared, shares_score


class Source:
    """The text of some rules, and the values that it names. It is what matchers write themselves into (`Names`)."""

    def __init__(self, context: PlanContext) -> None:
        self.context = context
        self.arguments = context.arguments
        self.namespace: dict[str, object] = {}
        self._names: dict[int, str] = {}
        self._variables: dict[int, str] = {}
        # Whether an ACL was asked before: by every way that leads to the rule at hand, by some, or by none.
        self._asked_always: set[int] = set()
        self._asked_sometimes: set[int] = set()
        self._unasked_first: set[int] = set()
        # What several ACLs look up once, and the variables of what they found.
        self._shared: set[Hashable] = set()
        self._looked_up: dict[Hashable, str] = {}

    def rules(self, rules: Iterable[Rule]) -> list[tuple[str, int]]:
        """The code of rules in order, each with the line of the policy that it stands on; 0: none."""
        several = list(rules)
        self._shared = _shared(several)
        blocks = [(self._rule(rule), rule.place.line if rule.place else 0) for rule in several]
        start = [
            f"{self._variables[number]} = {self.value('unasked', UNASKED)}" for number in sorted(self._unasked_first)
        ]
        start += [f"{variable} = {self.value('unasked', UNASKED)}" for variable in self._looked_up.values()]
        # Asked for where nothing adds to it, too: `check` warns of that.
        if not self.context.shares_score and any(map(scores, several)):
            start.append(f"{SCORE} = 0.0")
        return [("\n".join(start), 0), *blocks] if start else blocks

    def _rule(self, rule: Rule) -> str:
        text, depth, certain = ["go = False"] if len(rule.terms) > MAX_DEPTH else [], 0, True
        for acl, negated in rule.terms:
            if depth == MAX_DEPTH:
                text += [_indent(depth) + "go = True", "if go:", " go = False"]
                depth = 1
            text += [_indent(depth) + each for each in self._ask(acl)]
            self._asked_sometimes.add(acl.number)
            if certain:
                self._asked_always.add(acl.number)
            certain = False
            variable = self._variable(acl)
            text.append(_indent(depth) + (f"if {variable} is False:" if negated else f"if {variable}:"))
            depth += 1
        return "\n".join([*text, *(_indent(depth) + each for each in self._effect(rule))])

    def _variable(self, acl: Acl) -> str:
        return "score_holds" if acl.is_score else self._variables.setdefault(acl.number, f"a{len(self._variables)}")

    def _ask(self, acl: Acl) -> list[str]:
        variable = self._variable(acl)
        if acl.number in self._asked_always and not acl.changes:
            return []
        ask = self._ask_terms(acl, variable) if acl.terms else [f"{variable} = {self._question(acl)}"]
        if acl.changes:
            return ask
        unasked = self.value("unasked", UNASKED)
        if acl.number in self.context.shared:
            number = self.value("number", acl.number)
            kept = [*ask, f"{SHARED}[{number}] = {variable}"] if acl.terms else [f"{SHARED}[{number}] = {ask[0]}"]
            return [
                f"{variable} = {SHARED}.get({number}, {unasked})",
                f"if {variable} is {unasked}:",
                *(f" {each}" for each in kept),
            ]
        if acl.number not in self._asked_sometimes:
            return ask
        self._unasked_first.add(acl.number)
        return [f"if {variable} is {unasked}:", *(f" {each}" for each in ask)]

    def _ask_terms(self, acl: Acl, variable: str) -> list[str]:
        """An ACL of type `any`: one term after the other, up to the first that is met."""
        text = [f"{variable} = False"]
        for term, negated in acl.terms:
            asked = self._ask(term)
            self._asked_sometimes.add(term.number)
            of_term = self._variable(term)
            is_met = f"{of_term} is False" if negated else of_term
            step = [*asked, f"if {is_met}:", f" {variable} = True", f"elif {of_term} is None:", f" {variable} = None"]
            text += [f"if {variable} is not True:", *(f" {each}" for each in step)] if len(text) > 1 else step
        return text

    def _question(self, acl: Acl) -> str:
        if acl.is_score:
            return f"{self.value('score', acl.matchers[0].holds)}({self._score()})"
        known = [check for name in acl.attributes if (check := self._known(name))]
        if len(acl.known_states) < len(STATES):
            known.insert(0, f"{self.arguments['protocol_state']} in {self.value('states', acl.known_states)}")
        holds = (
            self._once(acl) if acl.asked_once else " or ".join(each.source(self) for each in acl.matchers) or "False"
        )
        return f"({holds}) if {' and '.join(known)} else None" if known else holds

    def _once(self, acl: Acl) -> str:
        return f"{self.value('once', self.context.answers_holds)}({self.value('acl', acl)}, {self._values(acl.reads)})"

    def _values(self, names: Iterable[str]) -> str:
        """What those see that read attributes by their names."""
        return "{" + ", ".join(f"{self.value('name', name)}: {self.seen(name)}" for name in names) + "}"

    def _known(self, name: str) -> str:
        """The condition under which an attribute is known; empty when it always is."""
        found, value = attribute(name), self.arguments[name]
        if isinstance(found, UnlistedAttribute):
            return f"{value} is not None"
        if found.empty_known_at is None:
            return ""
        states = self.value("states", found.empty_known_at)
        there = f"{value} not in {found.empty!r}" if found.number else value
        return f"({there} or {self.arguments['protocol_state']} in {states})"

    def came(self, name: str) -> str:
        """An attribute as the request has it."""
        return self.arguments[name]

    def seen(self, name: str) -> str:
        """The same as ACLs see it. A common address costs the expression that finds it common, and no call."""
        value, view = self.arguments[name], self.context.views.get(name)
        if view is None:
            return value
        return f"({value} if {self.value('plain', PLAIN)}({value}) else {self.value('view', view.address)}({value}))"

    def text_of(self, name: str) -> str:
        """The same, empty where the request has none."""
        return f"({self.seen(name)} or '')" if isinstance(attribute(name), UnlistedAttribute) else self.seen(name)

    def domain(self, name: str) -> str:
        """The domain of an address. That of nearly every one is known to be what stands behind its `@`."""
        value, view = self.arguments[name], self.context.views.get(name)
        if view is None:
            return f"{self.value('domain_of', domain_of_address)}({value})"
        known, domain = self.value("known", view.known_domain), self.value("domain", view.domain)
        return f"({known}({value}.partition('@')[2]) or {domain}({value}))"

    def once(self, shares: Hashable, expression: str) -> str:
        """An expression that several matchers share."""
        if shares not in self._shared:
            return f"({expression})"
        variable = self._looked_up.setdefault(shares, f"e{len(self._looked_up)}")
        return f"({variable} if {variable} is not {self.value('unasked', UNASKED)} else ({variable} := {expression}))"

    def value(self, hint: str, value: object) -> str:
        """A name for a value in the generated code; the same value gets the same name."""
        # By identity: the namespace keeps every value alive, so no other gets its id.
        if id(value) not in self._names:
            name = self._names[id(value)] = f"c{len(self._names)}_{''.join(c for c in hint if c.isalnum() or c == '_')}"
            self.namespace[name] = value
        return self._names[id(value)]

    def _score(self) -> str:
        return f"{SHARED}[{SCORE!r}]" if self.context.shares_score else SCORE

    def _effect(self, rule: Rule) -> list[str]:
        if rule.action.kind == "score":
            return [f"{self._score()} += {self.value('amount', rule.action.amount)}"]
        outcome = self.value("outcome", self.context.outcomes[rule.number])
        note = f"{self.value('noted', self.context.noted)}.append({outcome})"
        if rule.action.deed:
            act, values = (
                self.value("act", self.context.answers_act),
                self._values((*rule.action.deed.attributes, "policy_context")),
            )
            return [f"{act}({self.value('rule', rule)}, {values})", note]
        if rule.action.kind == "log":
            return [note]
        return [f"return {outcome}"]


def function(
    name: str, arguments: str, blocks: Sequence[tuple[str, int]], namespace: dict[str, object]
) -> FunctionType:
    """A function of blocks of code, each with its line of the policy."""
    source = ast.parse(f"def {name}({arguments}): pass")
    body = [node for text, line in blocks for node in _statements(text, line)]
    defined = source.body[0]
    assert isinstance(defined, ast.FunctionDef)
    defined.body = body or defined.body
    return FunctionType(_code_of(compile(source, "<policy>", "exec")), namespace, name)


def function_of_rule(arguments: str, text: str, line: int, namespace: dict[str, object]) -> FunctionType:
    """A function of one rule; its code is shared with all rules of the same shape but for the line."""
    code = _shape(arguments, text)
    return FunctionType(code.replace(co_firstlineno=line) if line else code, namespace, "rule")


@lru_cache(maxsize=MAX_SHAPES)
def _shape(arguments: str, text: str) -> CodeType:
    return function("rule", arguments, [(text, 1)], {}).__code__


def _code_of(module: CodeType) -> CodeType:
    return next(each for each in module.co_consts if isinstance(each, CodeType))


def _statements(text: str, line: int) -> list[ast.stmt]:
    # `return` outside of a function is not a mistake for ast.parse: compile() sees it inside.
    nodes = ast.parse(text).body
    for node in nodes if line else ():
        for each in ast.walk(node):
            if hasattr(each, "lineno"):
                each.lineno = each.end_lineno = line  # type: ignore[attr-defined]
    return nodes


def _shared(rules: Iterable[Rule]) -> set[Hashable]:
    """What more than one matcher of some rules looks up."""
    acls = {acl.number: acl for rule in rules for acl in rule.asked_acls}
    looked_up = Counter(each.shares for acl in acls.values() for each in acl.matchers if each.shares is not None)
    return {shares for shares, matchers in looked_up.items() if matchers > 1}


def scores(rule: Rule) -> bool:
    """Whether a rule adds to the score or asks for it."""
    return rule.action.kind == "score" or any(acl.is_score for acl in rule.asked_acls)


def _indent(depth: int) -> str:
    return " " * depth
