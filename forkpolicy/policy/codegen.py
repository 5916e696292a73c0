"""The fast way to a decision: a policy compiled to one Python function. Says the same as `evaluate`, without the
words.

The function takes the wanted attributes in order and returns the line that decided; `log` lines that fired are
appended to `noted`. It is straight-line code: an ACL is a local variable (True, False, None for "cannot be known"),
asked where it is first needed. Whatever fails raises; `Policy.decide` then asks `evaluate`.

Generated code is ordinary code: its names are numbered, values come through the namespace and never into the text,
and every node carries the line of the policy that it was made for, so that a traceback names policy.conf:14.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from forkpolicy.postfix.addresses import PLAIN
from forkpolicy.protocol.attributes import UnlistedAttribute, attribute
from forkpolicy.tables.kinds.domain import domain_of_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.policy.model import Acl, Line, Model
    from forkpolicy.postfix.addresses import Views

# An ACL that no line on the way here has asked yet. Not None: that is an answer.
UNASKED = "U"
# Python nests a hundred blocks and no more; a longer line begins anew after so many ACLs.
MAX_DEPTH = 60


def compile_model(model: Model, wanted: Sequence[str], noted: list[Line], views: Views) -> Callable[..., Line]:
    """The function that decides as `model` says. Its arguments are the values of `wanted`; ACLs see them by `views`."""
    return _Compiler(model, wanted, noted, views).compile()


class _Compiler:
    def __init__(self, model: Model, wanted: Sequence[str], noted: list[Line], views: Views) -> None:
        self.model = model
        self.views = views
        self.arguments = {name: f"v{number}" for number, name in enumerate(wanted)}
        self.namespace: dict[str, Any] = {UNASKED: object(), "noted": noted}
        self.names: dict[int, str] = {}
        # Whether an ACL was asked before: by every way that leads to the line at hand, by some, or by none.
        self.asked_always: set[int] = set()
        self.asked_sometimes: set[int] = set()
        self.unasked_first: set[int] = set()

    def compile(self) -> Callable[..., Line]:
        blocks = [self._line(line) for line in self.model.lines]
        start = [f"a{number} = {UNASKED}" for number in sorted(self.unasked_first)]
        # Asked for where nothing adds to it, too: `check` warns of that.
        asked = any(acl.is_score for line in self.model.lines for acl, _ in line.clauses)
        start += ["score = 0.0"] if asked or any(line.action.kind == "score" for line in self.model.lines) else []
        body = [self._statement("\n".join(start), None)] if start else []
        for block, line in zip(blocks, self.model.lines, strict=True):
            body.append(self._statement(block, line))
        body.append(self._statement(f"return {self.value('end', self.model.default_line)}", None))
        source = ast.parse(f"def decide({', '.join(self.arguments.values())}): pass")
        function = source.body[0]
        assert isinstance(function, ast.FunctionDef)
        function.body = [node for statements in body for node in statements]
        code = compile(source, "<policy>", "exec")
        exec(code, self.namespace)  # noqa: S102 - made above, of numbered names only
        decide: Callable[..., Line] = self.namespace["decide"]
        return decide

    def _statement(self, text: str, line: Line | None) -> list[ast.stmt]:
        # `return` outside of a function is no mistake to ast.parse: compile() sees it inside.
        nodes = ast.parse(text).body
        if line and line.place:
            for node in nodes:
                for each in ast.walk(node):
                    if hasattr(each, "lineno"):
                        each.lineno = each.end_lineno = line.place.line  # type: ignore[attr-defined]
        return nodes

    def _line(self, line: Line) -> str:
        text, depth, certain = ["go = False"] if len(line.clauses) > MAX_DEPTH else [], 0, True
        for acl, negated in line.clauses:
            if depth == MAX_DEPTH:
                text += [_indent(depth) + "go = True", "if go:", " go = False"]
                depth = 1
            text += [_indent(depth) + each for each in self._ask(acl)]
            self.asked_sometimes.add(acl.number)
            if certain:
                self.asked_always.add(acl.number)
            certain = False
            variable = self._variable(acl)
            text.append(_indent(depth) + (f"if {variable} is False:" if negated else f"if {variable}:"))
            depth += 1
        return "\n".join([*text, *(_indent(depth) + each for each in self._effect(line))])

    def _variable(self, acl: Acl) -> str:
        return "score_holds" if acl.is_score else f"a{acl.number}"

    def _ask(self, acl: Acl) -> list[str]:
        question = f"{self._variable(acl)} = {self._question(acl)}"
        if acl.is_score:
            return [question]
        if acl.number in self.asked_always:
            return []
        if acl.number not in self.asked_sometimes:
            return [question]
        self.unasked_first.add(acl.number)
        return [f"if a{acl.number} is {UNASKED}:", f" {question}"]

    def _question(self, acl: Acl) -> str:
        if acl.is_score:
            return f"{self.value('score', acl.matchers[0].holds)}(score)"
        known = [check for name in acl.attributes if (check := self._known(name))]
        holds = " or ".join(matcher.source(self) for matcher in acl.matchers) or "False"
        return f"({holds}) if {' and '.join(known)} else None" if known else holds

    def _known(self, name: str) -> str:
        """The condition under which an attribute is known; empty when it always is."""
        found, value = attribute(name), self.arguments[name]
        if isinstance(found, UnlistedAttribute):
            return f"{value} is not None"
        if found.empty_known_at is None:
            return ""
        states = self.value("states_" + "_".join(sorted(found.empty_known_at)), found.empty_known_at)
        there = f"{value} not in {found.empty!r}" if found.number else value
        return f"({there} or {self.arguments['protocol_state']} in {states})"

    def came(self, name: str) -> str:
        """An attribute as the request has it."""
        return self.arguments[name]

    def seen(self, name: str) -> str:
        """The same as ACLs see it. A common address costs the expression that finds it common, and no call."""
        value, view = self.arguments[name], self.views.get(name)
        if view is None:
            return value
        return f"({value} if {self.value('plain', PLAIN)}({value}) else {self.value('view', view.address)}({value}))"

    def domain(self, name: str) -> str:
        """The domain of an address. That of nearly every one is known to be what stands behind its `@`."""
        value, view = self.arguments[name], self.views.get(name)
        if view is None:
            return f"{self.value('domain_of', domain_of_address)}({value})"
        known, domain = self.value("known", view.known_domain), self.value("domain", view.domain)
        return f"({known}({value}.partition('@')[2]) or {domain}({value}))"

    def _effect(self, line: Line) -> list[str]:
        if line.action.kind == "score":
            return [f"score += {self.value(f'amount{line.number}', line.action.amount)}"]
        value = self.value(f"line{line.number}", line)
        return [f"noted.append({value})"] if line.action.kind == "log" else [f"return {value}"]

    def value(self, hint: str, value: object) -> str:
        """A name for a value in the generated code; the same value gets the same name."""
        # By identity: the namespace keeps every value alive, so no other gets its id.
        if id(value) not in self.names:
            name = self.names[id(value)] = f"c{len(self.names)}_{''.join(c for c in hint if c.isalnum() or c == '_')}"
            self.namespace[name] = value
        return self.names[id(value)]


def _indent(depth: int) -> str:
    return " " * depth
