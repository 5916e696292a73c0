"""SPF (RFC 7208): may this client send mail of this sender? The question, its answer, and how one is had.

The records come from a look-up that the caller passes in; how it waits for an answer (not at all, in a greenlet, in a
loop) is its own business. Whatever the DNS or a client brings is an answer; only a client without an address raises
WorldError.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from ipaddress import ip_address
from typing import ClassVar, Final, NamedTuple

from forkpolicy.errors import WorldError
from forkpolicy.world.received_spf import Checked, received_spf

RESULTS: Final = ("pass", "fail", "softfail", "neutral", "none", "permerror", "temperror")
TEMPERROR: Final = "temperror"

Record = str | bytes | tuple[int, str]
"""An address (A, AAAA), a name (PTR), a text (TXT), or preference and name (MX)."""
Lookup = Callable[[str, str], Sequence[Record]]
"""Gives the records of a name and a type, none if there are none. Raises WorldError where the DNS does not answer. A
name may have any ASCII character: macros put what a client has sent into it.
"""

_DIGITS: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Spf:
    """One message. The null sender is empty; then the name that the client gave itself is asked about. Domains are
    folded: lower case, A-labels.
    """

    kind: ClassVar[str] = "spf"

    client: str
    sender: str
    helo: str

    @property
    def domain(self) -> str:
        """Whose record decides; empty where there is none to ask for."""
        return self.sender.rpartition("@")[2] if "@" in self.sender else "" if self.sender else self.helo


class SpfAnswer(NamedTuple):
    """One of RESULTS, and the text of a Received-SPF header. `problem`: what is wrong with the record, or why the DNS
    has not answered.
    """

    result: str
    header: str
    problem: str = ""


def check(question: Spf, lookup: Lookup, receiver: str = "") -> SpfAnswer:
    """Evaluate one message. `receiver` is this host's name unless given. Raises WorldError for a client that has no
    address, and what `lookup` raises but WorldError.
    """
    if not _is_address(question.client):
        raise WorldError(f'the client has no address: client_address is "{question.client}"')
    result, mechanism, problem = "none", "", ""
    if _is_name(question.domain):
        from forkpolicy.world.pyspf import evaluate  # noqa: PLC0415 - an extra, and 80 ms

        result, mechanism, problem = evaluate(question, lookup)
    checked = Checked(question.client, question.sender, question.helo, result, mechanism, problem)
    return SpfAnswer(result, received_spf(checked, receiver or _this_host()), problem)


def require() -> None:
    """Import what a check needs. Raises ImportError."""
    # What a worker imports later it may not be allowed to read.
    for name in ("pyspf", "dns.odd_names", "dns.resolver"):
        import_module(f"forkpolicy.world.{name}")


def _is_address(client: str) -> bool:
    try:
        ip_address(client)
    except ValueError:
        return False
    return True


def _is_name(domain: str) -> bool:
    """Whether it can have a record: RFC 7208 4.3 has none for literals and for names of one label."""
    head, _, top = domain.rpartition(".")
    return bool(head and top) and domain.isascii() and domain[0] != "[" and not _DIGITS.fullmatch(top)


@cache
def _this_host() -> str:
    return socket.gethostname()
