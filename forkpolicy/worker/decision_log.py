"""What is logged of the decisions of one generation: those that `[log] decisions` asks for, with what identifies their
requests, and the differences and failures of a shadow policy.

Called by the engine, after the decision. Raises nothing: the log never blocks.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from forkpolicy.log_formats import Slot
from forkpolicy.protocol.attributes import LOGGED_AS
from forkpolicy.protocol.reply import BEGIN, END
from forkpolicy.protocol.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.log_formats import Writer
    from forkpolicy.policy.model import Rule
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values
    from forkpolicy.settings import LogSettings
    from forkpolicy.worker.seldom_log import EventLog, SeldomLog


class DecisionLog:
    """One generation's. `logs_notes`: whether rules of the action `log` are logged at all."""

    def __init__(self, log: EventLog, seldom_log: SeldomLog, policy: Policy, settings: LogSettings) -> None:
        self._log = log
        self._seldom_log = seldom_log
        self._logged_at = [(word, policy.wanted.index(name)) for name, word in LOGGED_AS.items()]
        self._decisions = settings.decisions
        self._logs_requests = settings.decisions == "all" and settings.format == "json"
        self.logs_notes = settings.decisions != "none"
        # `writer_of(rule)(reply, values, us, raw)` logs a decision; `raw` is the request, all of which is logged for
        # `replay` where everything is. It is made when a rule is first logged: of ten thousand rules few ever are.
        self.writer_of, self._note_writer_of = cache(self._for_decisions), cache(self._for_notes)

    def logs(self, rule: Rule) -> bool:
        """Whether decisions by this rule are logged."""
        return self._decisions == "all" or (self._decisions == "acted" and rule.action.verb != "DUNNO")

    def note(self, rule: Rule, values: Values, text: str, elapsed_us: int) -> None:
        """Log that a rule of the action `log` has fired. For `replay` the request stands with the decision, once."""
        self._note_writer_of(rule)(text, values, elapsed_us)

    def shadow_differs(self, pair: str, real: str, shadow: str, values: Values) -> None:
        """Log that the shadow policy would have replied differently."""
        named = {name: values[at] for name, at in self._logged_at}
        self._seldom_log.event("info", "shadow differs", pair, key=pair, answered=real, shadow=shadow, **named)

    def shadow_failed(self, failure: str) -> None:
        """Log why the shadow policy could not be evaluated."""
        self._seldom_log.event("warning", "shadow evaluation failed", failure)

    def _for_decisions(self, rule: Rule) -> Writer:
        text = Slot(f"reply[{len(BEGIN)}:-{len(END)}].decode()", "sentence")
        action = rule.action.reply.text if rule.action.encoded else text
        request = {"request": Slot("raw", "any", _attributes)} if self._logs_requests else {}
        return self._writer(rule, action, ("reply", "values", "us", "raw"), request)

    def _for_notes(self, rule: Rule) -> Writer:
        return self._writer(rule, Slot("text", "sentence"), ("text", "values", "us"), {"note": True})

    def _writer(self, rule: Rule, action: object, arguments: Sequence[str], more: Mapping[str, object]) -> Writer:
        named = {name: Slot(f"values[{at}]") for name, at in self._logged_at}
        fields = {"action": action, "line": rule.where, "acls": rule.shown_acls, **named, "us": Slot("us", "number")}
        return self._log.writer("info", "decision", {**fields, **more}, arguments)


def _attributes(raw: bytes) -> Mapping[str, str]:
    return Request.parse(raw).attributes
