"""What a command asks the world: the DNS, one question after the other, each waited for. Never a service."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, TypeVar, cast

from forkpolicy.errors import WorldError
from forkpolicy.policy.answers import NotAskedError
from forkpolicy.world.dns.loop import SelectorLoop
from forkpolicy.world.dns.records import WaitingLookup
from forkpolicy.world.dnsbl import Dnsbl
from forkpolicy.world.list_lookup import ListLookup
from forkpolicy.world.spf import Spf, check
from forkpolicy.world.zone_tests import ZoneTests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.dns_settings import DnsSettings
    from forkpolicy.state.store import Question
    from forkpolicy.status import ZoneTest
    from forkpolicy.world.dns.answers import Answer, RrType
    from forkpolicy.world.dns.resolver import Resolver
    from forkpolicy.world.dnsbl import DnsblAnswer, Zone
    from forkpolicy.world.spf import SpfAnswer

T = TypeVar("T")

OF_THE_DNS: Final = (Dnsbl.kind, Spf.kind)
# The resolver ends each question much earlier.
LIMIT_S: Final = 120


def only_with_dns(question: Question[object]) -> object:
    """Nobody is asked."""
    raise NotAskedError("only with --dns" if question.kind in OF_THE_DNS else "services are never asked here")


class World:
    """The DNS, by the settings. Its resolver is made when it is first needed."""

    def __init__(self, dns: DnsSettings) -> None:
        self._dns = dns
        self._loop = SelectorLoop()
        self._resolver: Resolver | None = None

    def ask(self, question: Question[object]) -> object:
        """The answer. Raises WorldError, and NotAskedError for what the DNS does not know."""
        if question.kind == Spf.kind:
            return self._spf(cast("Spf", question))
        if question.kind == Dnsbl.kind:
            return self._lists(cast("Dnsbl", question))
        return only_with_dns(question)

    def test(self, zones: Sequence[Zone]) -> list[ZoneTest]:
        """Test DNS lists, one or more. Raises WorldError."""
        results: list[list[ZoneTest]] = []
        ZoneTests(self._opened(), zones, results.append)
        return self._first(results)

    @property
    def servers(self) -> tuple[str, ...]:
        """The name servers that it asks, each as `address:port`. Raises WorldError."""
        return self._opened().servers

    def close(self) -> None:
        """Ask nobody any more."""
        if self._resolver:
            self._resolver.close()
        self._loop.close()

    def _spf(self, question: Spf) -> SpfAnswer:
        return check(question, WaitingLookup(self._opened(), self._wait, socket))

    def _lists(self, question: Dnsbl) -> DnsblAnswer:
        lookup = ListLookup(self._opened(), lambda _zone, _why: None)
        answers: list[DnsblAnswer] = []
        lookup.begin(question, answers.append)
        return self._first(answers)

    def _wait(self, name: str, rrtype: RrType) -> Answer:
        answers: list[Answer] = []
        self._opened().ask(name, rrtype, answers.append)
        return self._first(answers)

    def _first(self, answers: list[T]) -> T:
        if not self._loop.run_until(lambda: bool(answers), LIMIT_S):
            raise WorldError(f"no answer in {LIMIT_S} s")
        return answers[0]

    def _opened(self) -> Resolver:
        """Raises WorldError for servers that cannot be asked."""
        from forkpolicy.world.dns.resolver import Resolver  # noqa: PLC0415 - pycares is an extra

        if self._resolver is None:
            self._resolver = Resolver(self._loop, self._dns.servers, self._dns.timeout)
        return self._resolver
