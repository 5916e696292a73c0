"""What is logged of the decisions of one generation: in the log those that `[log] decisions` asks for, with what
identifies their requests; in the log of `[history]` whole requests, and why the rule has fired. And the differences and
failures of a shadow policy.

Each line has the id of its decision, the host, and the id of what it was decided with (`in_force`), which one line of
the log explains whenever it changes. Called by the engine, after the decision. Raises nothing: the log never blocks.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import TYPE_CHECKING

from forkpolicy.log_formats import Slot
from forkpolicy.protocol.attributes import LOGGED_AS
from forkpolicy.protocol.reply import BEGIN, END
from forkpolicy.worker.decision_details import answers_json, request_json, terms_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.log_formats import Writer
    from forkpolicy.policy.model import Rule
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values
    from forkpolicy.settings import LogSettings
    from forkpolicy.worker.seldom_log import EventLog, SeldomLog


_ARGUMENTS = ("reply", "values", "us", "raw", "id")


class DecisionLog:
    """One log of one generation's decisions: all of them, those that acted, or none.

    `writer_of(rule)(reply, values, us, raw, id)` logs one. It is made when a rule is first logged: of ten thousand
    rules few ever are.
    """

    def __init__(self, log: EventLog, policy: Policy, decisions: str, in_force: str) -> None:
        self._log, self._policy = log, policy
        self._host = socket.gethostname()
        self._decisions = decisions
        self.in_force = in_force
        self.writer_of = cache(self._writer_for)

    def logs(self, rule: Rule) -> bool:
        """Whether decisions by this rule are logged."""
        return self._decisions == "all" or (self._decisions == "acted" and rule.action.verb != "DUNNO")

    def decides_with(
        self, in_force: str, generation: int, policy: str, settings: str, tables: Sequence[tuple[str, str]]
    ) -> None:
        """From now on decisions are made with these versions of the policy, the settings and the tables; the log says
        so.
        """
        if in_force != self.in_force:
            self.in_force = in_force
            self.writer_of = cache(self._writer_for)
        listed = ",".join(f"{name}@{version or 'none'}" for name, version in tables) or "-"
        versions = {"generation": generation, "policy": policy, "settings": settings, "tables": listed}
        self._log.event("info", "in force", in_force=in_force, host=self._host, **versions)

    def _writer_for(self, rule: Rule) -> Writer:
        raise NotImplementedError

    def _fields(self, rule: Rule, more: Mapping[str, object]) -> dict[str, object]:
        """What the line of a decision has in any log."""
        text = Slot(f"reply[{len(BEGIN)}:-{len(END)}].decode()", "sentence")
        action = rule.action.reply.text if rule.action.encoded else text
        told = {"action": action, "line": rule.where, "acls": rule.shown_acls, **more, "us": Slot("us", "number")}
        return {**told, "id": Slot("id", "mark"), "host": self._host, "in_force": self.in_force}


class UsualLog(DecisionLog):
    """The log's. `logs_notes`: whether rules of the action `log` are logged at all."""

    def __init__(
        self, log: EventLog, seldom_log: SeldomLog, policy: Policy, settings: LogSettings, in_force: str
    ) -> None:
        super().__init__(log, policy, settings.decisions, in_force)
        self._seldom_log = seldom_log
        self._logged_at = [(word, policy.wanted.index(name)) for name, word in LOGGED_AS.items()]
        # All of the request, for `replay`, where everything is logged.
        self._logs_requests = settings.decisions == "all" and settings.format == "json"
        self.logs_notes = settings.decisions != "none"
        self._note_writer_of = cache(self._writer_for_note)

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

    def _writer_for(self, rule: Rule) -> Writer:
        request = {"request": Slot("raw", "json", request_json)} if self._logs_requests else {}
        return self._log.writer("info", "decision", {**self._fields(rule, self._named()), **request}, _ARGUMENTS)

    def _writer_for_note(self, rule: Rule) -> Writer:
        told = {"action": Slot("text", "sentence"), "line": rule.where, "acls": rule.shown_acls, **self._named()}
        fields = {**told, "us": Slot("us", "number"), "host": self._host, "note": True}
        return self._log.writer("info", "decision", fields, ("text", "values", "us"))

    def _named(self) -> dict[str, object]:
        return {name: Slot(f"values[{at}]") for name, at in self._logged_at}


class HistoryLog(DecisionLog):
    """That of `[history]`, always in JSON."""

    def _writer_for(self, rule: Rule) -> Writer:
        policy = self._policy
        details: dict[str, object] = {"request": Slot("raw", "json", request_json)}
        if any(not acl.silent for acl, _ in rule.terms):
            details["terms"] = Slot("values", "json", terms_of(policy, rule))
        if policy.asks_once:
            details["answers"] = Slot("id", "json", lambda _id: answers_json(policy))
        return self._log.writer("info", "decision", {**self._fields(rule, {}), **details}, _ARGUMENTS)
