"""`domain`: names of hosts and domains, `.name` for everything below one; the most specific wins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

import lmdb

from forkpolicy.tables import keys, names
from forkpolicy.tables.kinds.kind import Subject, TableKind
from forkpolicy.tables.kinds.lookups import asker, first_of, parent_asker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.tables.format import Traits
    from forkpolicy.tables.kinds.kind import Find, SourceKey, View

LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
TOP_LABEL: Final = r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_COMMON: Final = re.compile(rf"\.?(?:{LABEL}\.)+{TOP_LABEL}")
_REST: Final = re.compile(rf"@?\.?(?:{LABEL}\.)*{LABEL}").fullmatch


def domain_of_address(address: str) -> str:
    """The domain of a mail address, empty when it has none."""
    return address.rpartition("@")[2] if "@" in address else ""


def domain_of_text(text: str) -> str:
    """The domain of a login or other text that may be an address; all of it when it is none."""
    return keys.split_address(text)[1] if "@" in text else text


class DomainKind(TableKind):
    """Keys are names as `keys.fold_domain` has them."""

    has_domains_alone = True
    asked_for: ClassVar[Mapping[Subject, View | None]] = {
        Subject.HOST: None,
        Subject.MAIL: domain_of_address,
        Subject.TEXT: domain_of_text,
    }
    common = _COMMON

    def finder(self, cursor: lmdb.Cursor[bytes], traits: Traits, _delimiter: str) -> Find:
        """The name itself, then `.parent` from the longest."""
        set_key, value, fold_domain, ask = cursor.set_key, cursor.value, keys.fold_domain, asker(cursor)
        find_international = first_of(ask, keys.domain_keys)
        ask_parents = parent_asker(ask, traits) if traits.get("wildcard_labels") else None

        def find(text: str) -> bytes | None:
            if not text:
                return None
            if not text.isascii():
                return find_international(text)
            name = text.lower() if text[-1:] != "." else fold_domain(text)
            key = name.encode()
            try:
                if set_key(key):
                    return value() + key
            except lmdb.BadValsizeError:
                # Longer than any key can be, or only a dot: a hostile request, of whose parents there may be an entry.
                pass
            return ask_parents(name) if ask_parents else None

        return find

    def parse(self, key: SourceKey) -> str:
        """The key of a name. Raises ValueError."""
        refuse_expressions(key.text)
        if names.NUMERIC_TOP.search(key.text) or keys.ip_key(key.text.partition("/")[0]):
            raise ValueError(f"{key.text} is an address or a network: those go into a table of kind cidr")
        parsed = names.parse_host_pattern(key.text)
        if key.rest:
            _refuse_rest(key, parsed)
        if "." not in parsed:
            key.note("a name without a dot")
        return parsed

    def question_about(self, host: str) -> str:
        """The name itself."""
        return host


def _refuse_rest(key: SourceKey, parsed: str) -> None:
    """Raises ValueError where what stands behind a name is the rest of it, or another one."""
    refuse_blanks_within(key, ".")
    if _COMMON.fullmatch(key.second) and key.second.lower().rstrip(".") != parsed:
        raise ValueError(
            f"two entries on one line ({key.text} and {key.second}): "
            "write one a line; a value that is a name goes in quotes"
        )


def refuse_expressions(text: str) -> None:
    """Raises ValueError for a key between slashes."""
    if text.startswith("/"):
        raise ValueError("a table cannot hold regular expressions: write them into an acl of the policy")


def refuse_blanks_within(key: SourceKey, marks: str) -> None:
    """Raises ValueError for a value that begins as the rest of a name or an address does: `example .com`."""
    if key.second.startswith(tuple(marks)) and _REST(key.second):
        raise ValueError(
            f"blanks within an entry ({key.text} and {key.second}): did you mean {key.text}{key.second}? "
            "A value that begins so goes in quotes"
        )
