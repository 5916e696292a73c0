"""`acl pair table:NAME {sender} {client_address}`: several attributes, which a table is asked for together.

A table of kind `pair` is asked for a value for each of its columns, one of kind `key` for all values joined by a blank.
One attribute, or a part of one, may be asked of any table whose kind fits: `acl NAME table:NAME {helo_domain}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.entry import with_condition
from forkpolicy.policy.matchers.table import AskingMatcher, asked_name, viewed_in_source
from forkpolicy.policy.matchers.table_value import split_table_value
from forkpolicy.tables.keys import fold_domain
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.columns import COLUMNS
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Lookup, Matcher, Names
    from forkpolicy.policy.nodes import Word
    from forkpolicy.policy.parts import Part
    from forkpolicy.tables.kinds.kind import View

FORM = "acl pair table:NAME {sender} {client_address}"


class PairMatcher(AskingMatcher):
    """One table of kind `key` and several attributes, or parts of them."""

    def __init__(self, parts: Sequence[Part], word: Word, lookup: Lookup) -> None:
        super().__init__(_attributes(parts), word, lookup, [part.name for part in parts])
        self.parts = parts

    def raw(self, *values: str) -> bytes | None:
        """What the table has for these values together."""
        asked = zip(self.parts, values, strict=True)
        return self.lookup.find(" ".join(_text(part, part.text(value)) for part, value in asked))

    def key_in_source(self, names: Names) -> str:
        """The attributes, joined."""
        return 'f"' + " ".join(f"{{{_source(part, names)}}}" for part in self.parts) + '"'


class ColumnsMatcher(AskingMatcher):
    """One table, and an attribute or a part of one for each of its columns; a kind without columns has one. `views`:
    what of each attribute is looked up; None: all of it.
    """

    def __init__(self, parts: Sequence[Part], word: Word, lookup: Lookup, views: Sequence[View | None]) -> None:
        asked = [asked_name(part.name, view) for part, view in zip(parts, views, strict=True)]
        super().__init__(_attributes(parts), word, lookup, asked)
        self.views = views

    def raw(self, *values: str) -> bytes | None:
        """What the table has for these values."""
        return self.lookup.find(
            *(view(value) if view else value for view, value in zip(self.views, values, strict=True))
        )

    def key_in_source(self, names: Names) -> str:
        """The attributes, or what is looked up of them."""
        asked = zip(self.attributes, self.views, strict=True)
        return ", ".join(viewed_in_source(names, name, view) for name, view in asked)


def _attributes(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(part.attribute for part in parts)


def _text(part: Part, text: str) -> str:
    """As a key has it: of a domain its ASCII form; attributes stay as they are, and the table folds their case."""
    return fold_domain(text) if _is_domain(part) else text


def _source(part: Part, names: Names) -> str:
    source = viewed_in_source(names, part.attribute, part.of)
    return f"{names.value('fold', fold_domain)}({source})" if _is_domain(part) else source


def _is_domain(part: Part) -> bool:
    return part.of is not None and part.subject is Subject.HOST


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    value = split_table_value(type_word.text)
    lookup = context.table(type_word, value.name)
    wrong = [word for word in words if not (word.text.startswith("{") and word.text.endswith("}"))]
    for word in wrong or ([] if words else [type_word]):
        context.wrong(word, f"expected attributes in braces: {FORM}")
    parts = [part for word in words if word not in wrong and (part := context.part(word))]
    if lookup is None or not parts or len(parts) < len(words):
        return []
    if KINDS[lookup.kind].columns:
        asking = _columns(type_word, words, parts, lookup, context)
    else:
        asking = _joined(type_word, parts, lookup, context)
    matcher = with_condition(asking, value, context) if asking else None
    return [matcher] if matcher else []


def _joined(type_word: Word, parts: Sequence[Part], lookup: Lookup, context: BuildContext) -> AskingMatcher | None:
    """The matcher of a table that takes any text, or one alone that fits it."""
    kind, alone = KINDS[lookup.kind], parts[0].subject if len(parts) == 1 else None
    if kind.takes_any_text:
        return PairMatcher(parts, type_word, lookup)
    if alone and alone in kind.asked_for:
        return ColumnsMatcher(parts, type_word, lookup, [_view(parts[0], kind.asked_for[alone])])
    fitting = [name for name, each in KINDS.items() if each.takes_any_text or alone in each.asked_for]
    needs = f"{{{parts[0].name}}} needs" if alone else "attributes together need one of kind"
    context.wrong(
        type_word,
        f'table "{lookup.name}" is of kind {lookup.kind}: {needs} {" or ".join(fitting)}{"" if alone else " or pair"}',
    )
    return None


def _columns(
    type_word: Word, words: list[Word], parts: Sequence[Part], lookup: Lookup, context: BuildContext
) -> AskingMatcher | None:
    """The matcher of a table of several columns, where each attribute fits its own."""
    columns = KINDS[lookup.kind].columns
    if len(words) != len(columns):
        shown = f"{len(columns)} columns ({', '.join(columns)})"
        context.wrong(type_word, f'table "{lookup.name}" has {shown}, and is asked for {len(words)}')
        return None
    views = []
    for at, (word, part, column) in enumerate(zip(words, parts, columns, strict=True), 1):
        asked_for = COLUMNS[column].kind.asked_for
        if part.subject in asked_for:
            views.append(_view(part, asked_for[part.subject]))
        else:
            fitting = " or ".join(each for each, other in COLUMNS.items() if part.subject in other.kind.asked_for)
            message = f'column {at} of table "{lookup.name}" is of kind {column}: {word.text} needs {fitting}'
            context.wrong(word, message)
    return ColumnsMatcher(parts, type_word, lookup, views) if len(views) == len(columns) else None


def _view(part: Part, view: View | None) -> View | None:
    """What of an attribute is looked up, where a table takes `view` of a part of it."""
    of = part.of
    return (lambda value: view(of(value))) if view and of else view or of


TYPE = AclType(_build, may_be_bare=True)
