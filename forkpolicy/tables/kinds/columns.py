"""The columns of a table of several: which patterns each may have, and in which order a value is looked up among them.

A pattern is what a table of the column's kind has as its key; `*` is any value, which is asked last. `form` says what
sort of pattern one is, so that a look-up asks for no sort that a column lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, ClassVar, Final

from forkpolicy.tables import names
from forkpolicy.tables.keys import domain_names, ip_key, network_text, prefix_length
from forkpolicy.tables.kinds.address import AddressKind, form_of, in_access_order
from forkpolicy.tables.kinds.cidr import CidrKind, networks_of
from forkpolicy.tables.kinds.domain import DomainKind
from forkpolicy.tables.kinds.key import KeyKind
from forkpolicy.tables.kinds.lookups import parent_asker

if TYPE_CHECKING:
    import re

    from forkpolicy.tables.kinds.kind import SourceKey, TableKind

Ask = Callable[[str], "bytes | None"]

# Any value: as people write it and as a form, and in a key, where no value of a request can ask for it.
ANY: Final = "*"
ANY_KEY: Final = ""


class Column:
    """What one kind of column gives its table. Subclasses say it for patterns; `*` is the table's own."""

    kind: ClassVar[TableKind]

    @property
    def common(self) -> re.Pattern[str] | None:
        """The common form of a word, of which lower case makes the pattern; None: there is none."""
        return self.kind.common

    def patterns(self, key: SourceKey) -> list[str]:
        """The folded pattern of a word of a source; several for a range of addresses. Raises ValueError."""
        return [self.kind.parse(key)]

    def form(self, pattern: bytes) -> str:
        """What sort of pattern one is."""
        raise NotImplementedError

    def in_order(self, ask: Ask, forms: Collection[str], delimiter: str) -> Ask:
        """A function that asks for the patterns of a value, the most specific first, until there is an answer. Asks for
        no form but `forms`.
        """
        raise NotImplementedError


class TextColumn(Column):
    """Texts, case folded."""

    kind = KeyKind()

    def form(self, _pattern: bytes) -> str:
        """The only one."""
        return "text"

    def in_order(self, ask: Ask, _forms: Collection[str], _delimiter: str) -> Ask:
        """The folded text. Nothing is not a text: that is for `*` alone."""
        return lambda text: ask(text.casefold()) if text else None


class HostColumn(Column):
    """Names of hosts and domains."""

    kind = DomainKind()

    def form(self, pattern: bytes) -> str:
        """A name, or names below one of so many labels."""
        return f".{pattern.count(b'.')}" if pattern.startswith(b".") else "name"

    def in_order(self, ask: Ask, forms: Collection[str], _delimiter: str) -> Ask:
        """The name itself, then `.parent` from the longest."""
        has_names, ask_parents = "name" in forms, _parents(ask, forms)

        def find(text: str) -> bytes | None:
            for name in domain_names(text):
                if not name:
                    continue
                # A name that begins with a dot is the pattern of what is below it.
                found = ask(name) if has_names or name[0] == "." else None
                if found is None:
                    found = ask_parents(name)
                if found is not None:
                    return found
            return None

        return find


class AddressColumn(Column):
    """Mail addresses, in the order of access(5)."""

    kind = AddressKind()

    def patterns(self, key: SourceKey) -> list[str]:
        """As in a table of addresses, where the address of a machine is worth a warning."""
        parsed = self.kind.parse(key)
        if "@" not in parsed and names.NUMERIC_TOP.search(parsed):
            raise ValueError(f"{key.text} is an address of a machine, and mail has none for its domain")
        if parsed.startswith("*@"):
            raise ValueError(f'every address of a domain is the domain: did you mean "{parsed[2:] or ANY}"?')
        return [parsed]

    def form(self, pattern: bytes) -> str:
        """As `form_of`, with the number of labels where it is a parent."""
        form = form_of(pattern)
        return f".{pattern.count(b'.')}" if form == "parent" else form

    def in_order(self, ask: Ask, forms: Collection[str], delimiter: str) -> Ask:
        """The order of access(5)."""
        known = {"parent" if form.startswith(".") else form for form in forms}
        return in_access_order(ask, _parents(ask, forms), known, delimiter)


class NetworkColumn(Column):
    """Networks by their lengths, the longest first. The first one of a table is looked up as a range instead."""

    kind = CidrKind()
    common = None

    def patterns(self, key: SourceKey) -> list[str]:
        """The networks as people write them."""
        return [network_text(first, prefix_length(first, last)) for first, last in networks_of(key)]

    def form(self, pattern: bytes) -> str:
        """Family and prefix length."""
        address, slash, length = pattern.partition(b"/")
        family = "6" if b":" in address else "4"
        return f"{family}/{length.decode('ascii') if slash else {'4': 32, '6': 128}[family]}"

    def in_order(self, ask: Ask, forms: Collection[str], _delimiter: str) -> Ask:
        """The networks around an address, with the lengths that there are."""
        lengths = {
            family: sorted((int(form[2:]) for form in forms if form.startswith(f"{family}/")), reverse=True)
            for family in "46"
        }

        def find(text: str) -> bytes | None:
            address = ip_key(text)
            if address is None:
                return None
            asked = (ask(network_text(address, length)) for length in lengths[chr(address[0])])
            return next((found for found in asked if found is not None), None)

        return find


def _parents(ask: Ask, forms: Collection[str]) -> Ask:
    labels = [int(form[1:]) for form in forms if form.startswith(".")]
    return parent_asker(ask, {"wildcard_labels": labels})


COLUMNS: Final[dict[str, Column]] = {
    "network": NetworkColumn(),
    "address": AddressColumn(),
    "host": HostColumn(),
    "text": TextColumn(),
}
