"""`postconf:PARAMETER`: a list of the running Postfix: `mynetworks`, `mydestination`, `relay_domains` and their like.

The value comes expanded from postconf(1). Files are read, maps are listed, each entry knows in which it stands, and
each becomes what Postfix matches with it (`postfix_members`). What Postfix can ask but no program can list (ldap, sql,
regexp ...) is a diagnostic that names it, because a table that silently held less or more than Postfix means would be
worse than none; an exclusion (`!pattern`) is taken off what stands behind it. What postconf(1) and postmap(1) warn of
are warnings of the source, but for parameters that nothing uses. ConfigError has all of these in one run, each with
its file and line; ValueError is for what keeps the parameter from being read. An empty parameter is a list without
members.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.postfix import maps, postconf
from forkpolicy.postfix.exclusions import Exclusions
from forkpolicy.postfix.folding import warnings_for
from forkpolicy.postfix.lists import is_map, split_list
from forkpolicy.postfix.maps import lines_of
from forkpolicy.postfix.members import Members
from forkpolicy.tables.kinds.domain import DomainKind
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.tables.kinds.kind import TableKind

_PARENTS: Final = "parent_domain_matches_subdomains"

# A row, behind the name of the parameter, file or map that it stands in.
Placed = tuple[str, Row]


@dataclass(slots=True)
class PostconfSource:
    """One parameter of Postfix that is a list."""

    name: str
    parameter: str
    # Of the table that it is for.
    kind: TableKind = field(default_factory=DomainKind)
    warnings: list[str] = field(default_factory=list)
    _diagnostics: list[Diagnostic] = field(default_factory=list)
    _excluded: Exclusions = field(init=False)
    _is_excluding: bool = False

    def __post_init__(self) -> None:
        """Nothing is excluded yet."""
        self._excluded = Exclusions(are_networks=self.kind.stores_ranges)

    def rows(self) -> Iterator[Row]:
        """The members of the list. Raises as `placed_rows` does."""
        return (row for _, row in self.placed_rows())

    def placed_rows(self) -> Iterator[Placed]:
        """The members of the list, each with what it stands in. Raises ValueError, ConfigError."""
        value = self._answer(postconf.value_of(self.parameter))
        with_subdomains = self.parameter in re.split(r"[\s,]+", self._answer(postconf.value_of(_PARENTS)))
        members = Members(self.parameter, self.kind, with_subdomains)
        yield from self._expand(members, value, self.name, 0, ())
        if self._diagnostics:
            raise ConfigError(self._diagnostics)
        self.warnings += members.warnings

    def _expand(self, members: Members, value: str, place: str, line: int, within: tuple[str, ...]) -> Iterator[Placed]:
        """What the words of a list mean, `within` these files; what cannot be is noted, and the next word looked at."""
        words = split_list(value)
        for at, word in enumerate(words):
            if word.startswith("#"):
                text = " ".join(words[at:])
                self._note(
                    place, line, f'"{text}" is not a comment for every Postfix: put comments on lines of their own'
                )
                return
            try:
                yield from self._member(members, word, place, line, within)
            except OSError as error:
                self._note(place, line, f"{word} cannot be read: {error.strerror or error}")
            except ValueError as error:
                self._note(place, line, str(error))

    def _member(self, members: Members, word: str, place: str, line: int, within: tuple[str, ...]) -> Iterator[Placed]:
        if word.startswith("!"):
            self._exclude(self._member(members, word[1:], place, line, within), word)
        elif word in within:
            raise ValueError(f"{word} includes itself")
        elif word.startswith("/"):
            for number, text in lines_of(word):
                yield from self._expand(members, text, word, number, (*within, word))
        elif is_map(word):
            yield from self._keys(members, word, place, line)
        else:
            yield from self._kept(place, Row(word, None, line), members.keys_of_word(word))

    def _exclude(self, placed: Iterator[Placed], word: str) -> None:
        """Take the rows of an exclusion off everything that stands behind it: the first member that matches decides."""
        if self._is_excluding:
            raise ValueError(f"{word} is an exclusion within an exclusion: write what is meant")
        self._is_excluding = True
        try:
            for _, row in placed:
                self._excluded.add(row.key)
        finally:
            self._is_excluding = False

    def _kept(self, place: str, row: Row, keys: list[str]) -> Iterator[Placed]:
        """Rows for these keys, without what was excluded in front of them."""
        for key in keys:
            for kept in self._excluded.without(key):
                yield place, row._replace(key=kept)

    def _keys(self, members: Members, word: str, place: str, line: int) -> Iterator[Placed]:
        """What a map says about a list of names or networks: its keys. Values count in parameters that are maps."""
        map_type = maps.split_map(word)[0]
        for where, row in self._entries(word, place, line):
            try:
                keys = members.keys_of_key(row.key, map_type)
                yield from self._kept(where, row if members.has_values else row._replace(value=None), keys)
            except ValueError as error:
                self._note(where, row.line, str(error))

    def _entries(self, word: str, place: str, line: int) -> Iterator[Placed]:
        """All entries of a map, each with what it stands in. Wrong lines are noted. Raises ValueError, OSError."""
        if maps.is_indexed(word):
            name = word.removeprefix("proxy:")
            listing = self._answer(postconf.entries_of(name))
            yield from ((name, row) for row in maps.rows_of_listing(listing))
            self.warnings += warnings_for(Path(maps.split_map(name)[1]))
            return
        parse = maps.parser_of(word)
        for where, number, text in maps.texts_of(word, place, line):
            try:
                key, value = parse(text)
                yield where, Row(key, value.strip() or None, number)
            except ValueError as error:
                self._note(where, number, str(error))

    def _answer(self, answer: tuple[str, list[str]]) -> str:
        """What a program of Postfix has answered; what it warned of is remembered."""
        text, said = answer
        self.warnings += [each for each in said if each not in self.warnings]
        return text

    def _note(self, place: str, line: int, mistake: str) -> None:
        self._diagnostics.append(Diagnostic(place, line, 0, mistake))


def open_source(argument: str, _base: Path) -> PostconfSource:
    """The source of a parameter's name. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", argument):
        raise ValueError("expected postconf:PARAMETER, such as postconf:mynetworks")
    return PostconfSource(f"postconf:{argument}", argument)
