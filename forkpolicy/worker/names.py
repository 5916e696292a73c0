"""Who asks the DNS in a worker: one resolver for whatever needs names, by the settings of `[dns]`.

It is made when it is first needed, so a policy that asks for no names needs no pycares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.dns_settings import DnsSettings
from forkpolicy.worker.dns_loop import GeventLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.world.dns.answers import Answer, RrType
    from forkpolicy.world.dns.resolver import Resolver

# Of the tries that a question has, and then some: when all of them are over, all answers were given.
TRIES = 3


class Names:
    """Of one worker; `cached` and `ask` are those of its resolver. It outlives generations."""

    def __init__(self) -> None:
        self._loop = GeventLoop()
        self._dns = DnsSettings()
        self._resolver: Resolver | None = None
        self.cached = self._first_cached
        self.ask = self._first_ask

    def use(self, dns: DnsSettings) -> None:
        """Ask these servers from now on."""
        if (dns.servers, dns.timeout) != (self._dns.servers, self._dns.timeout):
            self.forget()
        self._dns = dns

    def forget(self) -> None:
        """Know nothing any more. What is asked is still answered."""
        if self._resolver:
            self._loop.after(TRIES * self._dns.timeout, self._resolver.close)
        self._resolver = None
        self.cached, self.ask = self._first_cached, self._first_ask

    @property
    def resolver(self) -> Resolver:
        """The one that answers. Raises WorldError for servers that cannot be asked."""
        return self._resolver or self._begin()

    def fresh(self) -> Resolver:
        """Another resolver, which knows nothing yet and is the caller's to close. Raises WorldError for servers that
        cannot be asked.
        """
        from forkpolicy.world.dns.resolver import Resolver  # noqa: PLC0415 - an extra

        return Resolver(self._loop, self._dns.servers, self._dns.timeout)

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the loop."""
        self._loop.after(0, call)

    def _begin(self) -> Resolver:
        resolver = self._resolver = self.fresh()
        self.cached, self.ask = resolver.cached, resolver.ask
        return resolver

    def _first_cached(self, name: str, rrtype: RrType) -> Answer | None:
        """The answer, if it is known. Raises WorldError for servers that cannot be asked."""
        return self._begin().cached(name, rrtype)

    def _first_ask(self, name: str, rrtype: RrType, done: Callable[[Answer], object]) -> None:
        """Call `done` once with the answer, never before this returns. Raises WorldError as above."""
        self._begin().ask(name, rrtype, done)
