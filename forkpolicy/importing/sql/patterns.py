"""Patterns of SQL's LIKE, whole addresses and domains as values and tables of ours. Pure but for RE2.

Tables of kind `key` and `domain` are exact whatever `recipient_delimiter` is: the other servers know no extensions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.expressions import literal_value, regex_value
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin

_LIKE: Final = re.compile(r"\\(.)|(%)|(_)|(.)", re.DOTALL)
NAME: Final = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)


def like_value(pattern: str) -> str:
    """The expression for a pattern of LIKE. Raises ValueError."""
    if not pattern.isascii():
        raise ValueError("a pattern that is not ASCII")
    pieces = []
    for found in _LIKE.finditer(pattern):
        escaped, many, one, char = found.groups()
        pieces.append(".*" if many else "." if one else literal_value(escaped or char, whole=False)[1:-1])
    text = "".join(pieces)
    text = text[2:] if text.startswith(".*") else f"^{text}"
    text = text[:-2] if text.endswith(".*") and len(text) > 2 else f"{text}$"
    return regex_value(text)


def is_plain(pattern: str) -> bool:
    """Whether LIKE compares the text itself."""
    return not re.search(r"[%_\\]", pattern)


@dataclass
class Texts:
    """What one attribute is compared with: exact texts, domains with all below or not, expressions."""

    attribute: str
    exact: list[TableEntry] = field(default_factory=list)
    domains: list[TableEntry] = field(default_factory=list)
    expressions: list[str] = field(default_factory=list)
    has_null: bool = False

    def add_mail(self, text: str, origin: Origin, value: str | None = None) -> None:
        """An address, `@domain` or `<>`. Raises ValueError."""
        local, at, domain = text.rpartition("@")
        if text == "<>":
            self.has_null = True
        elif at and not local and NAME.fullmatch(domain):
            self.domains.append(TableEntry(domain.lower(), value, origin))
        elif at and local and text.isascii() and text.isprintable() and '"' not in text:
            self.exact.append(TableEntry(text.lower(), value, origin))
        else:
            raise ValueError("neither an address nor @domain: no mail has it")

    def add_name(self, pattern: str, origin: Origin) -> None:
        """A pattern of LIKE for names of hosts. Raises ValueError."""
        if is_plain(pattern):
            self.exact.append(TableEntry(pattern.lower(), None, origin))
        elif pattern.startswith("%.") and NAME.fullmatch(pattern[2:]) and is_plain(pattern[2:]):
            self.domains.append(TableEntry(pattern[1:].lower(), None, origin))
        else:
            self.expressions.append(like_value(pattern))

    def acls(self, draft: Draft, name: str, origin: Origin) -> list[str]:
        """ACLs that hold where one of them is found, declared in the draft."""
        found = []
        if self.exact:
            table = draft.table(name, "key", unique(self.exact), origin)
            found.append(draft.acl(name, self.attribute, [f"table:{table}"]))
        if self.domains:
            table = draft.table(f"{name}_domains", "domain", unique(self.domains), origin)
            found.append(draft.acl(f"{name}_domain", self.attribute, [f"table:{table}"]))
        if self.expressions:
            found.append(draft.acl(f"{name}_like", self.attribute, list(dict.fromkeys(self.expressions))))
        if self.has_null:
            found.append(draft.acl("null_sender", "null_sender", []))
        return found


def unique(entries: list[TableEntry]) -> list[TableEntry]:
    """The first of each key: tables refuse two values for one."""
    return list({entry.key: entry for entry in reversed(entries)}.values())[::-1]
