"""`ldap:FILE`: values of an attribute in a directory, each an entry; FILE says what is asked (compile/ldap_file.py).

A table of several columns takes as many attributes, and each combination of their values. Entries without the attribute
are left out, and one warning counts them; the same for references to other servers, which are not followed. An answer
that is not all there is, as that of a server with a limit, is an error and never a short list: ldap3's own search in
pages ends quietly there (findings/ldap3-pages-end-quietly-at-a-limit.sh), so the pages are asked for here.

ldap3 (`pip install 'forkpolicy[ldap]'`) is pure Python; python-ldap would need a compiler and OpenLDAP's headers. This
is the only file that imports it, when a table needs it. ValueError and ConfigError say what is wrong.
"""

from __future__ import annotations

import importlib.util
import ssl
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final, Protocol, TypedDict

from forkpolicy.compile.bounded_socket import BoundedSocket
from forkpolicy.compile.ldap_file import LdapFile, read_ldap_file
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

# As long as a list may take that is fetched by HTTPS: other compiles wait.
TOTAL_S: Final = 120.0
# Of one page, or of all where a server knows no pages: it is read into memory.
MAX_ANSWER_BYTES: Final = 64 << 20
_PAGES: Final = "1.2.840.113556.1.4.319"  # the control of RFC 2696
_SCOPES: Final = {"subtree": "SUBTREE", "one": "LEVEL", "base": "BASE"}
# RFC 4511, 4.1.9
_SUCCESS: Final = 0
_MEANT: Final = {
    3: "the server takes no more time for it: raise its time limit for bind_name",
    4: "the server gives no more entries: raise its size limit for bind_name; asking in pages does not get around it",
    10: "it is on another server, and references are not followed: ask that one",
    32: "there is no such base, or bind_name may not see it",
    49: "bind_name or its password is wrong",
    50: "bind_name may not search there",
}


class _Result(TypedDict):
    """What the server says of the last thing that was asked of it."""

    result: int
    type: str
    description: str
    message: str
    controls: dict[str, dict[str, dict[str, bytes]]]


class _Found(TypedDict):
    """An entry of the directory, or a reference to another server."""

    type: str
    dn: str
    raw_attributes: dict[str, list[bytes]]


class _Connection(Protocol):
    """What is used of ldap3's connection, which a type checker may not know."""

    result: _Result
    response: list[_Found]
    socket: BoundedSocket

    def search(
        self, base: str, filter_: str, scope: str, *, attributes: list[str], paged_size: int, paged_cookie: bytes | None
    ) -> bool:
        """Ask for a page."""
        ...


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
        ldap3 = _import_ldap3()
        counts = {"without": 0, "references": 0}
        try:
            with _connected(ldap3, search) as connection:
                for found in _found(connection, search, ldap3):
                    if found["type"] == "searchResRef":
                        counts["references"] += 1
                        continue
                    rows = list(_rows_of(found, search))
                    counts["without"] += not rows
                    yield from rows
        except ldap3.core.exceptions.LDAPException as error:
            raise ValueError(f"the directory cannot be asked: {_in_words(error)}") from error
        if counts["without"]:
            self.warnings.append(f"entries without {search.attribute} are left out ({counts['without']})")
        if counts["references"]:
            self.warnings.append(f"references to other servers are not followed ({counts['references']})")

    def _read(self) -> LdapFile:
        _import_ldap3()
        search = read_ldap_file(self.path)
        if len(search.attributes) != self.key_columns:
            many = "one attribute" if self.key_columns == 1 else f"{self.key_columns} attributes, one for each column"
            raise ValueError(f'its file has attribute = "{search.attribute}": expected {many}')
        return search


