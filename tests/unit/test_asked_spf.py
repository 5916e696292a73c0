"""SPF in a worker: at once from what the resolver has cached, else in a greenlet; nothing is asked twice."""

from __future__ import annotations

from collections import Counter

import gevent
import pytest

from forkpolicy.errors import WorldError
from forkpolicy.policy.answers import MustWait
from forkpolicy.worker import asked_spf
from forkpolicy.worker.asked_spf import AskedSpf
from forkpolicy.world.dns.answers import NXDOMAIN, Answer, Status, failure
from forkpolicy.world.spf import Spf

RECORDS = {
    ("example.com", "TXT"): [b"v=spf1 include:inc.example.com mx -all"],
    ("inc.example.com", "TXT"): [b"v=spf1 ip4:192.0.2.0/24 -all"],
    ("example.com", "MX"): [(10, "a.mx.example.com"), (20, "b.mx.example.com")],
    ("a.mx.example.com", "A"): ["198.51.100.1"],
    ("b.mx.example.com", "A"): ["198.51.100.2"],
}
INSIDE = Spf("192.0.2.1", "anna@example.com", "mx.example.com")
BY_MX = Spf("198.51.100.2", "anna@example.com", "mx.example.com")


class Names:
    """Has cached what it was asked for, or `known`. It answers in the next turn of the loop; `failing` with a failure,
    which it forgets. `held`: questions that wait for the test.
    """

    def __init__(self, records, known=(), failing=(), hold=False):
        self.records, self.failing, self.hold = records, set(failing), hold
        self.known = set(known)
        self.asked, self.held = Counter(), []
        self.resolver = self

        self.cached = self.cached_answer

    def cached_answer(self, name, rrtype):
        return self.found(name, rrtype) if (name, rrtype) in self.known else None

    def found(self, name, rrtype):
        records = self.records.get((name, rrtype))
        return Answer(Status.OK, tuple(records)) if records else NXDOMAIN

    def ask(self, name, rrtype, done):
        self.asked[name, rrtype] += 1
        if self.hold:
            self.held.append((name, rrtype, done))
        else:
            self.answer_later(name, rrtype, done)

    def answer_later(self, *held):
        gevent.get_hub().loop.run_callback(self.answer, *held)

    def answer(self, name, rrtype, done):
        if name in self.failing:
            done(failure("no answer"))
        else:
            self.known.add((name, rrtype))
            done(self.found(name, rrtype))


class Asked:
    """An asker, and what its callbacks got."""

    def __init__(self, *more, **options):
        self.names = Names(*more, **options)
        self.asker = AskedSpf(self.names, "mx.example.net")
        self.answers = []

    def begin(self, question=INSIDE, times=1):
        for _ in range(times):
            with pytest.raises(MustWait):
                self.asker.ask(question)
            before = len(self.answers)
            self.asker.begin(question, b"", self.answers.append)
            assert len(self.answers) == before, "called back inside begin()"

    def wait(self, count=1):
        """Until so many have their answer: turns of the loop, not time."""
        for _ in range(1000):
            if len(self.answers) >= count:
                return self.answers
            gevent.sleep(0)
        raise AssertionError(f"{len(self.answers)} of {count} answers")


def test_records_that_are_cached_answer_at_once():
    """Without a greenlet and without a question."""
    asked = Asked(RECORDS, known=RECORDS)
    assert asked.asker.ask(INSIDE).result == "pass"
    assert asked.asker.ask(BY_MX).header.startswith("pass (mx.example.net: ")
    assert not asked.names.asked


def test_records_that_are_missing_are_waited_for():
    """Each is asked for once, however often the evaluation begins."""
    asked = Asked(RECORDS)
    asked.begin(BY_MX)
    assert asked.wait()[0].result == "pass"
    assert asked.names.asked == dict.fromkeys(RECORDS, 1)


def test_what_is_cached_in_part_is_not_asked_for_again():
    """Only what is missing."""
    asked = Asked(RECORDS, known=[("example.com", "TXT"), ("example.com", "MX")])
    asked.begin(BY_MX)
    assert asked.wait()[0].result == "pass"
    assert set(asked.names.asked) == RECORDS.keys() - {("example.com", "TXT"), ("example.com", "MX")}


def test_equal_questions_share_a_check():
    """All recipients of a message ask the same, and so do two ACLs of a policy."""
    asked = Asked(RECORDS)
    asked.begin(times=3)
    assert [answer.result for answer in asked.wait(3)] == ["pass"] * 3
    assert asked.names.asked["example.com", "TXT"] == 1


