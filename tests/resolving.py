"""A resolver on a loop of its own, for tests: ask, and have the answer."""

from __future__ import annotations

import contextlib
import time

from forkpolicy.world.dns.loop import SelectorLoop
from forkpolicy.world.dns.resolver import Resolver

LIMIT_S = 20


class Asking:
    """`ask` waits for an answer; `begin` does not, `wait` waits for all."""

    def __init__(self, *servers, timeout_s=1.0, **options):
        self.loop = SelectorLoop()
        self.resolver = Resolver(self.loop, servers, timeout_s, **options)
        self.waiting = 0

    def ask(self, name, rrtype="A"):
        answers = self.begin(name, rrtype)
        self.wait()
        return answers[0]

    def begin(self, name, rrtype="A"):
        """The list that the answer will be in."""
        answers = []

        def done(answer):
            answers.append(answer)
            self.waiting -= 1

        self.waiting += 1
        self.resolver.ask(name, rrtype, done)
        assert not answers, "called back inside ask()"
        return answers

    def wait(self):
        assert self.loop.run_until(lambda: not self.waiting, LIMIT_S), f"{self.waiting} questions without an answer"

    def timed(self, name, rrtype="A"):
        """The answer and how many seconds it took."""
        started = time.monotonic()
        return self.ask(name, rrtype), time.monotonic() - started


@contextlib.contextmanager
def asking(*servers, **options):
    """An Asking that is closed afterwards."""
    made = Asking(*servers, **options)
    try:
        yield made
    finally:
        made.resolver.close()
        made.loop.close()