@contextmanager
def _connected(ldap3: ModuleType, search: LdapFile) -> Iterator[_Connection]:
    """A connection that may search. Raises ValueError, LDAPException."""
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=search.ca_file or None)
    server = ldap3.Server(search.url, get_info=ldap3.NONE, connect_timeout=search.timeout, tls=tls)
    connection = ldap3.Connection(
        server,
        user=search.bind_name or None,
        password=search.password() if search.bind_name else None,
        auto_referrals=False,
        check_names=False,
        read_only=True,
        receive_timeout=search.timeout,
    )
    end_s = time.monotonic() + TOTAL_S
    try:
        with _quiet():
            _ask(ldap3, connection.open)
            connection.socket = BoundedSocket(connection.socket, end_s, MAX_ANSWER_BYTES)
            if search.start_tls:
                if not _ask(ldap3, connection.start_tls):
                    raise ValueError(_refusal("start TLS", connection.result))
                connection.socket = BoundedSocket(connection.socket, end_s, MAX_ANSWER_BYTES)
            if not _ask(ldap3, connection.bind):
                raise ValueError(_refusal("sign in", connection.result))
        yield connection
    finally:
        # It says goodbye even where there was no connection.
        with suppress(ldap3.core.exceptions.LDAPException, ValueError):
            _ask(ldap3, connection.unbind)


def _ask(ldap3: ModuleType, ask: Callable[[], object]) -> object:
    """Have ldap3 ask the server. Raises LDAPException, ValueError."""
    try:
        return ask()
    except ldap3.core.exceptions.LDAPException:
        raise
    except Exception as error:
        # It decodes answers without looking at them: IndexError, TypeError and more.
        raise ValueError("what the server of the directory sends is not LDAP") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Python says of ldap3: it uses names that Python and pyasn1 call by others by now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _found(connection: _Connection, search: LdapFile, ldap3: ModuleType) -> Iterator[_Found]:
    """All entries and references, page by page. Raises ValueError, LDAPException."""
    count = 0
    cookie: bytes | None = None
    wanted = sorted({*search.attributes, *filter(None, [search.value])})
    while cookie is None or cookie:
        connection.socket.begin_answer()
        ask = partial(
            connection.search,
            search.base,
            search.filter,
            getattr(ldap3, _SCOPES[search.scope]),
            attributes=wanted,
            paged_size=search.page_size,
            paged_cookie=cookie,
        )
        _ask(ldap3, ask)
        result = connection.result
        if result["result"] != _SUCCESS:
            raise ValueError(_refusal(f"give more than {count} entries" if count else "search", result))
        if result["type"] != "searchResDone":
            raise ValueError(f"the directory ends its answer with {result['type']}, so that it may not be complete")
        yield from connection.response
        count += len(connection.response)
        cookie = result.get("controls", {}).get(_PAGES, {}).get("value", {}).get("cookie", b"")


def _rows_of(found: _Found, search: LdapFile) -> Iterator[Row]:
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


def _values(found: _Found, name: str) -> list[str]:
    """The values of an attribute, those with an option (`mail;lang-de`) too. Raises ValueError."""
    raw = found["raw_attributes"].items()
    of_name = [each for key, each in raw if key.partition(";")[0].lower() == name.lower()]
    return [text for values in of_name for value in values if (text := _text(value, found["dn"], name))]


def _refuse_another_name(found: _Found, search: LdapFile) -> None:
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


def _refusal(what: str, result: _Result) -> str:
    """Why the server did not do something."""
    said = ", ".join(filter(None, [result["description"], result["message"]]))
    return f"the directory does not {what}: {_MEANT.get(result['result'], 'it says')} ({said})"


def _in_words(error: Exception) -> str:
    """ldap3's words, without the whole certificate that it shows."""
    text = str(error)
    if "doesn't match" in text:
        return f"the certificate of its server is not for this name: {text[text.index('match') :]}"
    return text.strip("(),'")


def _import_ldap3() -> ModuleType:
    if importlib.util.find_spec("ldap3") is None:
        raise ValueError("ldap sources need ldap3, which is not installed: pip install 'forkpolicy[ldap]'")
    with _quiet():
        import ldap3  # noqa: PLC0415 - optional, and no other source should pay for it
    library: ModuleType = ldap3
    return library


def open_source(argument: str, base: Path) -> LdapSource:
    """The source of a file. Raises ValueError."""
    if not argument:
        raise ValueError("expected ldap:FILE")
    return LdapSource(f"ldap:{base / argument}", base / argument)
