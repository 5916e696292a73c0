"""Other policy servers as a worker's policy asks them. It outlives generations, and so do its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from forkpolicy.policy.answers import MustWait
from forkpolicy.worker.services.server import AskedService

if TYPE_CHECKING:
    from forkpolicy.state.store import Question
    from forkpolicy.worker.seldom_log import SeldomLog
    from forkpolicy.worker.world import Done
    from forkpolicy.world.dns.loop import Loop
    from forkpolicy.world.service import Service


class AskedServices:
    """Of one worker. `loop` is made at the first question, after the fork."""

    def __init__(self, make_loop: type[Loop], seldom_log: SeldomLog) -> None:
        self._make_loop, self._seldom_log = make_loop, seldom_log
        self._loop: Loop | None = None
        self._services: dict[str, AskedService] = {}

    def ask(self, question: Question[object]) -> object:
        """Nothing is known beforehand. Raises MustWait; WorldError for a server that has failed a moment ago."""
        refused = self._service(question).refusal()
        raise refused or MustWait

    def begin(self, question: Question[object], raw: bytes, done: Done) -> None:
        """As Asker.begin; the server gets `raw` as it is."""
        self._service(question).ask(raw, cast("Service", question).timeout_s, done)

    def counts(self) -> dict[str, int] | None:
        """What has become of questions, by `ENDPOINT RESULT`; None while there was none."""
        every = ((each.endpoint, each.counts) for each in self._services.values())
        return {f"{endpoint} {result}": count for endpoint, counts in every for result, count in counts.items()} or None

    def _service(self, question: Question[object]) -> AskedService:
        endpoint = cast("Service", question).endpoint
        if endpoint not in self._services:
            self._loop = self._loop or self._make_loop()
            self._services[endpoint] = AskedService(endpoint, self._loop, self._seldom_log)
        return self._services[endpoint]
