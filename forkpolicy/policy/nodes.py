"""The statements of a policy as they stand in the file: frozen values with their places, nothing resolved.

`parser` makes them, `checks` and the compilers read them. A `Word` knows its place, so that every later diagnostic can
show the line and a caret.
"""

from __future__ import annotations

from typing import NamedTuple

from forkpolicy.errors import Diagnostic


class Place(NamedTuple):
    """Where a word stands. Lines and columns count from 1; `source` is the text of the line."""

    path: str
    line: int
    column: int
    source: str = ""

    def __str__(self) -> str:
        """`file:line`, as decision logs and explanations cite it."""
        return f"{self.path}:{self.line}"


class Word(NamedTuple):
    """One word of a statement. A policy of 40,000 lines has a quarter of a million: a tuple is made in a third of the
    time that a frozen dataclass takes.
    """

    text: str
    place: Place

    def error(self, message: str, hint: str = "") -> Diagnostic:
        """An error about this word."""
        place = self.place
        return Diagnostic(place.path, place.line, place.column, message, place.source, len(self.text), hint)

    def warning(self, message: str, hint: str = "") -> Diagnostic:
        """A warning about this word."""
        place = self.place
        width = len(self.text)
        return Diagnostic(place.path, place.line, place.column, message, place.source, width, hint, "warning")


class TableStatement(NamedTuple):
    """`table NAME KIND [may-shrink] SOURCE [SOURCE ...]`."""

    name: Word
    kind: Word
    sources: tuple[Word, ...]
    may_shrink: bool = False

    @property
    def declaration(self) -> TableDeclaration:
        """The same for the compiler and the loader of the table."""
        place = self.name.place
        texts = tuple(source.text for source in self.sources)
        columns = tuple(source.place.column for source in self.sources)
        rests = tuple(self._from(at) for at in range(len(self.sources)))
        kind = self.kind.text.lower()
        return TableDeclaration(
            self.name.text, kind, texts, place.path, place.line, columns, rests=rests, may_shrink=self.may_shrink
        )

    def _from(self, at: int) -> str:
        """The statement from one of its sources on, with its blanks and line ends and without lines of comment."""
        begin = self.sources[at].place
        lines = {word.place.line: word.place.source for word in self.sources[at:]}
        return "\n".join([begin.source[begin.column - 1 :], *list(lines.values())[1:]]).rstrip()


class TableDeclaration(NamedTuple):
    """A table that a policy declares. Relative sources are relative to the directory of `path`, the declaring file.
    `key_attributes`: the attributes that the policy asks it for together, each "" where it asks for different ones;
    as many words of a source's line are its key. `values_as`: what the policy takes its values for, "limits", "number",
    "country" or "asn". `rests`: the statement from each source to its end, as it stands
    in that file. `may_shrink`: a compile may empty it or take most of its entries, as with a list that people edit.
    `others_below`: the directory of another user, whose sources a compile reads with care; empty: there is none.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    path: str
    line: int
    source_columns: tuple[int, ...]
    key_attributes: tuple[str, ...] = ()
    rests: tuple[str, ...] = ()
    values_as: tuple[str, ...] = ()
    may_shrink: bool = False
    others_below: str = ""

    @property
    def key_words(self) -> int:
        """How many words of a source's line are its key."""
        return max(1, len(self.key_attributes))


class AclStatement(NamedTuple):
    """`acl NAME TYPE VALUE [VALUE ...]`; several with one name and one type add their values."""

    name: Word
    type_name: Word
    values: tuple[Word, ...]


class ActionStatement(NamedTuple):
    """`action NAME REPLY [TEXT]`; `reply` is the rest of the statement, one blank between its words."""

    name: Word
    reply: Word


class Clause(NamedTuple):
    """One `[!]ACL` of a rule."""

    word: Word
    negated: bool


class AccessStatement(NamedTuple):
    """`access [!]ACL ... [ACTION]`. `clauses` has the action's word too: only names tell which is which."""

    keyword: Word
    clauses: tuple[Clause, ...]


Statement = TableStatement | AclStatement | ActionStatement | AccessStatement
