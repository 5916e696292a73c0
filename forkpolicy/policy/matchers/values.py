"""The values of an ACL on one attribute: plain ones, expressions, tables, another attribute in braces, and files.

`AttributeType` says what is plain for one kind of attribute; the rest is the same for all. Every mistake goes to the
context; nothing is read but value files, through its `Files`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.errors import ConfigError
from forkpolicy.policy.matchers.context import AclType, BuildContext
from forkpolicy.policy.matchers.entry import table_matchers
from forkpolicy.policy.matchers.expression_signs import is_regex
from forkpolicy.policy.matchers.foreign import flags_hint, refuse_foreign
from forkpolicy.policy.matchers.same import same_matcher
from forkpolicy.policy.matchers.table_value import PREFIX
from forkpolicy.policy.nodes import Word
from forkpolicy.policy.parser import is_comment, read_lines, words_of_line

if TYPE_CHECKING:
    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.tables.kinds.kind import Subject

Plain = Callable[[str, list[Word], BuildContext], "Matcher"]


class AttributeType(NamedTuple):
    """One kind of attribute. `plain` makes the matcher of plain values; `fold`: as two values of it are compared."""

    subject: Subject
    plain: Plain
    fold: Callable[[str], str]
    has_expressions: bool = True
    warnings: Callable[[Sequence[Word]], Iterator[Diagnostic]] | None = None

    @property
    def acl_type(self) -> AclType:
        """The type of ACL that asks an attribute of this kind."""
        return AclType(self._build, warnings=self.warnings) if self.warnings else AclType(self._build)

    def _build(self, type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
        values = _Values(self, type_word.text.lower(), context)
        for word in words:
            values.sort(word)
        return values.matchers()


class _Values:
    """The values of one ACL, sorted."""

    def __init__(self, kind: AttributeType, name: str, context: BuildContext) -> None:
        self.kind = kind
        self.name = name
        self.context = context
        self.built: list[Matcher] = []
        self.regexes: list[Word] = []
        self.plain: list[Word] = []
        self.tables: list[Word] = []

    def matchers(self) -> list[Matcher]:
        """Cheapest first: one of them is enough."""
        plain = [self.kind.plain(self.name, self.plain, self.context)] if self.plain else []
        expressions = self._expressions() if self.regexes else []
        tables = table_matchers(self.name, self.kind.subject, self.tables, self.context)
        return [*plain, *expressions, *self.built, *tables]

    def _expressions(self) -> list[Matcher]:
        from forkpolicy.policy.matchers.regex import regex_matchers  # noqa: PLC0415 - see expression_signs.py

        return [*regex_matchers(self.name, self.regexes, self.context)]

    def sort(self, word: Word, *, in_file: bool = False) -> None:
        """Take one value in. A file of values has no tables and no files."""
        text = word.text
        try:
            refuse_foreign(self.name, text)
        except ValueError as error:
            self.context.wrong(word, str(error))
            return
        if text.startswith(PREFIX) and not in_file:
            self.tables.append(word)
        elif text.startswith("{") and text.endswith("}"):
            if part := self.context.part(word):
                self.built.append(same_matcher(self.name, self.kind.subject, part, word, self.kind.fold))
        elif self.kind.has_expressions and is_regex(text):
            self._expression(word)
        elif text.startswith("/") and not in_file:
            self._file(word)
        else:
            self.plain.append(word)

    def _expression(self, word: Word) -> None:
        from forkpolicy.policy.matchers.regex import check_regex  # noqa: PLC0415 - see expression_signs.py

        try:
            check_regex(word.text)
        except ValueError as error:
            self.context.wrong(word, str(error))
        else:
            self.regexes.append(word)

    def _file(self, word: Word) -> None:
        if word.place.path in self.context.restricted:
            self.context.wrong(word, f"{word.text}: a restricted file names no other file", flags_hint(word.text))
            return
        try:
            lines = read_lines(word.text, self.context.files)
        except ConfigError as error:
            hint = flags_hint(word.text)
            for each in error.diagnostics:
                self.context.wrong(word, f"{each.path} {each.message}", hint)
            return
        for number, line in enumerate(lines, 1):
            if not is_comment(line):
                self._line(words_of_line(word.text, number, line))

    def _line(self, words: list[Word]) -> None:
        if len(words) > 1 and words[1].text[0] not in "#;":
            self.context.wrong(words[1], "expected one value a line")
        else:
            self.sort(words[0], in_file=True)
