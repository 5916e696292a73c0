"""Whatever index a search goes through, it finds what looking at each decision finds, in the same order."""

from __future__ import annotations

import random

import pytest

from forkpolicy.history import conditions, day
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.query import query_of
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision

CODES = "0123456789bcdfghjklmnpqrstvwxyz"
SENDERS = ["", "a@example.org", "b@example.org", "c@example.net", "staff@example.com", "d@sub.example.org"]
RECIPIENTS = ["staff@example.com", "b@example.com", "c@example.com"]
CLIENTS = ["192.0.2.1", "192.0.2.7", "198.51.100.3", "2001:db8::7"]
RULES = ["policy.conf:7", "policy.conf:17", "other.conf:7"]
LOGINS = ["", "", "joe", "staff@example.com"]
TESTS = {
    "from:<>": lambda one: one["sender"] == "",
    "from:a@example.org": lambda one: one["sender"] == "a@example.org",
    "from:@example.org": lambda one: one["sender"].endswith("@example.org"),
    "from:c*": lambda one: one["sender"].startswith("c"),
    "to:staff@example.com": lambda one: one["recipient"] == "staff@example.com",
    "staff@example.com": lambda one: "staff@example.com" in (one["sender"], one["recipient"], one["sasl_username"]),
    "example.com": lambda one: any(
        one[name].endswith("@example.com") for name in ("sender", "recipient", "sasl_username")
    ),
    "login:joe": lambda one: one["sasl_username"] == "joe",
    "client:192.0.2.0/24": lambda one: one["client_address"].startswith("192.0.2."),
    "client:2001:db8::7": lambda one: one["client_address"] == "2001:db8::7",
    "rule:policy.conf:7": lambda one: one["rule"] == "policy.conf:7",
    "action:4NN": lambda one: one["action"].startswith("450"),
    "host:mx1": lambda _one: True,
    "to:nobody@example.com": lambda _one: False,
}


def one_of(chance, at_s):
    return {
        "code": "".join(chance.choices(CODES, k=12)),
        "sender": chance.choice(SENDERS),
        "recipient": chance.choice(RECIPIENTS),
        "client_address": chance.choice(CLIENTS),
        "sasl_username": chance.choice(LOGINS),
        "rule": chance.choice(RULES),
        "action": chance.choice(["REJECT no", "450 4.7.1 later", "DUNNO"]),
        "at_s": at_s,
    }


@pytest.fixture(scope="module", params=["recent", "settled", "some of both"])
def everything(request, tmp_path_factory):
    """A history of two days, and its decisions, the newest first: each in no index, in all of them, or either."""
    folder, chance = tmp_path_factory.mktemp("history"), random.Random(7)
    made = [one_of(chance, NOON_S - (400 - number) * 300) for number in range(400)]
    lines = [decision(each["at_s"], **{name: each[name] for name in each if name != "at_s"}) for each in made]
    log = folder / "log.json"
    taken = Ingester(str(log), Store(str(folder / "history")), 3650, print, lambda: NOON_S)
    with pytest.MonkeyPatch.context() as patched, log.open("wb") as written:
        patched.setattr(day, "MOST", {"recent": 1000, "settled": 1, "some of both": 70}[request.param])
        written.write(begin())
        for first in range(0, len(lines), 20):
            written.writelines(lines[first : first + 20])
            written.flush()
            taken.turn()
    taken.close()
    assert taken.decisions == 400
    return History(str(folder / "history")), made[::-1]


@pytest.mark.parametrize("many", [0, 20, 20_000])
@pytest.mark.parametrize("seed", range(25))
def test_every_plan_finds_the_same(everything, monkeypatch, many, seed):
    """One to three words, with no, some and all of them read through an index."""
    history, made = everything
    monkeypatch.setattr(conditions, "MANY", many)
    words = random.Random(seed).sample(sorted(TESTS), 1 + seed % 3)
    expected = [each["code"] for each in made if all(TESTS[word](each) for word in words)]
    assert [each.id for each in history.find(query_of(words, NOON_S))] == expected
    assert [each.id for each in history.find(query_of(words, NOON_S), 7)] == expected[:7]
