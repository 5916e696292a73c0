"""What was taken in is found by each of its words, the newest first."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace

import pytest

from forkpolicy.commands.main import main
from forkpolicy.commands.shared.past_decisions import id_in
from forkpolicy.errors import UsageError
from forkpolicy.history.asking.pasted import is_pasted
from forkpolicy.history.conditions import conditions
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.query import Query, query_of
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision, line_of

DAY_S = 86400


@pytest.fixture
def history(tmp_path):
    """Twelve decisions of three days."""
    lines = [begin()]
    for day in (2, 1, 0):
        at_s = NOON_S - day * DAY_S
        lines += [
            decision(at_s, code=f"0000plain00{day}"),
            decision(at_s + 1, code=f"0000client0{day}", client_address="2001:db8::7", action="450 4.7.1 later"),
            decision(at_s + 2, code=f"0000sender0{day}", sender="Anna+x@Sub.Example.NET", queue_id=f"4F2{day}"),
            decision(at_s + 3, code=f"0000null000{day}", sender="", rule="other.conf:7", sasl_username="joe"),
        ]
    lines.append(line_of("log lines dropped", NOON_S, count=12, reason="the log target does not keep up"))
    (tmp_path / "log.json").write_bytes(b"".join(lines))
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, print, lambda: NOON_S)
    taken.turn()
    taken.close()
    assert (taken.decisions, taken.odd) == (12, 0)
    return History(str(tmp_path / "history"))


def ids(history, *words, most=100):
    """Those that are found, without the zeros in front."""
    return [each.id.lstrip("0") for each in history.find(query_of(words, NOON_S), most)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["to:b@example.com", "from:a@example.org", "client:203.0.113.0/24"], ["plain00"]),
        (["client:2001:db8::/32"], ["client0"]),
        (["2001:db8::7"], ["client0"]),
        (["from:anna+X@sub.example.net"], ["sender0"]),
        (["@sub.example.net"], ["sender0"]),
        (["sub.example.net"], ["sender0"]),
        (["anna*"], ["sender0"]),
        (["from:<>"], ["null000"]),
        (["login:joe"], ["null000"]),
        (["rule:other.conf:7"], ["null000"]),
        (["action:4NN"], ["client0"]),
        (["action:reject", "from:a@example.org"], ["plain00"]),
        (["~4.7.1 LATER"], ["client0"]),
        (["host:mx1", "~later"], ["client0"]),
        (["host:MX1", "~later"], ["client0"]),
        (["host:mx2"], []),
        (["<anna+x@sub.example.net>"], ["sender0"]),
        (["from:<Anna+x@sub.example.net>,"], ["sender0"]),
        (["From:anna+x@sub.example.net,"], ["sender0"]),
        (["from:anna+x@sub.example.net;"], ["sender0"]),
        (["<mailto:anna+x@sub.example.net>."], ["sender0"]),
        (["MAILTO:anna+x@sub.example.net"], ["sender0"]),
        (["(from:anna+x@sub.example.net)"], ["sender0"]),
        (["sub.example.net."], ["sender0"]),
        (["(2001:db8::7)."], ["client0"]),
        (["client:2001:db8::7,"], ["client0"]),
        (["from:<>,"], ["null000"]),
        (["<>,"], ["null000"]),
        (["login:joe,"], []),
        (["to:nobody@example.com"], []),
        (["example.org"], ["client0", "plain00"]),
    ],
)
def test_each_word_finds_its_decisions(history, words, found):
    """On each of the three days, the newest first."""
    assert ids(history, *words) == [f"{each}{day}" for day in (0, 1, 2) for each in found]


def test_a_day_that_cannot_be_read_hides_no_other(tmp_path, history):
    """Decisions of the others are found first, then the file is named."""
    (tmp_path / "history" / "2026-11-27.sqlite").write_bytes(b"x" * 5000)
    found = history.find(query_of(["from:<>"], NOON_S))
    assert [next(found).id.lstrip("0") for _ in range(2)] == ["null0000", "null0002"]
    with pytest.raises(HistoryError, match=r"2026-11-27\.sqlite cannot be read"):
        next(found)


def test_an_address_that_is_sender_and_recipient_is_found_once(history):
    """A bare address may stand anywhere."""
    assert len(ids(history, "b@example.com")) == 12


def test_times_bound_a_search(history):
    """So long ago, or from a moment to another."""
    assert ids(history, "since:12h", "from:<>") == ["null0000"]
    assert ids(history, "until:2026-11-26T23:00:00+00:00", "from:<>") == ["null0002"]
    assert ids(history, "since:2026-11-27T00:00:00+00:00", "until:2026-11-27T23:00:00+00:00", "from:<>") == ["null0001"]


def test_a_queue_id_finds_the_whole_mail(history):
    """Decisions of the same instance, which had none yet, are of the same mail."""
    assert set(ids(history, "queue:4F20")) == {"plain000", "client00", "sender00", "null0000"}


def test_at_most_so_many(history):
    """The newest ones."""
    assert ids(history, "to:b@example.com", most=2) == ["null0000", "sender00"]


def test_more_than_there_can_be(history):
    """A number that no list can have is no mistake."""
    assert len(ids(history, "b@example.com", most=10**30)) == 12


def test_bytes_that_are_no_text_are_found_as_the_log_has_them(tmp_path):
    r"""As \xNN, which is what is printed; or as the bytes that a terminal pastes."""
    (tmp_path / "log.json").write_bytes(begin() + decision(code="0000bytes000", sender="\\xff@example.org"))
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, print, lambda: NOON_S)
    taken.turn()
    taken.close()
    history = History(str(tmp_path / "history"))
    for word in ("from:\udcff@example.org", "from:\\xff@example.org", "\udcff*"):
        assert ids(history, word) == ["bytes000"]


@pytest.mark.parametrize("word", ["~authenticate first", "login:EXAMPLE joe", "from:a b@example.org"])
def test_blanks_do_not_make_a_word_a_pasted_text(word):
    """It says itself what it is."""
    assert not is_pasted(word)
    assert is_pasted(f"From {word}")


def test_the_line_of_a_decision_is_what_the_log_had(history):
    """To the byte, without its end."""
    (found,) = history.find(query_of(["id:0000plain001"], NOON_S))
    assert history.raw(found) + b"\n" == decision(NOON_S - DAY_S, code="0000plain001")


def test_an_id_that_is_not_ours_is_looked_for_as_it_is():
    """A log may have any text there."""
    assert query_of(["id:Some-Thing."], NOON_S).ids == ["Some-Thing."]


@pytest.mark.parametrize(
    "text", ["0000TTTT0001", "id:0000tttt0001", "ID:0000TTTT0001", "we know you: see 0000Tttt0001."]
)
def test_show_and_whatif_take_an_id_as_find_does(text):
    """In any case, named, or in a sentence."""
    assert id_in(text) == "0000tttt0001"


@pytest.mark.parametrize(("text", "message"), [("anna", "is not the id"), ("000000000001 000000000002", "several")])
def test_a_text_that_has_not_one_id_is_named(text, message):
    """With what was expected."""
    with pytest.raises(UsageError, match=message):
        id_in(text)


def test_gaps_are_shown(history):
    """When, how many and why."""
    assert history.gaps(query_of([], NOON_S)) == [(int(NOON_S * 1000), 12, "the log target does not keep up")]
    assert history.gaps(query_of(["until:2026-11-27"], NOON_S)) == []


def test_a_gap_of_one_line_is_said_so(tmp_path, capsys):
    """Where decisions are found, too."""
    lines = [decision(), line_of("log lines lost", NOON_S, count=1), line_of("log lines lost", NOON_S + 1, count=2)]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    (tmp_path / "settings.toml").write_text('policy = "p.conf"\n[history]\nlog = "log.json"\npath = "history"\n')
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S)
    taken.turn()
    taken.close()
    assert main(["history", "find", "-c", str(tmp_path / "settings.toml"), "b@example.com"]) == 0
    said = capsys.readouterr().err
    assert ": 1 log line is missing: " in said
    assert ": 2 log lines are missing: " in said


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("foo", "is not an address"),
        ("4F2A1C3D5E", 'did you mean "queue:4F2A1C3D5E"'),
        ("4Zx3yJ5Zqvz1Bbd", 'did you mean "queue:4Zx3yJ5Zqvz1Bbd"'),
        ("4jkzTK0KkPz6BdG", 'did you mean "queue:4jkzTK0KkPz6BdG"'),
        ("too:x@example.org", 'did you mean "to:"'),
        ("client:1.2.3", "did you mean 1.2.3.0/24"),
        ("since:yesterday", "expected 2h"),
        ("~", "says nothing to look for"),
    ],
)
def test_what_is_no_word_is_named(word, message):
    """With what was expected."""
    with pytest.raises(ValueError, match=message):
        query_of([word], NOON_S)


@pytest.mark.parametrize(
    "attributes",
    [
        {"recipient": "anna"},
        {"recipient": "anna%example.com@localhost"},
        {"sender": "example.com!anna"},
        {"sender": "anna@[192.0.2.1]"},
        {"sender": "anna@bücher.example"},
        {"sasl_username": "jö"},
        {"sender": "anna@example.com.", "recipient": "b@localhost.example.com"},
    ],
)
def test_addresses_that_a_policy_may_see_otherwise_are_found_as_such(tmp_path, attributes):
    """Postfix rewrites them, or they fold in several ways; through an index of their own."""
    usual = [decision(sasl_username="joe", sender=sender) for sender in ("", "a+b=c@example.com", "A@Example.COM")]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(usual) + decision(code="0000odd00000", **attributes))
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, print, lambda: NOON_S)
    taken.turn()
    taken.close()
    history = History(str(tmp_path / "history"))
    assert [each.id for each in history.find(Query(odd=True))] == ["0000odd00000"]
    day = sqlite3.connect(tmp_path / "history/2026-11-28.sqlite")
    (where,) = conditions(day, Query(odd=True))
    plan = day.execute(f"EXPLAIN QUERY PLAN SELECT n FROM decisions WHERE {where.text} ORDER BY n DESC", where.values)
    assert "by_odd" in str(plan.fetchall())


def test_a_sender_is_found_at_every_state(tmp_path):
    """Whatever a client of ours says before there can be one; what nobody said is not the null sender."""
    lines = [decision(sender="a@example.org", protocol_state="CONNECT"), decision(sender="", protocol_state="CONNECT")]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, print, lambda: NOON_S)
    taken.turn()
    taken.close()
    history = History(str(tmp_path / "history"))
    assert len(ids(history, "from:a@example.org")) == 1
    assert ids(history, "from:<>") == []


def test_a_search_that_takes_long_is_given_up(history):
    """What was found until then is kept, and where it ended is said."""
    query = query_of(["~later"], NOON_S)
    found = history.find(replace(query, give_up_s=time.monotonic() - 1))
    with pytest.raises(HistoryError, match="the search was given up before 2026-11-28, as it took long"):
        next(found)
    assert len(list(history.find(replace(query, give_up_s=time.monotonic() + 3600)))) == 3
