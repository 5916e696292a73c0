"""A policy of ours while an importer writes it: statements in order, each behind the place that it comes from.

ACLs, actions and tables are declared when they are wanted and written when the first rule uses them, in front of it:
a rule that is given up half way leaves nothing behind. Equal ACLs and equal actions are written once. A name that the
other server allowed and we do not is made valid and unique.

Raises ValueError, with the reason, for what cannot stand in a policy: a reply that access(5) does not know, a value
that is no word, or that its type does not take. What values refer to (tables, other ACLs) is for the loader to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.importing.left_out import LeftOut, Note, Origin
from forkpolicy.importing.names import Names
from forkpolicy.importing.own_values import refuse_values
from forkpolicy.importing.table_text import TableLine, table_text
from forkpolicy.policy.results import example
from forkpolicy.policy.template import parse_template
from forkpolicy.protocol.reply import parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Statements are wrapped behind this column, as people would.
_COLUMNS = 110
_TABLE = re.compile(r"table:([A-Za-z0-9_.-]+)")
# Actions that are no replies: the next rule is tried.
_GOES_ON = ("log", "score", "remember", "forget")
# ACLs that count by their name: two rules that count the same count it apart.
_COUNTS = ("rate", "distinct")
_BRACES = str.maketrans({"{": "{{", "}": "}}"})


class _Acl(NamedTuple):
    type_name: str
    values: tuple[str, ...]


@dataclass
class Draft:
    """`header`: comments above everything. `files`: what --out writes beside policy and tables, by name."""

    header: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin empty. ACLs and actions share their names; `default` is the action where no rule fires."""
        self._names = Names({"default", "silent"})
        self._table_names = Names(set())
        self._statements: list[str] = []
        self._acls: dict[_Acl, str] = {}
        self._actions: dict[str, str] = {}
        self._declared: dict[str, list[str]] = {}
        self._texts: dict[str, str] = {}
        # Where each rule comes from, in order.
        self.origins: list[Origin] = []
        self._entries = 0

    @property
    def rules(self) -> int:
        """How many rules there are."""
        return len(self.origins)

    @property
    def entries(self) -> int:
        """How many entries the tables have that are written."""
        return self._entries

    def comment(self, text: str) -> None:
        """A comment of the source, at this place."""
        self._statements += [f"# {line}".rstrip() for line in text.splitlines()] or ["#"]

    def table(self, name: str, kind: str, lines: Iterable[TableLine], origin: Origin) -> str:
        """A table whose entries are written with the policy; its name. An entry that the kind does not take is left
        out, with the reason.
        """
        name = self._table_names.unique(name)
        text, entries, left_out = table_text(kind, lines)
        self.left_out += left_out
        self._texts[name] = text
        self._entries += entries
        self._declared[f"table {name}"] = [f"# {origin}", f"table {name} {kind} tables/{name}"]
        return name

    def table_from(self, name: str, kind: str, sources: Sequence[str], origin: Origin) -> str:
        """A table with sources of its own (`postconf:mynetworks`, a path); its name."""
        name = self._table_names.unique(name)
        self._declared[f"table {name}"] = [f"# {origin}", *_wrapped(["table", name, kind, *sources])]
        return name

    def acl(self, name: str, type_name: str, values: Sequence[str], _origin: Origin | None = None) -> str:
        """An ACL; its name. The values are words of the policy. Raises ValueError."""
        for value in (type_name, *values):
            _refuse_no_word(value)
        acl = _Acl(type_name, tuple(values))
        if acl not in self._acls or type_name in _COUNTS:
            refuse_values(type_name, values)
            unique = self._names.unique(name)
            self._acls[acl] = unique
            self._declared[f"acl {unique}"] = _wrapped(["acl", unique, type_name, *values])
        return self._acls[acl]

    def action(self, name: str, reply: str, *, is_template: bool = False) -> str:
        """An action; its name. Names in braces stand only in a template. Raises ValueError."""
        text = " ".join(reply.split())
        text = text if is_template else text.translate(_BRACES)
        if text not in self._actions:
            _check_reply(text)
            unique = self._names.unique(name)
            self._actions[text] = unique
            self._declared[f"action {unique}"] = [f"action {unique} {text}"]
        return self._actions[text]

    def default(self, reply: str) -> None:
        """What is replied where no rule fires. Raises ValueError."""
        text = " ".join(reply.split()).translate(_BRACES)
        _check_reply(text)
        self._statements.append(f"action default {text}")

    def access(self, terms: Sequence[str], action: str | None, origin: Origin) -> None:
        """A rule: names of ACLs, with `!` in front where they must not hold, and of its action."""
        declared: list[str] = []
        for term in terms:
            self._declare(f"acl {term.removeprefix('!')}", declared)
        if action:
            self._declare(f"action {action}", declared)
        words = ["access", *terms, *([action] if action else [])]
        place = f"# {origin}"
        # What comes from the same place does not say so again.
        declared = [line for line in declared if line != place]
        self._statements += [place, *declared, *_wrapped(words)]
        self.origins.append(origin)

    def leave_out(self, origin: Origin, what: str, reason: str, nearest: str = "") -> None:
        """Something that the policy will not have."""
        self.left_out.append(LeftOut(origin, what, reason, nearest))

    def note(self, origin: Origin, text: str) -> None:
        """Something to know about what the policy has."""
        self.notes.append(Note(origin, text))

    def policy_text(self) -> str:
        """The whole policy."""
        header = [f"# {line}".rstrip() for line in self.header]
        return "\n".join([*header, *([""] if header else []), *self._statements, ""])

    def table_texts(self) -> dict[str, str]:
        """The text of each table that a rule asks, by the table's name."""
        return {name: text for name, text in self._texts.items() if f"table {name}" not in self._declared}

    def _declare(self, statement: str, declared: list[str]) -> None:
        """Write a declaration that is not written yet, behind those that it needs."""
        lines = self._declared.pop(statement, None)
        if lines is None:
            return
        for line in lines:
            if line.startswith("action "):
                continue
            for table in _TABLE.findall(line):
                self._declare(f"table {table}", declared)
        words = " ".join(lines).split()
        if words[:1] == ["acl"] and words[2] == "any":
            for term in words[3:]:
                self._declare(f"acl {term.removeprefix('!')}", declared)
        declared += lines


def _check_reply(text: str) -> None:
    """Raises ValueError for a reply that the loader would refuse."""
    if any(word in ("#", ";") for word in text.split()):
        raise ValueError('a "#" or ";" alone begins no comment in an action and cannot be part of its text')
    template = parse_template(text)
    if template.whole_of or text.partition(" ")[0].lower() in _GOES_ON:
        return
    parse_reply(example(template))


def _refuse_no_word(value: str) -> None:
    if not value or value[0] in "#;" or value.split() != [value] or not value.isprintable():
        raise ValueError(f"{value!r} cannot be a word of a policy")


def _wrapped(words: Sequence[str]) -> list[str]:
    """A statement, continued below where it is long."""
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) >= _COLUMNS and line.strip():
            lines.append(line)
            line = "   "
        line += f" {word}"
    return [*lines, line]
