"""Whether DNS lists are right, by the entries that each one has for that (RFC 5782, section 5): one that must be there
and one that must not.

A list that lists what it must not, or answers with an error code, is wrong: it lists everybody, or nobody knows whom.
One without the first entry may be right all the same, since many never had it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from forkpolicy.status import ZoneTest
from forkpolicy.world.codes import is_error
from forkpolicy.world.dns.answers import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.world.dns.answers import Answer
    from forkpolicy.world.dnsbl import Zone
    from forkpolicy.world.list_lookup import Resolver

    Done = Callable[[list[ZoneTest]], None]

# What must be there and what must not, in front of the zone and for people.
_ADDRESSES: Final = (("2.0.0.127", "127.0.0.2"), ("1.0.0.127", "127.0.0.1"))
_NAMES: Final = (("test", "TEST"), ("invalid", "INVALID"))
STRIPPED: Final = (
    "lists nobody here: the name servers take addresses of 127.0.0.0/8 out of answers. With unbound, private-domain for"
    " the zone repairs what private-address does"
)


class ZoneTests:
    """Tests zones, one or more, all at the same time; `done` is called once, after the last answer."""

    def __init__(self, resolver: Resolver, zones: Sequence[Zone], done: Done) -> None:
        self._resolver, self._done = resolver, done
        # One list may be asked with different codes.
        self._zones = list({(zone.domain, zone.of_names): zone for zone in zones}.values())
        self._results: dict[int, ZoneTest] = {}
        self._answers: dict[tuple[int, str], Answer] = {}
        for at, zone in enumerate(self._zones):
            for name, _ in _probes(zone):
                self._ask(at, name, "A")

    def _ask(self, at: int, name: str, rrtype: str) -> None:
        ask_for = f"{name}.{self._zones[at].domain}"
        self._resolver.ask(ask_for, "TXT" if rrtype == "TXT" else "A", partial(self._answered, at, f"{name} {rrtype}"))

    def _answered(self, at: int, what: str, answer: Answer) -> None:
        self._answers[at, what] = answer
        zone = self._zones[at]
        (there, _), (absent, _) = _probes(zone)
        must, must_not = self._answers.get((at, f"{there} A")), self._answers.get((at, f"{absent} A"))
        if must is None or must_not is None:
            return
        text = self._answers.get((at, f"{there} TXT"))
        if must.status is Status.NODATA and text is None:
            self._ask(at, there, "TXT")
            return
        self._results[at] = judged(zone, must, must_not, has_text=text is not None and text.status is Status.OK)
        if len(self._results) == len(self._zones):
            self._done([self._results[number] for number in range(len(self._zones))])


def judged(zone: Zone, must: Answer, must_not: Answer, *, has_text: bool) -> ZoneTest:
    """What the answers for both entries say of a zone. `has_text`: the first one has a TXT record."""
    (_, there), (_, absent) = _probes(zone)
    errors = [code for answer in (must, must_not) for code in cast("tuple[str, ...]", answer.records) if is_error(code)]
    if errors:
        return ZoneTest(zone.name, wrong=f"answers with the error code {errors[0]}")
    if must_not.status is Status.OK:
        return ZoneTest(zone.name, wrong=f"lists {absent} ({' '.join(map(str, must_not.records))}), and so everything")
    if must_not.failed:
        return undecided(zone, must_not.reason)
    if must.failed:
        return undecided(zone, must.reason)
    if must.status is Status.OK:
        return ZoneTest(zone.name)
    return ZoneTest(zone.name, note=STRIPPED if has_text else f"does not list {there}, as lists do to be tested")


def undecided(zone: Zone, why: str) -> ZoneTest:
    """A zone that nobody knows anything about."""
    return ZoneTest(zone.name, undecided=why)


def _probes(zone: Zone) -> tuple[tuple[str, str], tuple[str, str]]:
    return _NAMES if zone.of_names else _ADDRESSES