def test_a_result_is_kept_for_a_minute(monkeypatch):
    """Under sender, name and address, as macros may ask for each of them."""
    now_s = [1000.0]
    monkeypatch.setattr(asked_spf, "monotonic", lambda: now_s[0])
    asked = Asked(RECORDS, known=RECORDS)
    answer = asked.asker.ask(INSIDE)
    asked.names.known.clear()
    now_s[0] += 59
    assert asked.asker.ask(INSIDE) is answer
    for other in (BY_MX, Spf(INSIDE.client, "bert@example.com", INSIDE.helo), Spf(INSIDE.client, INSIDE.sender, "b")):
        with pytest.raises(MustWait):
            asked.asker.ask(other)
    now_s[0] += 2
    with pytest.raises(MustWait):
        asked.asker.ask(INSIDE)


def test_another_resolver_is_asked_anew():
    """A reload may have brought other servers."""
    asked = Asked(RECORDS, known=RECORDS)
    answer = asked.asker.ask(INSIDE)
    assert asked.asker.ask(INSIDE) is answer
    asked.names.cached = Names({}, known=RECORDS).cached
    assert asked.asker.ask(INSIDE).result == "none"


def test_kept_results_do_not_fill_the_memory(monkeypatch):
    """Their number has an end."""
    monkeypatch.setattr(asked_spf, "MAX_KEPT", 10)
    asked = Asked(RECORDS, known=RECORDS)
    for number in range(35):
        asked.asker.ask(Spf("192.0.2.1", f"a{number}@example.com", "mx.example.com"))
        assert len(asked.asker._kept) <= 10


def test_a_failure_is_asked_about_again():
    """The DNS may answer in a moment."""
    asked = Asked(RECORDS, failing=["inc.example.com"])
    asked.begin()
    answer = asked.wait()[0]
    assert (answer.result, answer.problem) == ("temperror", "inc.example.com TXT: no answer")
    asked.names.failing.clear()
    asked.begin()
    assert asked.wait(2)[1].result == "pass"
    assert asked.names.asked["example.com", "TXT"] == 1


def test_a_client_without_an_address_is_known_to_have_no_result():
    """Nobody waits for it."""
    with pytest.raises(WorldError, match="no address"):
        Asked(RECORDS).asker.ask(Spf("unknown", "anna@example.com", "mx.example.com"))


def test_checks_in_flight_are_bounded(monkeypatch):
    """Each is a greenlet, and goes on when nobody waits for it any more."""
    monkeypatch.setattr(asked_spf, "MAX_CHECKS", 3)
    asked = Asked(RECORDS, hold=True)
    questions = [Spf("192.0.2.1", f"a{number}@example.com", "mx.example.com") for number in range(4)]
    for question in questions[:3]:
        asked.begin(question)
    with pytest.raises(WorldError, match="3 SPF checks wait for the DNS already"):
        asked.asker.ask(questions[3])
    asked.begin(questions[0])
    gevent.sleep(0)
    asked.names.hold = False
    for held in asked.names.held:
        asked.names.answer_later(*held)
    assert [answer.result for answer in asked.wait(4)] == ["pass"] * 4
    assert asked.asker.ask(questions[3]).result == "pass"


def test_many_at_once_keep_their_own_answers():
    """Greenlets that wait in the middle of a check, in turn: each goes on with its own question."""
    records = {(f"d{n}.example", "TXT"): [b"v=spf1 include:i%d.example -all" % n] for n in range(200)}
    records |= {(f"i{n}.example", "TXT"): [b"v=spf1 %s" % (b"+all" if n % 3 else b"?all")] for n in range(200)}
    asked = Asked(records, hold=True)
    results = {}
    for n in range(200):
        asked.asker.begin(
            Spf("192.0.2.1", f"anna@d{n}.example", ""), b"", lambda answer, n=n: results.update({n: answer})
        )
    for _ in range(1000):
        gevent.sleep(0)
        held, asked.names.held = asked.names.held, []
        # The last comes first: no two end in the order in which they began.
        for each in reversed(held):
            asked.names.answer_later(*each)
        if len(results) == 200:
            break
    assert {n: answer.result for n, answer in results.items()} == {n: "pass" if n % 3 else "fail" for n in range(200)}


def test_a_bug_is_an_answer_too():
    """Who waits must get one."""
    asked = Asked(RECORDS)
    asked.begin()
    asked.names.ask = None
    assert isinstance(asked.wait()[0], TypeError)
    assert not asked.asker._running
