"""Rules of postfwd as a draft of ours, one by one in their order: exactly, or left out with the reason.

Jumps become terms of the rules that they pass over, variables the terms of the rules that set them, and each rule that
adds to the score is followed by the limits of the score.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from forkpolicy.importing.postfwd import dns, limits
from forkpolicy.importing.postfwd.actions import RATES, Call, Text, parse_action, template_of
from forkpolicy.importing.postfwd.cannot import CannotError, NeverError, Notes
from forkpolicy.importing.postfwd.conditions import Conditions
from forkpolicy.importing.postfwd.logic import Term, all_of, opposite, together
from forkpolicy.importing.postfwd.program import Numbered, Program, assignments
from forkpolicy.importing.postfwd.scores import Scores
from forkpolicy.importing.postfwd.syntax import Comment, Mistake
from forkpolicy.importing.postfwd.values import values_of
from forkpolicy.importing.postfwd.variables import Variables
from forkpolicy.protocol.attributes import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.files import Files
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin

_SHOWN_CHARS = 100
MORE_MAIL = "rules behind it may decide more mail"
CLASS = "if it is a class of main.cf that asks another server: acl NAME service asks that server"
NO_EFFECT = "{what} has no effect on replies and is not carried over"
ODD_LIMIT = (
    "a limit of the score behind rules that add to it, or with other items: from the first request that comes to it "
    "on, it holds for all requests"
)
UNKNOWN_NAME = "$${name} in a text is not an attribute: it stands in the reply as it is, as in postfwd's"


class Translator:
    """One import. `translate` writes all of it into the draft."""

    def __init__(self, program: Program, draft: Draft, files: Files) -> None:
        self._program, self._draft, self._files = program, draft, files
        self._notes = Notes(draft)
        self._conditions = Conditions(draft, self._notes, files)
        self._variables = Variables(draft, program.variables)
        self._scores = Scores(program, draft, self._notes)
        # What must be met for a rule to be reached: for each jump over it, its target and that it was not taken.
        self._jumps: list[tuple[int, Term]] = []
        # The rule that replies to whatever comes to it.
        self._ended: Origin | None = None

    def translate(self) -> None:
        """Every node in its order."""
        for node in self._program.nodes:
            match node:
                case Comment(text):
                    self._draft.comment(text)
                case Mistake(left_out):
                    self._draft.leave_out(*left_out)
                case Numbered():
                    self._try(node)
        self._notes.write()

    def _try(self, rule: Numbered) -> None:
        if "score" in rule.single and rule.origin not in self._program.odd_thresholds:
            # Its action is what the limit replies; the rules that add to the score have it.
            self._draft.comment(f"{rule.origin} score {rule.single['score']}: {rule.action}")
            return
        try:
            self._rule(rule)
            self._notes.end_rule(is_kept=True)
        except CannotError as error:
            self._notes.end_rule(is_kept=False)
            shown = str(rule.rule)
            shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[: _SHOWN_CHARS - 3]}..."
            self._draft.leave_out(rule.origin, shown, self._reason(rule, error), error.nearest)

    def _reason(self, rule: Numbered, error: CannotError) -> str:
        """The reason, and what else changes with the rule; what depends on it is lost, too."""
        if isinstance(error, NeverError) or rule.rule.never or "score" in rule.single:
            return error.reason
        try:
            action = parse_action(rule.action)
        except CannotError:
            return error.reason
        if not isinstance(action, Call):
            return f"{error.reason}; {MORE_MAIL}"
        if action.name == "set":
            for each in assignments(action.argument):
                self._variables.lose(each.name, rule.origin)
        elif action.name == "score":
            self._scores.lose(rule.origin)
        elif action.name == "jump":
            return f"{error.reason}; the rules down to {action.argument} decide mail that it passed over"
        return error.reason

    def _rule(self, rule: Numbered) -> None:
        """Raises CannotError."""
        if rule.rule.never:
            raise CannotError(rule.rule.never)
        if "score" in rule.single:
            raise CannotError(
                ODD_LIMIT, "in front of the rules that add to the score, and without other items, it is carried"
            )
        action = parse_action(rule.action)
        if self._ended:
            raise NeverError(f"{self._ended} replies to every request")
        reach = together(term for target, term in self._jumps if target > rule.number)
        if reach is None:
            raise NeverError("jumps pass over it")
        met = together([*reach, *self._terms(rule)])
        if met is None:
            raise NeverError("its items exclude each other, or one of them is never met")
        terms = _looked_up_first(met)
        if isinstance(action, Call):
            self._command(rule, action, terms)
        else:
            self._reply(rule, terms, rule.action, template_of(rule.action, frozenset(self._program.variables)))

    def _terms(self, rule: Numbered) -> list[Term]:
        terms: list[Term] = []
        for key, items in rule.items.items():
            if key in dns.COUNTS:
                terms.append(self._lists(rule, key, rule.single))
            elif key in self._variables:
                values = [each for item in items for each in values_of(item, self._files, self._notes)]
                found = self._variables.terms(key, values)
                if any(isinstance(term, str) and term[0] == "!" for term in found):
                    self._conditions.note_unknown(self._variables.attributes(key), rule.origin)
                terms += found
            else:
                if key == "request_score":
                    self._scores.ask(rule.origin)
                terms += self._conditions.terms(rule.identifier, key, items)
        return terms

    def _at_least(self, rule: Numbered, key: str, least: int) -> str:
        """The ACL that so many lists of a rule that counts say yes."""
        return str(self._lists(rule, key, {dns.COUNTS[key]: str(least)}))

    def _lists(self, rule: Numbered, key: str, counts: Mapping[str, str]) -> Term:
        items = rule.items[key]
        values = [each for item in items for each in values_of(item, self._files, self._notes)]
        found = dns.list_values(key, values, counts)
        if found is None:
            return True
        self._notes.add(dns.LISTS, rule.origin)
        return self._conditions.acl(f"{rule.identifier}_{key}", "rbl" if key == dns.RBL else "rhsbl", found)

    def _reply(self, rule: Numbered, terms: Sequence[str], reply: str, text: Text) -> None:
        """A rule that replies. The null sender is <> in the texts of postfwd, and nothing in ours."""
        for name in text.unknown:
            self._notes.add(UNKNOWN_NAME.format(name=name), rule.origin)
        if not terms and "{" not in text.template.replace("{{", ""):
            self._default(rule, reply)
            return
        several = [(terms, text.template)]
        if text.names_sender and self._conditions.not_null.isdisjoint(terms):
            null = self._conditions.acl("null_sender", "null_sender", [])
            several.insert(0, ([null, *terms], text.template.replace("{sender}", "<>")))
        try:
            named = reply.lower() if reply.isalpha() else rule.identifier
            actions = [self._draft.action(named, template, is_template=True) for _, template in several]
        except ValueError as error:
            raise CannotError(str(error), CLASS if reply.replace("_", "").isalnum() else "") from error
        for (each, _), action in zip(several, actions, strict=True):
            self._access(rule, each, action)

    def _default(self, rule: Numbered, reply: str) -> None:
        """A rule for every request: what is replied where no other rule fires."""
        self._draft.comment(str(rule.origin))
        try:
            self._draft.default(reply)
        except ValueError as error:
            raise CannotError(str(error)) from error
        self._ended = rule.origin

    def _access(self, rule: Numbered, terms: Sequence[str], action: str) -> None:
        """One rule; a rule of ours asks something."""
        self._draft.access(terms or [self._conditions.acl("always", "protocol_state", STATES)], action, rule.origin)

    def _command(self, rule: Numbered, call: Call, terms: list[str]) -> None:
        if call.name in RATES:
            self._limit(rule, call, terms)
        elif call.name == "ask":
            name = self._conditions.acl(rule.identifier, "service", limits.service_values(call))
            action = self._draft.action(f"{rule.identifier}_reply", f"{{match.{name}}}", is_template=True)
            self._notes.add(limits.ANSWERS, rule.origin)
            self._draft.access([*terms, name], action, rule.origin)
        elif call.name == "score":
            self._scores.add(rule, call.argument, terms or [self._conditions.acl("always", "protocol_state", STATES)])
        elif call.name == "jump":
            self._jump(rule, call.argument, terms)
        elif call.name == "set":
            self._set(rule, call.argument, terms)
        elif call.name == "note" and call.argument:
            text = template_of(call.argument, frozenset(self._program.variables))
            self._access(rule, terms, self._draft.action(rule.identifier, f"log {text.template}", is_template=True))
        elif call.name in ("note", "debug", "file", "exec"):
            self._draft.comment(f"{rule.origin} {rule.action}")
            self._notes.add(NO_EFFECT.format(what=f"{call.name}()"), rule.origin)
        else:
            raise CannotError(f"nothing here does what {call.name}() does; postfwd tries the next rule after it")

    def _limit(self, rule: Numbered, call: Call, terms: list[str]) -> None:
        limit = limits.limit_of(call)
        for note in limit.notes:
            self._notes.add(note, rule.origin)
        if limit.states:
            terms = [*terms, self._conditions.acl("whole_message", "protocol_state", limit.states)]
        name = self._conditions.acl(f"{rule.identifier}_limit", "rate", limit.values)
        self._reply(rule, [*terms, name], limit.reply, limit.text)

    def _jump(self, rule: Numbered, target: str, terms: list[str]) -> None:
        self._scores.refuse_asked(rule)
        number = self._program.numbers.get(target)
        self._draft.comment(f"{rule.origin} {rule.action}")
        if number is None:
            self._notes.add(f"jump({target}): there is no such rule, so that it has no effect", rule.origin)
        elif number <= rule.number:
            raise CannotError("a jump backwards", "rules are tried once, from the top to the bottom")
        else:
            # The rules that it passes over fire where it does not.
            self._conditions.note_unknown(rule.items, rule.origin)
            self._jumps.append((number, opposite(all_of(self._draft, f"{rule.identifier}_not_met", terms))))

    def _set(self, rule: Numbered, argument: str, terms: list[str]) -> None:
        self._scores.refuse_asked(rule)
        self._draft.comment(f"{rule.origin} {rule.action}")
        several = assignments(argument)
        if not several:
            self._notes.add(NO_EFFECT.format(what="set() without an assignment"), rule.origin)
        for each in several:
            if key := dns.counted(rule, each.value):
                self._variables.count(each, rule.identifier, terms, partial(self._at_least, rule, key))
                continue
            self._variables.assign(each, rule.identifier, terms, rule.items)


def _looked_up_first(terms: Sequence[str]) -> list[str]:
    """What must hold in front of what must not: rules are looked up by it."""
    return sorted(terms, key=lambda term: term.startswith("!"))
