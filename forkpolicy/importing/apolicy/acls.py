"""The ACLs of one policy.conf: every name with all its values, as one ACL of the draft.

Exact values out of a file become a table, in which ten thousand cost no more than one; all else stands in the ACL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.apolicy.grammar import SILENT, Acl
from forkpolicy.importing.apolicy.patterns import HOSTS, MAIL, TEXTS
from forkpolicy.importing.apolicy.refused import Refused
from forkpolicy.importing.apolicy.values import READERS, WITHOUT_VALUES, read_values
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.table_text import TableEntry
from forkpolicy.policy.nodes import Place, Word
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.kind import SourceKey

if TYPE_CHECKING:
    from forkpolicy.importing.apolicy.given_files import GivenFiles
    from forkpolicy.importing.apolicy.values import Read
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.source import SourceFile

_KIND: Final = {"client_address": "cidr", **dict.fromkeys(MAIL, "address"), **dict.fromkeys(HOSTS, "domain")}
_LDAP: Final = ("ldap", "quota_filter", "quota_attribute", "quota")
_SQL: Final = ("sql", "insert", "select", "caught", "catch", "recipient_count", "blacklist")
LDAP_HINT: Final = (
    "acl NAME rate {sasl_username} limits=table:quotas, with a table of kind key whose values are 10/3s 30/2m 40/1h"
)
SQL_HINT: Final = (
    "acl NAME rate {sasl_username} count=recipients 100/1h; a black list: action NAME remember LIST {sasl_username} 1d"
)


@dataclass
class _Declared:
    """One name: its first statement's place, and our name; empty where it could not be carried over."""

    statements: list[Acl] = field(default_factory=list)
    name: str = ""
    seen: bool = False

    @property
    def type_name(self) -> str:
        return self.statements[0].type_word.text.lower()


