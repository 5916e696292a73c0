"""A connection to a directory (LDAP), whose server has shown a good certificate before it hears a password.

ldap3 (`pip install 'forkpolicy[ldap]'`) is pure Python; python-ldap would need a compiler and OpenLDAP's headers. This
is the only file that imports it, when somebody asks a directory. Raises ValueError in words for all that goes wrong;
what the server says of a question is the caller's to read.
"""

from __future__ import annotations

import importlib.util
import ssl
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypedDict, cast

from forkpolicy.bounded_socket import BoundedSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# RFC 4511, 4.1.9
SUCCESS: Final = 0


class Result(TypedDict):
    """What the server says of the last thing that was asked of it."""

    result: int
    type: str
    description: str
    message: str
    controls: dict[str, dict[str, dict[str, bytes]]]


class Found(TypedDict):
    """An entry of the directory, or a reference to another server."""

    type: str
    dn: str
    raw_attributes: dict[str, list[bytes]]


class Connection(Protocol):
    """What is used of ldap3's connection, which a type checker may not know."""

    result: Result
    response: list[Found]
    socket: BoundedSocket

    def search(
        self,
        base: str,
        filter_: str,
        scope: str,
        *,
        attributes: list[str],
        size_limit: int = 0,
        paged_size: int | None = None,
        paged_cookie: bytes | None = None,
    ) -> bool:
        """Ask for entries; for a page of them with `paged_size`."""
        ...

    def open(self) -> None:
        """Connect."""
        ...

    def start_tls(self) -> bool:
        """Go on by TLS."""
        ...

    def unbind(self) -> bool:
        """Say goodbye, and close it."""
        ...

    def bind(self) -> bool:
        """Sign in as nobody."""
        ...

    def rebind(self, *, user: str, password: str) -> bool:
        """Sign in as somebody."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A server. `url`: as ldap3 reads it; `ca_file`: in place of the system's authorities; `timeout_s`: of each
    answer, and of connecting; `total_s`: of all answers.
    """

    url: str
    start_tls: bool
    ca_file: str
    timeout_s: int
    total_s: float
    max_answer_bytes: int


@contextmanager
def opened(place: Place) -> Iterator[Connection]:
    """A connection that nobody has signed in at yet, with TLS where that is to be."""
    connection = _made(library(), place)
    end_s = time.monotonic() + place.total_s
    try:
        with _quiet():
            ask(connection.open)
            connection.socket = BoundedSocket(connection.socket, end_s, place.max_answer_bytes)
            if place.start_tls:
                if not ask(connection.start_tls):
                    raise ValueError(refusal("start TLS", connection.result))
                connection.socket = BoundedSocket(connection.socket, end_s, place.max_answer_bytes)
        yield connection
    finally:
        # It says goodbye even where there was no connection.
        with suppress(ValueError):
            ask(connection.unbind)


def _made(ldap3: ModuleType, place: Place) -> Connection:
    """Not open yet."""

    def make() -> object:
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=place.ca_file or None)
        server = ldap3.Server(place.url, get_info=ldap3.NONE, connect_timeout=place.timeout_s, tls=tls)
        return ldap3.Connection(
            server, auto_referrals=False, check_names=False, read_only=True, receive_timeout=place.timeout_s
        )

    return cast("Connection", ask(make))


def signed_in(connection: Connection, name: str = "", password: str = "") -> bool:
    """Whether the server takes the password for that name; without a name, whether it answers nobody in particular."""
    with _quiet():
        return bool(ask(partial(connection.rebind, user=name, password=password) if name else connection.bind))


def ask(question: Callable[[], object]) -> object:
    """Have ldap3 ask the server. Raises ValueError."""
    try:
        return question()
    except library().core.exceptions.LDAPException as error:
        raise ValueError(f"the directory cannot be asked: {_in_words(error)}") from error
    except Exception as error:
        # It decodes answers without looking at them: IndexError, TypeError and more.
        raise ValueError("what the server of the directory sends is not LDAP") from error


def escaped_in_filter(text: str) -> str:
    """A value that means itself in a filter (RFC 4515)."""
    return str(library().utils.conv.escape_filter_chars(text))


def escaped_in_name(text: str) -> str:
    """A value that means itself in a name (RFC 4514)."""
    return str(library().utils.dn.escape_rdn(text))


def refusal(what: str, result: Result) -> str:
    """Why the server did not do something."""
    said = ", ".join(filter(None, [result["description"], result["message"]]))
    return f"the directory does not {what}: {_MEANT.get(result['result'], 'it says')} ({said})"


_MEANT: Final = {
    3: "the server takes no more time for it: raise its time limit for bind_name",
    4: "the server gives no more entries: raise its size limit for bind_name; asking in pages does not get around it",
    10: "it is on another server, and references are not followed: ask that one",
    32: "there is no such base, or bind_name may not see it",
    49: "bind_name or its password is wrong",
    50: "bind_name may not search there",
}


def _in_words(error: Exception) -> str:
    """ldap3's words, without the whole certificate that it shows."""
    text = str(error)
    if "doesn't match" in text:
        return f"the certificate of its server is not for this name: {text[text.index('match') :]}"
    return text.strip("(),'")


def library() -> ModuleType:
    """ldap3. Raises ValueError where it is not installed."""
    if importlib.util.find_spec("ldap3") is None:
        raise ValueError("directories need ldap3, which is not installed: pip install 'forkpolicy[ldap]'")
    with _quiet():
        import ldap3  # noqa: PLC0415 - optional, and nobody else should pay for it
    found: ModuleType = ldap3
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Python says of ldap3: it uses names that Python and pyasn1 call by others by now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
