"""What the log has of ACLs that remember is enough to decide again: the same rule, and the same text."""

from __future__ import annotations

import json
import random

import pytest

from forkpolicy.errors import StateError
from forkpolicy.history.past import recorded_answers
from forkpolicy.policy.answers import NOT_ASKED
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.state.memory import MemoryStore
from forkpolicy.worker.decision_details import answers_json
from tests.fakes import policy_of, request_of

POLICY = """
acl busy rate {client_address} 3/1h 5/1d
acl new greylisting delay=60s
acl many distinct {sender} {recipient} >2/1h
acl banned listed bans {client_address}
acl odd sender /odd/
acl either any odd busy
acl bad score >=2
action slow 450 4.7.1 wait {match.busy} s
action later DEFER_IF_PERMIT wait {match.new}
action ban remember bans {client_address} 10m
action point score 1
action no REJECT {match.either} {code}
access odd many ban
access banned point
access !new point
access bad no
access many busy slow
access either no
access new later
"""


class OftenAway(MemoryStore):
    """A store that does not answer now and then."""

    def __init__(self, clock, choose):
        super().__init__(clock)
        self._choose = choose

    def ask(self, question):
        if self._choose.random() < 0.05:
            raise StateError("the store is away")
        return super().ask(question)


def decide_at_random(number, requests, skips):
    """Decisions of a policy that remembers, and the same made again of what the log has."""
    choose = random.Random(number)
    now_s = [1_700_000_000.0]
    store = OftenAway(lambda: now_s[0], choose)
    policy = policy_of(POLICY, store=store, clock=lambda: now_s[0], skips_failures=skips)
    for at in range(requests):
        now_s[0] += choose.choice((1, 30, 600))
        attributes = {
            "client_address": f"192.0.2.{choose.randrange(3)}",
            "sender": choose.choice(("odd@example.org", "a@example.org", "")),
            "recipient": f"{choose.randrange(4)}@example.com",
            "instance": str(at),
        }
        values = wanted_values(request_of(**attributes), policy.wanted)
        rule = policy.decide(values).rule
        text = policy.result(rule, values, code="k2xg0y7qw3bd")
        answers = json.loads(answers_json(policy))
        policy.take_noted()
        trace = policy.trace(values, NOT_ASKED, given=recorded_answers(policy, answers))
        again = policy.result(trace.outcome, values, trace.answers, "k2xg0y7qw3bd")
        yield (rule.where, text), (trace.outcome.where, again)


@pytest.mark.parametrize("skips", [False, True], ids=["error", "skip"])
def test_decisions_are_made_again(skips):
    """A thousand of a busy policy, with a store that fails now and then: no reply differs."""
    replies = set()
    for number in range(10):
        for first, again in decide_at_random(number, 100, skips):
            assert first == again
            replies.add(first[0])
    assert len(replies) >= 5
