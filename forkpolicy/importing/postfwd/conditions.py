"""The items of a rule as terms: values of one item are alternatives, items of different names must all be met.

Raises CannotError where no terms mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.importing.postfwd.cannot import CannotError, NeverError
from forkpolicy.importing.postfwd.items import NUMBERS, Question, question
from forkpolicy.importing.postfwd.logic import Term, all_of, either, opposite
from forkpolicy.importing.postfwd.parts import PARTS
from forkpolicy.importing.postfwd.perl import finds
from forkpolicy.importing.postfwd.values import values_of
from forkpolicy.importing.postfwd.verify import verify
from forkpolicy.protocol.attributes import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.files import Files
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.postfwd.cannot import Notes
    from forkpolicy.importing.postfwd.syntax import Item

ADDRESSES: Final = (
    "mail addresses are compared as Postfix will rewrite them, and without their extension where recipient_delimiter"
    ' is set; postfwd compares them as they came, as [mail] rewriting = "none" without a recipient_delimiter does'
)
UNKNOWN: Final = (
    "{name} is empty to postfwd where Postfix has not sent it yet; here it cannot be known then, and the rule does not"
    " fire"
)
OF_SENDER: Final = "where there is no recipient, postfwd takes that of the sender for {name}"
BOTH_ENDS: Final = (
    "several comparisons of {name} are alternatives to postfwd: one of them holds for nearly every number"
)
ALL_DIFFER: Final = "one of several different values is always not equal: the rule only asks whether {name} is there"


class Conditions:
    """What the rules of some files ask. ACLs go to the draft, differences to the notes."""

    def __init__(self, draft: Draft, notes: Notes, files: Files) -> None:
        self._draft, self._notes, self._files = draft, notes, files
        # ACLs that never hold for the null sender.
        self.not_null: set[str] = set()

    def terms(self, name: str, key: str, items: Sequence[Item]) -> list[Term]:
        """The terms of one item of a rule, of all its values. `name`: of the rule, for what has no better one."""
        origin = items[0].origin
        answers = []
        for item in items:
            for value in values_of(item, self._files, self._notes):
                try:
                    answers.append(question(key, value, self._notes))
                except NeverError:
                    # One of several alternatives: the others may be met.
                    if len(items) == 1:
                        raise
                    answers.append(value.negated)
        if True in answers:
            return [True]
        questions = [each for each in answers if isinstance(each, Question)]
        if not questions:
            return [False]
        self._note(key, questions, origin)
        name = _name(key, items, name)
        if all(each.has_value and not each.opposite for each in questions):
            return self._unequal(key, name, questions, origin)
        return [either(self._draft, name, self._alternatives(key, name, questions))]

    def acl(self, name: str, type_name: str, values: Sequence[str]) -> str:
        """One ACL; its name."""
        verify(type_name, tuple(values))
        try:
            found = self._draft.acl(name, type_name, values)
        except ValueError as error:
            raise CannotError(str(error)) from error
        if type_name == "sender" and "<>" not in values:
            self.not_null.add(found)
        return found

    def _alternatives(self, key: str, name: str, questions: Iterable[Question]) -> list[Term]:
        """Values that must match share one ACL of their type; each that must not has one of its own."""
        positive: dict[str, dict[str, None]] = {}
        negative: dict[tuple[str, tuple[str, ...]], None] = {}
        others: list[Term] = []
        for each in questions:
            if each.has_value:
                both = all_of(self._draft, name, self._given_and_unequal(key, name, each))
                others.append(opposite(both) if each.opposite else both)
            elif each.negated:
                negative[each.type_name, each.values] = None
            else:
                positive.setdefault(each.type_name, {}).update(dict.fromkeys(each.values))
        found: list[Term] = [self.acl(name, kind, list(values)) for kind, values in positive.items()]
        return [*found, *(f"!{self.acl(name, kind, values)}" for kind, values in negative), *others]

    def _unequal(self, key: str, name: str, questions: Sequence[Question], origin: Origin) -> list[Term]:
        """`!=` compares nothing that is empty. Of several, one is always met by what is not."""
        both = self._given_and_unequal(key, name, questions[0])
        if len({value.casefold() for each in questions for value in each.values}) > 1:
            self._notes.add(ALL_DIFFER.format(name=key), origin)
            return both[:1]
        return both

    def _given_and_unequal(self, key: str, name: str, asked: Question) -> list[Term]:
        """That there is a value, and that it is another one."""
        assert asked.has_value
        kind, word = asked.has_value
        return [self.acl(f"{key}_given", kind, [word]), f"!{self.acl(name, asked.type_name, asked.values)}"]

    def _note(self, key: str, questions: Sequence[Question], origin: Origin) -> None:
        types = {each.type_name for each in questions}
        if types & {"sender", "recipient", "sasl_sender"}:
            self._notes.add(ADDRESSES, origin)
        if key in PARTS and key.startswith("recipient"):
            self._notes.add(OF_SENDER.format(name=key), origin)
        if key in NUMBERS and {"<", ">"} <= {value[0] for each in questions for value in each.values}:
            self._notes.add(BOTH_ENDS.format(name=key), origin)
        if any(_holds_empty(key, each) for each in questions):
            self.note_unknown(types, origin)

    def note_unknown(self, names: Iterable[str], origin: Origin) -> None:
        """Something holds for attributes (or parts of them) without a value."""
        for name in sorted({PARTS[each][0] if each in PARTS else each for each in names}):
            found = ATTRIBUTES.get(name)
            if found is not None and found.empty_known_at is not None:
                self._notes.add(UNKNOWN.format(name=name), origin)


def _holds_empty(key: str, asked: Question) -> bool:
    """Whether postfwd may let it hold for an attribute without a value."""
    if asked.has_value:
        return asked.opposite
    if key in NUMBERS:
        return asked.negated or any(value[0] == "<" or value in (">=0", "=0") for value in asked.values)
    if asked.negated:
        return True
    return any(value == "<>" or (value[0] == "/" and finds(value, "")) for value in asked.values)


def _name(key: str, items: Sequence[Item], rule: str) -> str:
    """What people know it by: the macro that all of it stands in, its one value, or the rule."""
    macros = {item.macro for item in items}
    macro = macros.pop().removeprefix("&&") if len(macros) == 1 else ""
    if macro:
        return macro
    plain = len(items) == 1 and items[0].value[0].isalnum() and ":" not in items[0].value[:7]
    return f"{key}_{items[0].value}" if plain else f"{rule}_{key}"
