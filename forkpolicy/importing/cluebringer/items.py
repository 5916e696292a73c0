"""Sources and destinations of policy members as conditions: networks, logins, addresses, names, groups, `!`.

Raises CannotError, with the reason, for what never matched there or has no equal here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.cluebringer.logic import ALWAYS, NEVER, Condition, both, either, negated, term
from forkpolicy.importing.expressions import literal_value, regex_value
from forkpolicy.importing.sql.patterns import NAME, unique
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.sql.dump import Row

_NETWORK: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,3}(?:/\d{1,2})?|[0-9a-fA-F]*:[0-9a-fA-F:.]*(?:/\d{1,3})?")
_PEER: Final = re.compile(r"\[.*\]")
_REVERSE: Final = re.compile(r"\.?(?:[a-z0-9_*-]+\.)+[a-z0-9]+", re.IGNORECASE)
_ANY: Final = ("", "any")
# More values than this are a table.
_INLINE: Final = 12
_DEEPEST: Final = 6
_WIDE: Final = {4: 8, 6: 16}


class CannotError(Exception):
    """A member that is left out, and why."""


@dataclass
class _Values:
    """Values of one attribute: an ACL holds where one of them is met."""

    words: list[str] = field(default_factory=list)
    entries: list[TableEntry] = field(default_factory=list)


class Items:
    """The groups of one database, and ACLs for items. `attribute`: of the addresses, sender or recipient."""

    def __init__(self, draft: Draft, groups: list[Row], members: list[Row]) -> None:
        self._draft = draft
        names = {row.get("id"): row.get("name") for row in groups if row.get("disabled") != "1"}
        self._groups: dict[str, list[Row]] = {name: [] for name in names.values()}
        for row in members:
            if row.get("disabled") != "1" and row.get("policygroupid") in names:
                self._groups[names[row.get("policygroupid")]].append(row)
        self._made: dict[tuple[str, str], Condition] = {}

    def condition(self, text: str, attribute: str, origin: Origin) -> Condition:
        """Where all items of a source or destination match. Raises CannotError and TooManyError."""
        if text.lower() in _ANY:
            return ALWAYS
        used: set[str] = set()
        return both(*(self._item(each, attribute, origin, used) for each in text.split(",")))

    def _item(self, raw: str, attribute: str, origin: Origin, used: set[str]) -> Condition:
        text = raw.strip()
        positive = text.removeprefix("!")
        if positive.startswith("%"):
            found = self._group(positive[1:], attribute, used)
        else:
            found = self._plain({"": [(positive, origin)]}, "", attribute)
        return negated(found) if text.startswith("!") else found

    def _group(self, name: str, attribute: str, used: set[str]) -> Condition:
        if name in used:
            raise CannotError(
                f"the group {name} is used twice, which the server takes for a loop: the member never matched"
            )
        if len(used) >= _DEEPEST:
            raise CannotError("groups in groups, deeper than the server goes: the member never matched")
        used.add(name)
        if (name, attribute) in self._made:
            return self._made[name, attribute]
        plain: list[tuple[str, Origin]] = []
        others: list[Condition] = []
        for row in self._groups.get(name, []):
            member = row.get("member")
            if member[:1] in ("!", "%"):
                others.append(self._item(member, attribute, row.origin, used))
            else:
                plain.append((member, row.origin))
        found = self._one(either(self._plain({name: plain}, name, attribute), *others), name)
        self._made[name, attribute] = found
        return found

    def _one(self, found: Condition, name: str) -> Condition:
        """Alternatives of one term each as one ACL: a rule for each would multiply with other groups."""
        if len(found) > 1 and all(len(terms) == 1 for terms in found):
            return term(self._draft.acl(f"in_{name}", "any", sorted(name for terms in found for name in terms)))
        return found

    def _plain(self, named: dict[str, list[tuple[str, Origin]]], name: str, attribute: str) -> Condition:
        """Items that are no groups: one ACL for each attribute that they compare."""
        values: dict[str, _Values] = {}
        terms: list[Condition] = []
        for text, origin in named[name]:
            is_source = attribute == "sender"
            if is_source and (made := self._of_sources(text, origin, values)) is not None:
                terms.append(made)
            elif not is_source or "@" in text:
                self._address(text, origin, attribute, values)
            elif is_source:
                self._draft.leave_out(
                    origin, text, "the server warns that it is not a valid specification: it never matches"
                )
        return either(*terms, *(term(self._acl(name, each, found)) for each, found in values.items() if found.words))

    def _of_sources(self, text: str, origin: Origin, values: dict[str, _Values]) -> Condition | None:
        """What only a source may be: a condition of its own, NEVER where it went to the values, None for an address."""
        if _PEER.fullmatch(text):
            raise CannotError(f"{text} is the host that runs Postfix: an instance of forkpolicy serves one")
        if _NETWORK.fullmatch(text):
            self._network(text, origin, values.setdefault("client_address", _Values()))
            return NEVER
        if text == "@":
            return term(self._draft.acl("null_sender", "null_sender", []))
        if text == "$-":
            return term(f"!{self._signed_in()}")
        if text == "$*":
            return term(self._signed_in())
        if text.startswith("$") and len(text) > 1:
            self._text(text[1:], origin, values.setdefault("sasl_username", _Values()))
            return NEVER
        if "@" not in text and _REVERSE.fullmatch(text):
            self._reverse(text, values.setdefault("reverse_client_name", _Values()))
            return NEVER
        return None

    def _signed_in(self) -> str:
        return self._draft.acl("signed_in", "sasl_username", ["/./"])

    def _network(self, text: str, origin: Origin, values: _Values) -> None:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise CannotError(f"{text} is not an address or a network with its length") from None
        if network.prefixlen < _WIDE[network.version]:
            values.words.append(str(network))
        else:
            values.entries.append(TableEntry(str(network), None, origin))
            values.words.append(str(network))

    def _text(self, text: str, origin: Origin, values: _Values) -> None:
        """A login, with `*` for anything."""
        if "*" in text or not re.fullmatch(r"[A-Za-z0-9_.@+=-]+", text):
            values.words.append(_with_stars(text))
        else:
            values.words.append(text)
            values.entries.append(TableEntry(text.lower(), None, origin))

    def _reverse(self, text: str, values: _Values) -> None:
        """A name of the client; `.name` is everything that ends so."""
        if "*" in text:
            # A dot in front: anything may stand before it.
            values.words.append(_with_stars(f"*{text}" if text.startswith(".") else text, "[a-z0-9._-]*"))
        else:
            values.words.append(text.lower())

    def _address(self, text: str, origin: Origin, attribute: str, values: dict[str, _Values]) -> None:
        local, at, domain = text.rpartition("@")
        if not at or not domain or any(char.isspace() for char in text):
            self._draft.leave_out(
                origin, text, "the server warns that it is not a valid specification: it never matches"
            )
            return
        found = values.setdefault(attribute, _Values())
        if "*" in text or not NAME.fullmatch(domain):
            found.words.append(_with_stars(f"{local or '*'}@{domain}"))
        elif local:
            found.entries.append(TableEntry(text.lower(), None, origin))
            # In an ACL an address is also one with an extension; in a key table it is itself.
            found.words.append("")
        else:
            found.words.append(f"@{domain.lower()}")

    def _acl(self, name: str, attribute: str, found: _Values) -> str:
        words = list(dict.fromkeys(found.words))
        wished = f"{name or 'only'}_{attribute}"
        entries = unique(found.entries)
        if "" in words or len(words) > _INLINE:
            keys = {entry.key for entry in entries}
            words = [word for word in words if word and word.lower() not in keys]
            kind = "cidr" if attribute == "client_address" else "key"
            if entries:
                table = self._draft.table(wished, kind, entries, entries[0].origin or self._none())
                words.insert(0, f"table:{table}")
        return self._draft.acl(wished, attribute, words)

    @staticmethod
    def _none() -> Origin:
        raise AssertionError("every entry has its place")


def _with_stars(text: str, star: str = r"\S*") -> str:
    """The whole text as an expression, `*` for anything."""
    pieces = [literal_value(piece, whole=False)[1:-1] if piece else "" for piece in text.split("*")]
    return regex_value(f"^{star.join(pieces)}$")
