"""apolicy's statements as rules of a draft. What of an ACL cannot be carried over breaks every rule that asks it.

An ACL without one of its values holds less often, and its `!` more often: no rule with it would mean what it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.importing.apolicy.acls import Acls
from forkpolicy.importing.apolicy.given_files import open_given
from forkpolicy.importing.apolicy.grammar import Access, Acl, Action, Comment, Mistake, line_of, parse
from forkpolicy.importing.apolicy.main_conf import read_main_conf
from forkpolicy.importing.apolicy.patterns import EXACT, SEARCHED_CASE
from forkpolicy.importing.left_out import Origin

if TYPE_CHECKING:
    from forkpolicy.importing.apolicy.given_files import GivenFiles
    from forkpolicy.importing.apolicy.grammar import Term
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.source import SourceFile

_DEFAULT: Final = "default"
_BEHIND: Final = "rules behind it may decide more mail"
_CASE_NOTE: Final = (
    "case is folded in every value; whether apolicy folded it is not known (--values searched-case: not folded)"
)
_NOT_KNOWN: Final = frozenset({"recipient", "size", "rbl", "spf", "greylisting"})


def read(inputs: Inputs, draft: Draft) -> None:
    """Translate policy.conf, with the files of values that its ACLs name, and comment on main.conf."""
    files = open_given(inputs)
    how = inputs.options.get("values", EXACT)
    _encodings(files, draft)
    if files.main:
        read_main_conf(files.main, draft)
    policy = _Policy(files, how, draft)
    policy.write()
    for source in files.unused:
        draft.note(Origin(source.path), "no ACL names this file")
    if policy.acls.has_patterns and how != SEARCHED_CASE:
        draft.note(Origin(files.policy.path), _CASE_NOTE)


def _encodings(files: GivenFiles, draft: Draft) -> None:
    for source in (files.policy, *([files.main] if files.main else []), *files.values):
        note_encoding(source, draft)


def note_encoding(source: SourceFile, draft: Draft) -> None:
    """Say how a file was read that is not UTF-8."""
    if source.encoding != "utf-8":
        draft.note(Origin(source.path), f"read as {source.encoding}; what is written is UTF-8")


class _Policy:
    """One policy.conf while it is translated."""

    def __init__(self, files: GivenFiles, how: str, draft: Draft) -> None:
        self._draft = draft
        self._source = files.policy
        self._nodes = list(parse(files.policy))
        self.acls = Acls([node for node in self._nodes if isinstance(node, Acl)], files, how, draft)
        # Our name of each action; None: it could not be carried over.
        self._actions: dict[str, str | None] = {_DEFAULT: None}
        self._declared: set[str] = set()
        self._default_broken = self._noted_not = False

    def write(self) -> None:
        """Every statement, in order."""
        for node in self._nodes:
            origin = Origin(self._source.path, line_of(node))
            match node:
                case Comment() if node.text:
                    self._draft.comment(node.text)
                case Acl():
                    self.acls.declare(node)
                case Action():
                    self._action(node, origin)
                case Access():
                    self._access(node, origin)
                case Mistake():
                    self._draft.leave_out(origin, node.text, node.message)

    def _action(self, node: Action, origin: Origin) -> None:
        name, what = node.name.text, f"action {node.name.text} {node.reply}"
        is_default = name == _DEFAULT
        if name in self._declared:
            self._draft.leave_out(origin, what, "declared above already: which of them apolicy took is not documented")
            return
        self._declared.add(name)
        try:
            if is_default:
                self._draft.default(node.reply)
            else:
                self._actions[name] = self._draft.action(name, node.reply)
        except ValueError as error:
            self._draft.leave_out(origin, what, str(error))
            self._default_broken |= is_default
            self._actions[name] = None

    def _access(self, node: Access, origin: Origin) -> None:
        *asked, last = node.terms
        is_action = not last.negated and last.word.text in self._actions and not self.acls.is_declared(last.word)
        terms = asked if is_action else node.terms
        why = self._why_not(terms, last, is_action=is_action)
        if why:
            self._draft.leave_out(origin, node.text, f"{why}; {_BEHIND}")
            return
        names = [f"{'!' * term.negated}{self.acls.name_of(term.word)}" for term in terms]
        action = self._actions[last.word.text] if is_action else None
        self._note_negations(terms, origin)
        self._draft.access(names, action, origin)

    def _why_not(self, terms: tuple[Term, ...] | list[Term], last: Term, *, is_action: bool) -> str:
        """Why a rule cannot be carried over."""
        name = last.word.text
        if is_action and not terms:
            return "no ACL: what a rule of an action alone did is not documented (action default is for the rest)"
        if name in self._actions and self.acls.is_declared(last.word):
            return f'"{name}" is an ACL and an action'
        if is_action and name != _DEFAULT and self._actions[name] is None:
            return f"its action {name} is left out"
        if self._default_broken and (not is_action or name == _DEFAULT):
            return "its action default is left out"
        return next((why for term in terms if (why := self.acls.why_not(term.word))), "")

    def _note_negations(self, terms: tuple[Term, ...] | list[Term], origin: Origin) -> None:
        """Once: what `!` does where an ACL cannot be known."""
        odd = next((term for term in terms if term.negated and self.acls.type_of(term.word) in _NOT_KNOWN), None)
        if odd and not self._noted_not:
            self._noted_not = True
            kind = self.acls.type_of(odd.word)
            text = (
                f"!{odd.word.text} is not met where {kind} cannot be known (explain says when); what apolicy "
                "did then is not documented"
            )
            self._draft.note(origin, text)
