"""From statements to a model: names become what they name. Collects every mistake; order matters, as in apolicy.

Whatever an `access` line or a value refers to must be declared before it. The first declaration of a name stays
the one that counts when there are two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.remembering.forms import FORMS
from forkpolicy.policy.matchers.table_value import PREFIX, split_table_value
from forkpolicy.policy.matchers.types import build_matchers, type_diagnostic, type_named
from forkpolicy.policy.matches import asks_service, check_matches, has_foreign_text
from forkpolicy.policy.model import DEFAULT_ACTION, Acl, Action, Model, Rule
from forkpolicy.policy.nodes import AccessStatement, AclStatement, ActionStatement, TableStatement, Word
from forkpolicy.policy.results import WHOLE_REPLY, check_names, example, may_be_malformed
from forkpolicy.policy.template import CODE, Template, parse_template
from forkpolicy.policy.terms import ANY, terms_of
from forkpolicy.protocol.reply import VERBS, Reply, encode, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Lookup
    from forkpolicy.policy.nodes import Clause, Place, Statement, TableDeclaration

DUNNO = Reply("DUNNO", "DUNNO")


@dataclass
class _Declared:
    """One ACL while its statements come in."""

    type_word: Word
    words: list[Word] = field(default_factory=list)


class Resolver:
    """Takes statements in order; `model` is the result, `context.diagnostics` the mistakes."""

    def __init__(self, context: BuildContext, lookup_for: Callable[[TableDeclaration], Lookup]) -> None:
        self.context = context
        self.lookup_for = lookup_for
        self.tables: dict[str, Lookup] = {}
        context.tables = self.tables
        self.acls: dict[str, Acl] = {}
        context.acls = self.acls
        self.actions: dict[str, Action] = {}
        # Where it stands, its terms, its action (None: `default`, wherever in the policy that is declared), and
        # whether it stands for an ACL that notes.
        self.pending: list[tuple[Place, tuple[tuple[Acl, bool], ...], Action | None, bool]] = []
        self.tables_so_far: set[str] = set()
        self.declared: dict[str, _Declared] = {}

    def resolve(self, statements: Iterable[Statement], on_error: str) -> Model:
        """Resolve all statements. `on_error` is the reply where an evaluation fails, checked before."""
        known = list(statements)
        self._gather(known)
        for statement in known:
            match statement:
                case TableStatement():
                    self.tables_so_far.add(statement.name.text)
                case AclStatement():
                    self._acl(statement)
                case ActionStatement():
                    self._action(statement)
                case AccessStatement():
                    self._access(statement)
        default = self.actions.get(DEFAULT_ACTION) or reply_action(DEFAULT_ACTION, DUNNO)
        rules = tuple(
            Rule(at, place, terms, action or default, is_note)
            for at, (place, terms, action, is_note) in enumerate(self.pending)
        )
        end = Rule(len(rules), None, (), default)
        failed = Rule(len(rules) + 1, None, (), reply_action("on_error", parse_reply(on_error)))
        return Model(self.acls, self.actions, rules, self.tables, end, failed)

    def _gather(self, statements: list[Statement]) -> None:
        """Several `acl` lines with one name add their values, also those after the first use."""
        for statement in statements:
            if isinstance(statement, TableStatement):
                self._gather_table(statement)
            if not isinstance(statement, AclStatement):
                continue
            is_first = statement.name.text not in self.declared
            declared = self.declared.setdefault(statement.name.text, _Declared(statement.type_name))
            if not is_first and not type_named(declared.type_word.text.lower()).adds_up:
                first = declared.type_word
                message = f'acl "{statement.name.text}" is declared already, in line {first.place.line}'
                hint = f"an ACL of type {first.text.lower()} has one statement: write all of it there"
                self.context.diagnostics.append(statement.name.error(message, hint))
            elif declared.type_word.text.lower() != statement.type_name.text.lower():
                first = declared.type_word
                message = f'acl "{statement.name.text}" is of type {first.text} since line {first.place.line}'
                hint = "one name has one type: choose another name"
                self.context.diagnostics.append(statement.type_name.error(message, hint))
            else:
                declared.words += statement.values

    def _gather_table(self, statement: TableStatement) -> None:
        name = statement.name.text
        if name in self.tables:
            self._twice(statement.name, "table")
        else:
            self.tables[name] = self.lookup_for(statement.declaration)

    def _acl(self, statement: AclStatement) -> None:
        name = statement.name.text
        for word in (statement.type_name, *statement.values):
            self._check_order(word)
        if name in self.acls:
            return
        if name in self.actions:
            self.context.diagnostics.append(
                statement.name.error(f'"{name}" is an action already: one name is one thing')
            )
            return
        declared = self.declared[name]
        warning = type_diagnostic(statement.type_name)
        self.context.diagnostics += [warning] if warning else []
        words = [word for word in declared.words if word.text.lower() != "silent"]
        self.context.acl = name
        matchers = build_matchers(statement.type_name, words, self.context)
        type_name = statement.type_name.text.lower()
        terms = self._terms(statement.name, words) if type_name == ANY else ()
        silent = len(words) != len(declared.words)
        self.acls[name] = Acl(len(self.acls), statement.name, type_name, tuple(words), tuple(matchers), silent, terms)

    def _terms(self, name: Word, words: list[Word]) -> tuple[tuple[Acl, bool], ...]:
        places = {each: declared.type_word.place for each, declared in self.declared.items()}
        terms, wrong = terms_of(name, words, self.acls, self.actions, places)
        self.context.diagnostics += wrong
        return terms

    def _check_order(self, word: Word) -> None:
        text = word.text.removeprefix("limits=")
        name = split_table_value(text).name if text.startswith(PREFIX) else ""
        if name in self.tables and name not in self.tables_so_far:
            self.context.diagnostics.append(
                word.error(f'table "{name}" is declared later: declare it before it is used')
            )

    def _action(self, statement: ActionStatement) -> None:
        name = statement.name.text
        if name in self.acls:
            self.context.diagnostics.append(statement.name.error(f'"{name}" is an acl already: one name is one thing'))
        elif name in self.actions:
            self._twice(statement.name, "action")
        else:
            action = self.actions[name] = self._parsed_action(statement)
            if name == DEFAULT_ACTION and (action.kind != "reply" or action.verb == WHOLE_REPLY):
                message = f'"{DEFAULT_ACTION}" must be a reply, and a {action.verb} is not one'
                self.context.diagnostics.append(statement.reply.error(message))

    def _parsed_action(self, statement: ActionStatement) -> Action:
        name, word = statement.name.text, statement.reply
        verb, _, rest = word.text.partition(" ")
        try:
            if verb.lower() == "score":
                return Action(name, "score", word.place, Reply("score", word.text), amount=_amount(rest))
            if verb.lower() in FORMS:
                from forkpolicy.policy.matchers.remembering.deeds import parse_deed  # noqa: PLC0415 - few policies have one

                words = [Word(text, word.place) for text in rest.split()]
                deed = parse_deed(verb.lower(), words, self.context)
                return Action(name, "deed", word.place, Reply(deed.verb, word.text), deed=deed)
            template = parse_template(rest if verb.lower() == "log" else word.text)
            self.context.diagnostics += check_matches(word, template, self.acls)
            if asks_service(self.acls, template.whole_of):
                replies = frozenset().union(*(each.replies for each in self.acls[template.whole_of].all_matchers))
                return Action(name, "reply", word.place, Reply(WHOLE_REPLY, word.text), template, passes_on=replies)
            if verb.lower() == "log":
                _refuse_code(template)
                return Action(name, "log", word.place, Reply("log", _log_text(rest)), template)
            _refuse_names_in_verb(verb)
            check_names(template, [name for name in template.matches if has_foreign_text(self.acls, name)])
            reply = parse_reply(example(template))
        except ValueError as error:
            self.context.diagnostics.append(word.error(str(error)))
            return reply_action(name, DUNNO)
        if not template.names:
            return Action(name, "reply", word.place, reply, None, 0.0, encode(reply.text))
        upper = _upper_verb(word.text, reply)
        return Action(name, "reply", word.place, reply, upper, checked=may_be_malformed(reply, upper))

    def _access(self, statement: AccessStatement) -> None:
        clauses = list(statement.clauses)
        action: Action | None = None
        last = clauses[-1]
        if last.word.text in self.actions:
            action = self.actions[last.word.text]
            clauses.pop()
            if last.negated:
                self.context.diagnostics.append(
                    last.word.error(f'"{last.word.text}" is an action: only ACLs take a "!"')
                )
        resolved = [(acl, clause.negated) for clause in clauses if (acl := self._clause(clause, clause is last))]
        if not clauses:
            self.context.diagnostics.append(last.word.error("a rule without an ACL: it would always fire", ALWAYS_HINT))
        place = statement.keyword.place
        for at, (acl, _) in enumerate(resolved):
            if any(matcher.notes for matcher in acl.matchers):
                note = Action("log", "log", place, Reply("log", acl.name))
                self.pending.append((place, (*resolved[:at], (acl, False)), note, True))
        self.pending.append((place, tuple(resolved), action, False))

    def _clause(self, clause: Clause, may_be_action: bool) -> Acl | None:
        name = clause.word.text
        if name in self.acls:
            return self.acls[name]
        if name in self.actions:
            message, hint = f'"{name}" is an action: it stands at the end of the rule', ""
        elif name in self.declared:
            place = self.declared[name].type_word.place
            message, hint = f'acl "{name}" is declared later, in line {place.line}: declare it before it is used', ""
        else:
            message = f'unknown {"acl or action" if may_be_action else "acl"} "{name}"'
            hint = self._meant(name, may_be_action)
        self.context.diagnostics.append(clause.word.error(message, hint))
        return None

    def _meant(self, name: str, may_be_action: bool) -> str:
        near = nearest(name, [*self.acls, *(self.actions if may_be_action else ())])
        if near:
            return f'did you mean "{near}"?'
        if name.upper() in VERBS:
            return f'an action has a name, which stands here: "action NAME {name.upper()} ..."'
        return ""

    def _twice(self, word: Word, what: str) -> None:
        self.context.diagnostics.append(word.error(f'{what} "{word.text}" is declared already'))


ALWAYS_HINT = 'what holds for every request is the action "default"'


def reply_action(name: str, reply: Reply) -> Action:
    """An action that no statement declares."""
    return Action(name, "reply", None, reply, encoded=encode(reply.text))


def _log_text(text: str) -> str:
    if not text.strip():
        raise ValueError('a log without a text: expected "log" and what is to be noted')
    return text


def _refuse_code(template: Template) -> None:
    # A note may stand in the log without its decision.
    if CODE in template.names:
        raise ValueError("{code} is the id of a decision that is logged, for the text of a reply: a note has none")


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = float("nan")
    if not -1e9 < amount < 1e9:
        raise ValueError(f'score needs a number such as +2.5, got "{text}"')
    return amount


def _refuse_names_in_verb(verb: str) -> None:
    # What Postfix must do must not come from a request or a table.
    if "{" in verb.replace("{{", ""):
        raise ValueError(f'"{verb}": the action itself is written out, names in braces stand in its text')


def _upper_verb(text: str, reply: Reply) -> Template:
    word, blank, rest = text.partition(" ")
    fixed = word.upper() if reply.verb == word.upper() else word
    return parse_template(fixed + blank + rest)
