"""DNS lists as a worker's policy asks them: from the cache at once, else in a moment. It outlives generations.

It also tests them when the master wants that, and has the zones that are switched off for the whole server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from forkpolicy.errors import WorldError
from forkpolicy.policy.answers import MustWait
from forkpolicy.world.list_lookup import ListLookup
from forkpolicy.world.zone_tests import ZoneTests, undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkpolicy.state.store import Question
    from forkpolicy.status import ZoneTest
    from forkpolicy.worker.names import Names
    from forkpolicy.worker.world import Done
    from forkpolicy.world.dnsbl import Dnsbl, Zone


class AskedLists:
    """`names` has the resolver; `on_error` is called with a zone that says itself that it has no answer, and with why:
    then it is off, and the master gets to know it.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self.lookup = ListLookup(names, self._refused)
        self.on_error: Callable[[str, str], None] = _nobody_wants_it

    def ask(self, question: Question[object]) -> object:
        """As Asker.ask."""
        answer = self.lookup.known(cast("Dnsbl", question))
        if answer is None:
            raise MustWait
        return answer

    def begin(self, question: Question[object], raw: bytes, done: Done) -> None:  # noqa: ARG002 - no list reads requests
        """As Asker.begin."""
        self.lookup.begin(cast("Dnsbl", question), done)

    def switch(self, off: Mapping[str, str]) -> None:
        """These zones are off, and why; all others are on."""
        if self.lookup.off.keys() - off.keys():
            # What a zone said while it was wrong must not be believed now.
            self._names.forget()
        self.lookup.off = dict(off)

    def test(self, zones: Sequence[Zone], done: Callable[[list[ZoneTest]], None]) -> None:
        """Test zones; `done` is called later, once. With a resolver of its own: no cache says what a zone says now."""
        try:
            resolver = self._names.fresh()
        except WorldError as error:
            tests = [undecided(zone, str(error)) for zone in zones]
            self._names.later(lambda: done(tests))
            return

        def over(tests: list[ZoneTest]) -> None:
            self._names.later(resolver.close)
            done(tests)

        ZoneTests(resolver, zones, over)

    def counts(self) -> dict[str, int] | None:
        """How often zones were asked, by `ZONE RESULT`; None while none was."""
        return {f"{zone} {result}": count for (zone, result), count in self.lookup.asked.items()} or None

    def _refused(self, zone: str, why: str) -> None:
        if zone not in self.lookup.off:
            self.lookup.off = {**self.lookup.off, zone: why}
            self.on_error(zone, why)


def _nobody_wants_it(_zone: str, _why: str) -> None:
    pass
