"""A policy that decides: the compiled function for the common way, `evaluate` for whatever fails in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import ForkpolicyError
from forkpolicy.policy.codegen import compile_model
from forkpolicy.policy.evaluate import evaluate
from forkpolicy.policy.indexed import index_model
from forkpolicy.postfix.addresses import door
from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.reply import ONE_WORD, VERBS, encode, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.policy.evaluate import Trace
    from forkpolicy.policy.matchers.matcher import Lookup
    from forkpolicy.policy.model import Line, Model
    from forkpolicy.postfix.addresses import Views
    from forkpolicy.protocol.layout import Values

# What every policy reads: the state decides what is known, the others stand in every decision's log line. Capturing
# one costs 30 ns, parsing a request the exact way for a log line would cost 7 us.
ALWAYS_WANTED = ("protocol_state", "client_address", "sender", "recipient", "sasl_username", "queue_id")
# Straight-line code takes 0.45 us a line that does not fire, looking candidates up 2.6 us however many there are.
INDEXED_FROM = 8


class Policy:
    """A loaded policy. `wanted`: the attributes that it reads, in the order in which `decide` takes their values.

    Values come as Postfix sent them; `views` (rewriting.py) say how the policy sees those that are addresses.
    `on_failure` is told why an evaluation failed, each time; whoever sets it decides how often that is logged.
    """

    def __init__(
        self,
        model: Model,
        paths: tuple[str, ...],
        *,
        views: Views | None = None,
        indexed_from: int = INDEXED_FROM,
        also_wanted: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.paths = paths
        # In the order in which Postfix sends them: nothing has to be put in order for each request.
        listed = list(ATTRIBUTES)
        asked = dict.fromkeys((*ALWAYS_WANTED, *_asked(model), *also_wanted))
        self.wanted = tuple(sorted(asked, key=lambda name: listed.index(name) if name in ATTRIBUTES else len(listed)))
        positions = {name: at for at, name in enumerate(self.wanted)}
        views = views or {}
        self._understood = door(self.wanted, views)
        self._renders = {
            name: action.template.bound(positions, views, whole=VERBS.get(action.verb) in ONE_WORD)
            for name, action in model.actions.items()
            if action.template
        }
        self.noted: list[Line] = []
        self.on_failure: Callable[[str], None] = _ignore
        if len(model.lines) < indexed_from:
            self._compiled = compile_model(model, self.wanted, self.noted, views)
        else:
            self._compiled = index_model(model, self.wanted, self.noted, self._understood)

    @property
    def tables(self) -> dict[str, Lookup]:
        """The tables that the policy declares, by name."""
        return self.model.tables

    def decide(self, values: Values) -> Line:
        """The line that decides; `noted` has the `log` lines that fired on the way, until `take_noted`."""
        try:
            return self._compiled(*values)
        except Exception:  # noqa: BLE001 - a table or our own bug: what failed is weighed against the rest of its line
            self.noted.clear()
            return self._decide_exactly(values)

    def trace(self, values: Values, *, all_lines: bool = False) -> Trace:
        """Decide the slow way and say why."""
        seen = self._understood(values)
        trace = evaluate(self.model, dict(zip(self.wanted, seen, strict=True)), all_lines=all_lines)
        pairs = zip(self.wanted, values, seen, strict=True)
        trace.rewritten = {name: understood or "" for name, value, understood in pairs if understood != value}
        return trace

    def take_noted(self) -> list[Line]:
        """The `log` lines of the last decision."""
        noted = list(self.noted)
        self.noted.clear()
        return noted

    def reply(self, line: Line, values: Values) -> bytes:
        """The bytes of a line's reply; those of `on_error` where what was put in does not make a valid one."""
        if line.action.encoded:
            return line.action.encoded
        text, failure = self.result(line, values)
        if failure:
            self.on_failure(failure)
        return encode(text)

    def text(self, line: Line, values: Values) -> str:
        """The reply (or the note of a `log` action) of a line for one request, everything put in and cleaned."""
        return self.result(line, values)[0]

    def result(self, line: Line, values: Values) -> tuple[str, str]:
        """The text of a line's reply, and why it is that of `on_error` where it is."""
        action = line.action
        render = self._renders.get(action.name)
        if render is None:
            return action.reply.text, ""
        try:
            text = render(values, self._matched)
            if action.checked:
                parse_reply(text)
        except (ValueError, ForkpolicyError) as error:
            failure = f"action {action.name}: {error}"
            return self.model.error_line.action.reply.text if action.kind == "reply" else f"log {failure}", failure
        return text, ""

    def _matched(self, acl_name: str, values: Values) -> str:
        return self.model.matched_value(acl_name, dict(zip(self.wanted, self._understood(values), strict=True)))

    def _decide_exactly(self, values: Values) -> Line:
        trace = self.trace(values)
        if trace.failure:
            self.on_failure(trace.failure)
        self.noted.extend(trace.noted)
        return trace.outcome


def _asked(model: Model) -> Iterator[str]:
    """Every attribute that lines ask for or that actions put in."""
    for line in model.lines:
        for acl, _ in line.clauses:
            yield from acl.attributes
    for action in model.actions.values():
        if action.template:
            yield from action.template.attributes
            for name in action.template.matches:
                yield from model.acls[name].attributes


def _ignore(_failure: str) -> None:
    pass
