"""`ldap:FILE`: values of an attribute in a directory, each an entry; FILE says what is asked (compile/ldap_file.py).

A table of several columns takes as many attributes, and each combination of their values. Entries without the attribute
are left out, and one warning counts them; the same for references to other servers, which are not followed. An answer
that is not all there is, as that of a server with a limit, is an error and never a short list: ldap3's own search in
pages ends quietly there (findings/ldap3-pages-end-quietly-at-a-limit.sh), so the pages are asked for here.
ValueError and ConfigError say what is wrong.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.ldap_file import LdapFile, read_ldap_file
from forkpolicy.ldap_connection import SUCCESS, Place, ask, library, opened, refusal, signed_in
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.ldap_connection import Connection, Found

# As long as a list may take that is fetched by HTTPS: other compiles wait.
TOTAL_S: Final = 120.0
# Of one page, or of all where a server knows no pages: it is read into memory.
MAX_ANSWER_BYTES: Final = 64 << 20
_PAGES: Final = "1.2.840.113556.1.4.319"  # the control of RFC 2696
_SCOPES: Final = {"subtree": "SUBTREE", "one": "LEVEL", "base": "BASE"}


@dataclass(slots=True)
class LdapSource:
    """The search of one file."""

    name: str
    path: Path
    key_columns: int = 1
    warnings: list[str] = field(default_factory=list)

    def with_columns(self, count: int) -> LdapSource:
        """The same for a table of so many columns."""
        return replace(self, key_columns=count)

    def check(self) -> None:
        """Raises ConfigError or ValueError for what can be known without asking the server."""
        search = self._read()
        if search.password_file:
            search.password()

    def rows(self) -> Iterator[Row]:
        """Key and value of each entry. Raises ConfigError, ValueError."""
        search = self._read()
        counts = {"without": 0, "references": 0}
        with _connected(search) as connection:
            for found in _found(connection, search):
                if found["type"] == "searchResRef":
                    counts["references"] += 1
                    continue
                rows = list(_rows_of(found, search))
                counts["without"] += not rows
                yield from rows
        if counts["without"]:
            self.warnings.append(f"entries without {search.attribute} are left out ({counts['without']})")
        if counts["references"]:
            self.warnings.append(f"references to other servers are not followed ({counts['references']})")

    def _read(self) -> LdapFile:
        library()
        search = read_ldap_file(self.path)
        if len(search.attributes) != self.key_columns:
            many = "one attribute" if self.key_columns == 1 else f"{self.key_columns} attributes, one for each column"
            raise ValueError(f'its file has attribute = "{search.attribute}": expected {many}')
        return search


@contextmanager
def _connected(search: LdapFile) -> Iterator[Connection]:
    """A connection that may search. Raises ValueError."""
    password = search.password() if search.bind_name else ""
    place = Place(search.url, search.start_tls, search.ca_file, search.timeout, TOTAL_S, MAX_ANSWER_BYTES)
    with opened(place) as connection:
        if not signed_in(connection, search.bind_name, password):
            raise ValueError(refusal("sign in", connection.result))
        yield connection


def _found(connection: Connection, search: LdapFile) -> Iterator[Found]:
    """All entries and references, page by page. Raises ValueError."""
    count = 0
    cookie: bytes | None = None
    wanted = sorted({*search.attributes, *filter(None, [search.value])})
    while cookie is None or cookie:
        connection.socket.begin_answer()
        question = partial(
            connection.search,
            search.base,
            search.filter,
            getattr(library(), _SCOPES[search.scope]),
            attributes=wanted,
            paged_size=search.page_size,
            paged_cookie=cookie,
        )
        ask(question)
        result = connection.result
        if result["result"] != SUCCESS:
            raise ValueError(refusal(f"give more than {count} entries" if count else "search", result))
        if result["type"] != "searchResDone":
            raise ValueError(f"the directory ends its answer with {result['type']}, so that it may not be complete")
        yield from connection.response
        count += len(connection.response)
        cookie = result.get("controls", {}).get(_PAGES, {}).get("value", {}).get("cookie", b"")


def _rows_of(found: Found, search: LdapFile) -> Iterator[Row]:
    """What one entry of the directory gives. Raises ValueError."""
    dn = found["dn"]
    _refuse_another_name(found, search)
    columns = [_values(found, name) for name in search.attributes]
    if search.prefix:
        begin, length = search.prefix.lower(), len(search.prefix)
        columns[-1] = [value[length:].strip() for value in columns[-1] if value.lower().startswith(begin)]
    values = _values(found, search.value) if search.value else []
    if len(values) > 1:
        raise ValueError(f"{dn}: {search.value} has {len(values)} values: expected one, which all its keys have")
    for key in product(*columns):
        yield Row(COLUMN_SEPARATOR.join(key), values[0] if values else None, 0, dn)


def _values(found: Found, name: str) -> list[str]:
    """The values of an attribute, those with an option (`mail;lang-de`) too. Raises ValueError."""
    raw = found["raw_attributes"].items()
    of_name = [each for key, each in raw if key.partition(";")[0].lower() == name.lower()]
    return [text for values in of_name for value in values if (text := _text(value, found["dn"], name))]


def _refuse_another_name(found: Found, search: LdapFile) -> None:
    """Asked by another name of an attribute, a server answers by its own; what was asked for would seem to be missing.
    Raises ValueError.
    """
    asked = {name.lower() for name in (*search.attributes, search.value)}
    for key in found["raw_attributes"]:
        name = key.partition(";")[0]
        if name.lower() not in asked:
            raise ValueError(f"{found['dn']}: the server calls an attribute {name}: write that name in the file")


def _text(value: bytes, dn: str, name: str) -> str:
    try:
        return value.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{dn}: {name} has bytes that are not UTF-8, {value[:40]!r}: expected text; "
            "name another attribute, or leave that entry out by the filter"
        ) from error


def open_source(argument: str, base: Path) -> LdapSource:
    """The source of a file. Raises ValueError."""
    if not argument:
        raise ValueError("expected ldap:FILE")
    return LdapSource(f"ldap:{base / argument}", base / argument)
