"""Records for a caller that can wait for each of them, as an SPF check can in a greenlet or in a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from forkpolicy.errors import WorldError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from forkpolicy.world.dns.answers import Answer, Record, RrType
    from forkpolicy.world.dns.resolver import Resolver

# What c-ares asks for. Other names it refuses, and some it makes others of.
_USUAL: Final = re.compile(r"[A-Za-z0-9_./*-]*")


class WaitingLookup:
    """Gives the records of a name and a type; `wait` has the resolver ask and waits for the answer. `sockets`: as
    odd_names.py uses them, for names that the resolver does not take.
    """

    def __init__(self, resolver: Resolver, wait: Callable[[str, RrType], Answer], sockets: ModuleType) -> None:
        self._resolver, self._wait, self._sockets = resolver, wait, sockets

    def __call__(self, name: str, rrtype: str) -> tuple[Record, ...]:
        """The records. Raises WorldError where the DNS does not answer."""
        answer = self._resolver.cached(name, rrtype)
        if answer is None:
            ask = self._wait if _USUAL.fullmatch(name) else self._ask_odd_name
            answer = ask(name, cast("RrType", rrtype))
        return records_of(name, rrtype, answer)

    def _ask_odd_name(self, name: str, rrtype: RrType) -> Answer:
        from forkpolicy.world.dns.odd_names import ask  # noqa: PLC0415 - it imports dnspython, 80 ms

        answer = ask(name, rrtype, self._resolver.servers, self._resolver.timeout_s, self._sockets)
        self._resolver.keep(name, rrtype, answer)
        return answer


def records_of(name: str, rrtype: str, answer: Answer) -> tuple[Record, ...]:
    """The records of an answer, none where there are none. Raises WorldError for one that has failed."""
    if answer.failed:
        raise WorldError(f"{name} {rrtype}: {answer.reason}")
    return answer.records
