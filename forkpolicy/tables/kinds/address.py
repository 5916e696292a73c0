"""`address`: mail addresses and what access(5) looks up for one, in its order; `<>` is the null sender.

    user+ext@domain, user@domain, domain, .parent from the longest, user+ext@, user@

`in_access_order` is the only place that has this order: look-ups in tables ask with it, and the lists of keys that
policies use are what it would ask for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from forkpolicy.tables import names
from forkpolicy.tables.keys import NULL_SENDER, base_local_part, domain_names, fold_domain, parent_keys
from forkpolicy.tables.kinds.domain import LABEL, TOP_LABEL, refuse_blanks_within, refuse_expressions
from forkpolicy.tables.kinds.kind import Subject, TableKind
from forkpolicy.tables.kinds.lookups import asker, parent_asker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import lmdb

    from forkpolicy.tables.format import Traits
    from forkpolicy.tables.kinds.kind import Find, SourceKey, View

    T = TypeVar("T")
    Ask = Callable[[str], "T | None"]

# The forms that are looked up, `parent` apart: of those a table knows the labels, too.
FORMS: Final = frozenset({"address", "domain", "parent", "local"})
_COMMON: Final = re.compile(rf"(?:[A-Za-z0-9._+=-]+@|\.)?(?:{LABEL}\.)+{TOP_LABEL}")


def in_access_order(ask: Ask[T], ask_parents: Ask[T], forms: Collection[str], delimiter: str) -> Ask[T]:
    """A function that asks for the keys of an address, of these forms alone, until there is an answer.

    All by each name of the domain. The null sender (empty, or written `<>`) is `<>` alone; an address without a domain
    matches no domain. `ask_parents` is given a name and asks for what it is below.
    """
    has_address, has_domain = "address" in forms, "domain" in forms
    has_parent, has_local = "parent" in forms, "local" in forms

    def find(address: str) -> T | None:
        if not address or address == NULL_SENDER:
            return ask(NULL_SENDER)
        local, at, domain = address.rpartition("@")
        if not at:
            local, domain = domain, ""
        local = local.casefold()
        base = base_local_part(local, delimiter) if delimiter else local
        found = None
        for name in (fold_domain(domain),) if domain.isascii() else domain_names(domain):
            if not name:
                continue
            if has_address:
                found = ask(f"{local}@{name}")
                if found is None and base != local:
                    found = ask(f"{base}@{name}")
            # A name that begins with a dot is the pattern of what is below it.
            if found is None and (has_domain or (has_parent and name[0] == ".")):
                found = ask(name)
            if found is None and has_parent:
                found = ask_parents(name)
            if found is not None:
                return found
        if has_local:
            found = ask(f"{local}@")
            if found is None and base != local:
                found = ask(f"{base}@")
        return found

    return find


def keys_lister(forms: Collection[str], delimiter: str) -> Callable[[str], tuple[str, ...]]:
    """A function that lists the keys of a mail address, of these forms alone."""
    asked: list[str] = []
    # Nothing answers, so that all is asked for.
    ask_all: Ask[None] = in_access_order(asked.append, lambda name: asked.extend(parent_keys(name)), forms, delimiter)

    def keys_of(address: str) -> tuple[str, ...]:
        asked.clear()
        ask_all(address)
        return tuple(asked)

    return keys_of


def address_keys(address: str, delimiter: str = "") -> tuple[str, ...]:
    """All keys of a mail address."""
    return keys_lister(FORMS, delimiter)(address)


def form_of(key: bytes) -> str:
    """The form of a key: one of FORMS, or `null`."""
    if key.startswith(b"."):
        return "parent"
    if b"@" not in key:
        return "null" if key == b"<>" else "domain"
    return "local" if key.endswith(b"@") else "address"


class AddressKind(TableKind):
    """Keys are patterns of addresses, as `names.parse_address_pattern` has them."""

    has_local_parts = True
    asked_for: ClassVar[Mapping[Subject, View | None]] = {Subject.MAIL: None, Subject.TEXT: None}
    common = _COMMON

    def finder(self, cursor: lmdb.Cursor[bytes], traits: Traits, delimiter: str) -> Find:
        """The order of access(5), without the forms that this table has no entry of."""
        ask = asker(cursor)
        return in_access_order(ask, parent_asker(ask, traits), frozenset(traits.get("forms", ())), delimiter)

    def parse(self, key: SourceKey) -> str:
        """The key of a pattern. Raises ValueError."""
        refuse_expressions(key.text)
        if key.rest:
            refuse_blanks_within(key, ".@")
            if "@" in key.second:
                key.note("an address as value of an address (if these are two entries, write one a line)")
        parsed = names.parse_address_pattern(names.unquoted(key.text))
        if "@" not in parsed and "." not in parsed.lstrip(".") and parsed != NULL_SENDER:
            key.note('a name without a dot is a domain here (a local part in every domain is written "name@")')
        elif "@" not in parsed and names.NUMERIC_TOP.search(parsed):
            key.note("an address of a machine, and mail has none for its domain (those go into a table of kind cidr)")
        return parsed

    def forms(self, keys: Iterable[bytes]) -> set[str]:
        """Of each key its form."""
        return {form_of(key) for key in keys}

    def question_about(self, host: str) -> str:
        """A mail address of that name."""
        return f"@{host}"
