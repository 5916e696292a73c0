"""One SPF check by pyspf: the only file that knows it. It has no types, and importing it takes dnspython and 16 MB, so
spf.py imports this when the first check is made.

pyspf gets records through the hook of its module, from the look-up of the check at hand: each greenlet and each thread
has its own. It counts the look-ups, ten and two of them void, and their time ends here, as RFC 7208 4.6.4 has it.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from socket import AF_INET, AF_INET6, inet_pton
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import spf as pyspf

from forkpolicy.errors import WorldError

if TYPE_CHECKING:
    from forkpolicy.world.spf import Lookup, Spf

TIME_S: Final = 20
# A hostile record of one term of 16 KB keeps pyspf busy for 5 s, since its expressions take the square of a term's
# length; the eleven records of a check take 0.2 s within these limits. The longest ones in use have 2 KB, and RFC 7208
# 3.4 wants 450 bytes.
MAX_RECORD_BYTES: Final = 4096
# A name, and so the text that macros put into one, is not longer; nor are the terms of records in use.
MAX_NAME_CHARS: Final = 253
MAX_TERM_BYTES: Final = 255

_SPF: Final = re.compile(rb"v=spf1(?: |$)", re.IGNORECASE)

_lookup: ContextVar[tuple[Lookup, float]] = ContextVar("lookup")
"""That of the check at hand, and until when it is asked."""


class Evaluated(NamedTuple):
    """`mechanism`: the term that decided, if one did; `problem`: what is wrong with the record, or with the DNS."""

    result: str
    mechanism: str
    problem: str


class _LookupError(BaseException):
    """Brings what the look-up has raised past pyspf."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


def evaluate(question: Spf, lookup: Lookup) -> Evaluated:
    """What pyspf makes of a question that has an address and a domain. Raises what `lookup` raises but WorldError."""
    token = _lookup.set((lookup, monotonic() + TIME_S))
    try:
        return _evaluated(question)
    except _LookupError as error:
        raise error.cause from error
    finally:
        _lookup.reset(token)


def _evaluated(question: Spf) -> Evaluated:
    query = _Query(question)
    try:
        result = query.check()[0]
    except Exception as error:  # noqa: BLE001 - a number of 5,000 digits in a record makes a ValueError, and so on
        return Evaluated("permerror", "", f"{type(error).__name__}: {error}")
    problem = ": ".join([query.prob, *query.mech]) if result in ("permerror", "temperror") else ""
    return Evaluated(result, query.mechanism or "", problem)


class _Query(pyspf.query):  # type: ignore[misc] # it has no types
    """A query with the identity of a question."""

    def __init__(self, question: Spf) -> None:
        local, _, domain = question.sender.rpartition("@")
        sender = question.sender and f"{local[-MAX_NAME_CHARS:]}@{domain}"
        super().__init__(question.client, sender, question.helo[-MAX_NAME_CHARS:])
        # pyspf splits an address at its first "@", which may stand in a quoted local part.
        if sender:
            self.l, self.d, self.o = sender.rpartition("@")[0] or "postmaster", domain, domain

    def get_explanation(self, _spec: str) -> None:
        """Nobody reads the domain's own words, so they are not asked for."""

    def cidrmatch(self, addresses: list[str], bits: int) -> bool:
        """Whether one of the addresses, all of the client's family, has so many bits in common with the client's. With
        the objects of ipaddress this was a third of a check.
        """
        family, width = (AF_INET6, 128) if self.A == "AAAA" else (AF_INET, 32)
        mine = int(self.ipaddr)
        try:
            return any((int.from_bytes(inet_pton(family, each)) ^ mine) >> (width - bits) == 0 for each in addresses)
        except OSError as error:
            raise pyspf.PermError(f"not an address: {', '.join(addresses)}") from error

    def dns_mx(self, domain: str) -> list[str]:
        """The addresses of the hosts that take mail for a domain."""
        hosts = [name for _, name in sorted(self.dns(domain, "MX")) if name]
        if len(hosts) > pyspf.MAX_MX:
            raise pyspf.PermError(f"More than {pyspf.MAX_MX} MX records returned")
        return [address for addresses in self._addresses_of(hosts) for address in addresses]

    def validated_ptrs(self) -> list[str]:
        """The client's names that lead back to its address. Where the DNS fails a name is skipped (RFC 7208 5.5);
        pyspf ends the check.
        """
        try:
            names = self.dns_ptr(self.i)[: pyspf.MAX_PTR]
        except pyspf.TempError:
            return []
        found = zip(names, self._addresses_of(names, skips=True), strict=True)
        return [name for name, addresses in found if self.cidrmatch(addresses, self.cidrmax)]

    def _addresses_of(self, hosts: list[str], *, skips: bool = False) -> list[list[str]]:
        """Those of the client's family. RFC 7208 4.6.4 limits the terms that find nothing, and this is one term however
        many hosts have none; pyspf counts hosts, so that three without IPv6 made an error of each IPv6 client's check.
        """
        found: list[list[str]] = []
        for host in hosts:
            try:
                found.append(self.dns(host, self.A, ignore_void=True))
            except pyspf.TempError:
                if not skips:
                    raise
                found.append([])
        if not all(found):
            self.void_lookups += 1
            if self.void_lookups > pyspf.MAX_VOID_LOOKUPS:
                raise pyspf.PermError(f"Void lookup limit of {pyspf.MAX_VOID_LOOKUPS} exceeded")
        return found


def _records(name: str, rrtype: str, _strict: object, _timeout_s: float) -> list[tuple[tuple[str, str], object]]:
    """What the look-up of the check at hand finds, as pyspf wants it."""
    if not name.isascii() or len(name) > MAX_NAME_CHARS:
        # RFC 8616 4: where a macro puts in a local part that is not ASCII, the mechanism does not match.
        return []
    lookup, until_s = _lookup.get()
    if monotonic() >= until_s:
        raise pyspf.TempError(f"the check takes longer than {TIME_S} s")
    try:
        records = lookup(name, rrtype)
    except WorldError as error:
        raise pyspf.TempError(str(error)) from error
    except Exception as error:
        raise _LookupError(error) from error
    return [((name, rrtype), _text(record) if isinstance(record, bytes) else record) for record in records]


def _text(record: bytes) -> tuple[bytes]:
    """A text as pyspf wants it. Raises PermError for an SPF record that would keep a worker busy."""
    if len(record) > MAX_TERM_BYTES and _SPF.match(record):
        if len(record) > MAX_RECORD_BYTES:
            raise pyspf.PermError(f"a record of {len(record)} bytes: more than {MAX_RECORD_BYTES}")
        longest = max(map(len, record.split(b" ")))
        if longest > MAX_TERM_BYTES:
            raise pyspf.PermError(f"a term of {longest} bytes: more than {MAX_TERM_BYTES}")
    return (record,)


pyspf.DNSLookup = _records