class Acls:
    """All of them. `declare` comes to each statement in order; what a rule may ask is what it has come to."""

    def __init__(self, statements: list[Acl], files: GivenFiles, how: str, draft: Draft) -> None:
        self._files, self._how, self._draft = files, how, draft
        # Whether an ACL has values whose case may have mattered.
        self.has_patterns = False
        self._declared: dict[str, _Declared] = {}
        for statement in statements:
            self._declared.setdefault(statement.name.text, _Declared()).statements.append(statement)

    def declare(self, statement: Acl) -> None:
        """Translate a name, with the values of all its statements, where it stands first."""
        declared = self._declared[statement.name.text]
        if declared.seen:
            return
        declared.seen = True
        declared.name = self._translated(declared)

    def is_declared(self, word: Word) -> bool:
        """Whether a statement above has declared it."""
        declared = self._declared.get(word.text)
        return declared is not None and declared.seen

    def name_of(self, word: Word) -> str:
        """Our name of an ACL that was carried over."""
        return self._declared[word.text].name

    def type_of(self, word: Word) -> str:
        """The type of an ACL."""
        return self._declared[word.text].type_name

    def why_not(self, word: Word) -> str:
        """Why a rule cannot ask it; empty where it can."""
        declared = self._declared.get(word.text)
        if declared is None:
            return f'no ACL or action is called "{word.text}"'
        where = f"{declared.statements[0].name.place.path}:{declared.statements[0].name.place.line}"
        if not declared.seen:
            return f'"{word.text}" is declared below ({where}): apolicy knew what stands above'
        return "" if declared.name else f'its ACL "{word.text}" ({where}) is left out'

    def _translated(self, declared: _Declared) -> str:
        """Our name, or an empty one after everything that is wrong with it is listed."""
        first, type_name = declared.statements[0], declared.type_name
        self.has_patterns |= type_name in (*MAIL, *HOSTS, *TEXTS)
        why = self._why_no_acl(declared)
        if why:
            for statement in declared.statements:
                self._leave_out(statement.name, statement.text, why)
            return ""
        values: list[str] = []
        whole = True
        for statement in declared.statements:
            found = self._values(statement, type_name)
            whole = whole and found is not None
            values += found or []
        if not whole:
            return ""
        unique = list(dict.fromkeys(values))
        try:
            return self._draft.acl(first.name.text, type_name, unique, _origin(first.name))
        except ValueError as error:
            self._leave_out(first.name, first.text, Refused(str(error)))
            return ""

    def _why_no_acl(self, declared: _Declared) -> Refused | None:
        types = {statement.type_word.text.lower() for statement in declared.statements}
        if len(types) > 1:
            return Refused(f"it has two types, {' and '.join(sorted(types))}: which apolicy took is not documented")
        if declared.type_name not in READERS:
            return _unknown_type(declared)
        if declared.type_name == "greylisting" and len(declared.statements) > 1:
            return Refused("greylisting with two statements: which of them apolicy took is not documented")
        return None

    def _values(self, statement: Acl, type_name: str) -> list[str] | None:
        """The values of one statement; None after what cannot be carried over is listed."""
        words = [word for word in statement.values if word.text.lower() != SILENT]
        silent = [SILENT] if len(words) < len(statement.values) else []
        if not words and type_name not in WITHOUT_VALUES:
            why = "no value, or the one value silent: both are possible" if silent else "no value"
            self._leave_out(statement.name, statement.text, Refused(why))
            return None
        values: list[str] = []
        inline = [word for word in words if not word.text.startswith("/")]
        whole = True
        if inline or not words:
            read = read_values(type_name, inline, self._how)
            whole = self._report(read, statement)
            values = [*(text for text, _ in read.exact), *read.values]
        for word in words:
            if word.text.startswith("/"):
                found = self._file(statement, type_name, word)
                whole = whole and found is not None
                values += found or []
        if whole and not values and type_name not in WITHOUT_VALUES:
            self._leave_out(statement.name, statement.text, Refused("no value"))
            return None
        return [*values, *silent] if whole else None

    def _file(self, statement: Acl, type_name: str, word: Word) -> list[str] | None:
        """The values of a file: a table of those that are exact, and the others."""
        try:
            source = self._files.values_of(word.text)
        except Refused as refused:
            self._leave_out(word, statement.text, refused)
            return None
        words, whole = self._lines(source)
        read = read_values(type_name, words, self._how)
        whole = self._report(read, statement) and whole
        if not whole:
            return None
        values = list(read.values)
        kind = _KIND.get(type_name, "")
        entries = [TableEntry(text, None, _origin(each)) for text, each in read.exact if _fits(kind, text)]
        if entries:
            table = self._draft.table(PurePosixPath(source.path).name, kind, entries, _origin(word))
            values.insert(0, f"table:{table}")
        return [*values, *(text for text, _ in read.exact if not _fits(kind, text))]

    def _lines(self, source: SourceFile) -> tuple[list[Word], bool]:
        """One value a line; whether no line has several."""
        words, whole = [], True
        for number, line in enumerate(source.lines, 1):
            text = line.strip()
            if not text or text[0] in "#;":
                continue
            word = Word(text, Place(source.path, number, line.index(text[0]) + 1, line))
            if len(text.split()) > 1:
                self._leave_out(word, text, Refused("expected one value a line: what more is, is not documented"))
                whole = False
            words.append(word)
        return words, whole

    def _report(self, read: Read, statement: Acl) -> bool:
        """List what was refused and noted; whether nothing was refused."""
        for word, refused in read.refused:
            in_file = word.place.path != statement.name.place.path
            what = word.text if in_file else f"acl {statement.name.text} {statement.type_word.text} {word.text}"
            self._leave_out(word, what, refused)
        for word, text in read.notes:
            self._draft.note(_origin(word), f"{statement.name.text}: {text}")
        return not read.refused

    def _leave_out(self, word: Word, what: str, refused: Refused) -> None:
        self._draft.leave_out(_origin(word), what, str(refused), refused.nearest)


def _origin(word: Word) -> Origin:
    return Origin(word.place.path, word.place.line)


def _unknown_type(declared: _Declared) -> Refused:
    text = " ".join(statement.text.lower() for statement in declared.statements)
    reason = f'"{declared.type_name}" is not a type of apolicy that is known'
    if any(word in text for word in _LDAP):
        return Refused(f"{reason}; quotas in LDAP have no equal", LDAP_HINT)
    if any(word in text for word in _SQL):
        return Refused(f"{reason}; counting recipients in SQL has no equal", SQL_HINT)
    return Refused(reason)


def _fits(kind: str, text: str) -> bool:
    """Whether a table of that kind takes a value as a key."""
    try:
        return kind in KINDS and bool(KINDS[kind].sort_keys(SourceKey(text, "", _ignore)))
    except ValueError:
        return False


def _ignore(_note: str) -> None:
    pass
