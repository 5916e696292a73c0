"""Asks the zones of DNS lists, all those of one question at the same time, and puts their answers together.

A zone that is switched off is not asked. The words of a listing are asked for when it is sure that enough zones list a
name, of the first one, and only where an action puts them in: most names are in no list, and most listings only need a
code.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from forkpolicy.world.dns.answers import Status
from forkpolicy.world.dnsbl import (
    NOT_LISTED,
    DnsblAnswer,
    Listing,
    no_answer,
    shown_text,
    together,
    zone_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.world.dns.answers import Answer, RrType
    from forkpolicy.world.dnsbl import Dnsbl, Lists, Zone, ZoneAnswer

    Done = Callable[[DnsblAnswer], None]

DIFFERENT_ANSWERS = 4096


class Resolver(Protocol):
    """Who asks the DNS."""

    @property
    def cached(self) -> Callable[[str, RrType], Answer | None]:
        """Gives the answer to a question about a name and a type, if it is known."""

    @property
    def ask(self) -> Callable[[str, RrType, Callable[[Answer], object]], None]:
        """The same, but calls once with the answer, never before it returns."""


class ListLookup:
    """`off`: zones that are not asked, by name, and why; `on_error` is called with the name and the answer of a zone
    that says itself that it has none; `asked` counts questions by (zone, result).
    """

    def __init__(self, resolver: Resolver, on_error: Callable[[str, str], None]) -> None:
        self.resolver = resolver
        self.off: dict[str, str] = {}
        self._on_error = on_error
        self.asked: Counter[tuple[str, str]] = Counter()

    def known(self, question: Dnsbl) -> DnsblAnswer | None:
        """The answer, where enough is known to give it at once."""
        if self.off:
            return self._known_with_less(question)
        name, lists, cached = question.name, question.lists, self.resolver.cached
        addresses = []
        for domain in lists.domains:
            answer = cached(name + domain, "A")
            if answer is None or answer.failed:
                return self._known_with_less(question)
            addresses.append(answer.records)
        # Zones give few different answers, each again and again.
        given = lists.given.get(tuple(addresses)) or _given(lists, tuple(addresses))  # type: ignore[arg-type]
        if given.holds and question.wants_text:
            return self._with_words(question, given, [each for _, each in given.found])
        return given

    def _known_with_less(self, question: Dnsbl) -> DnsblAnswer | None:
        """The same, where some zones have no answer or are off."""
        found: list[ZoneAnswer | None] = []
        for zone, domain in zip(question.lists.zones, question.lists.domains, strict=True):
            if zone.name in self.off:
                found.append(_is_off(self.off[zone.name]))
                continue
            answer = self.resolver.cached(question.name + domain, "A")
            found.append(read(zone, answer) if answer else None)
        given = together(question.lists, found)
        return self._with_words(question, given, found) if given and given.holds and question.wants_text else given

    def _with_words(
        self, question: Dnsbl, given: DnsblAnswer, found: Sequence[ZoneAnswer | None]
    ) -> DnsblAnswer | None:
        zone = _first_listing(question, found)
        text = self.resolver.cached(f"{question.name}.{zone.domain}", "TXT")
        return given._replace(text=_words(zone, text)) if text else None

    def begin(self, question: Dnsbl, done: Done) -> None:
        """Ask; `done` is called once, never before this returns."""
        _Asking(self, question, done)

    def answered(self, zone: Zone, answer: Answer) -> ZoneAnswer:
        """What a new answer means; it is counted, and an error code is reported."""
        found = read(zone, answer)
        result = "error" if found.is_error else "failed" if found.listing is Listing.UNKNOWN else found.listing.value
        self.asked[zone.name, result.replace(" ", "-")] += 1
        if found.is_error:
            self._on_error(zone.name, found.shown)
        return found


class _Asking:
    """One question under way."""

    def __init__(self, lookup: ListLookup, question: Dnsbl, done: Done) -> None:
        self._lookup, self._question, self._done = lookup, question, done
        self._is_settled = False
        zones = question.lists.zones
        self._found: list[ZoneAnswer | None] = [
            _is_off(lookup.off[zone.name]) if zone.name in lookup.off else None for zone in zones
        ]
        for at, zone in enumerate(zones):
            if self._found[at] is None:
                name = f"{question.name}.{zone.domain}"
                # Of what is cached the resolver gives the answer as well, in a moment.
                is_new = lookup.resolver.cached(name, "A") is None
                lookup.resolver.ask(name, "A", partial(self._answered, at, is_new))

    def _answered(self, at: int, is_new: bool, answer: Answer) -> None:
        zone = self._question.lists.zones[at]
        found = self._lookup.answered(zone, answer) if is_new else read(zone, answer)
        if self._is_settled:
            return
        self._found[at] = found
        given = together(self._question.lists, self._found)
        if given is None:
            return
        self._is_settled = True
        if given.holds and self._question.wants_text:
            zone = _first_listing(self._question, self._found)
            with_words = lambda text: self._done(given._replace(text=_words(zone, text)))  # noqa: E731 - called once
            self._lookup.resolver.ask(f"{self._question.name}.{zone.domain}", "TXT", with_words)
        else:
            self._done(given)


def read(zone: Zone, answer: Answer) -> ZoneAnswer:
    """What an answer of the DNS means."""
    if answer.status is Status.OK:
        return zone_answer(zone, cast("tuple[str, ...]", answer.records))
    return no_answer(answer.reason) if answer.failed else NOT_LISTED


def _given(lists: Lists, addresses: tuple[tuple[str, ...], ...]) -> DnsblAnswer:
    """What the addresses of all zones mean, and keep it."""
    given = together(lists, [zone_answer(*each) for each in zip(lists.zones, addresses, strict=True)])
    assert given, "all zones are known"
    if len(lists.given) < DIFFERENT_ANSWERS:
        lists.given[addresses] = given
    return given


def _is_off(why: str) -> ZoneAnswer:
    return no_answer(f"is off: {why}")


def _first_listing(question: Dnsbl, found: Sequence[ZoneAnswer | None]) -> Zone:
    named = zip(question.lists.zones, found, strict=True)
    return next(zone for zone, each in named if each and each.listing is Listing.LISTED)


def _words(zone: Zone, answer: Answer) -> str:
    """The first text of a listing; a zone without texts has no words."""
    return shown_text(zone, cast("tuple[bytes, ...]", answer.records)[:1])
