"""`forkpolicy state list` and `show`: what they print of a map, and what they say where there is nothing."""

from __future__ import annotations

import json

import pytest

from forkpolicy.commands.main import main
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.listed import Remember
from tests.stores import START_S, Clock, distinct, greylisting, make_map, rate


@pytest.fixture
def say(tmp_path, capsys, monkeypatch):
    """What `forkpolicy state WORDS` prints, and its exit status."""
    clock = Clock()
    monkeypatch.setitem(LiveMap.open.__func__.__kwdefaults__, "clock", clock)
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text('[state]\nlive = "live"\nkept = "kept"\n')

    def run(*words):
        command, *rest = words
        status = main(["state", command, "-c", str(settings), *rest])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    run.clock = clock
    return run


@pytest.fixture
def filled(tmp_path, say):
    """Some records of each kind, in the map of the settings."""
    made = make_map(tmp_path / "live", say.clock)
    for _ in range(3):
        made.ask(rate((100, 3600), (500, 86400)))
    made.ask(rate((100, 3600), counting="messages", key=("b@example.com",), instance="1"))
    made.ask(greylisting())
    for address in ("192.0.2.1", "192.0.2.2"):
        made.ask(distinct(address))
    made.ask(Remember("bans", ("192.0.2.7",), 86400))
    say.clock.wait(290)
    made.ask(greylisting(recipient="carl@example.com"))
    made.ask(greylisting())
    # LMDB opens it once in a process.
    made.close()


def lines(printed):
    return [" ".join(line.split()) for line in printed.splitlines()]


def test_the_list_has_every_record_but_parts(say, filled):
    """One line each, in words; what belongs to a message is no record of its own."""
    status, printed, _ = say("list")
    assert status == 0
    assert lines(printed) == [
        "rate busy a@example.com 3 in 1h, 3 in 1d (requests), ends in 1d1h25m12s",
        "rate busy b@example.com 1 in 1h (messages), ends in 58m57s",
        "greylisting grey 192.0.2.0/24 anna@example.org bert@example.com passes, ends in 35d1s",
        "greylisting grey 192.0.2.0/24 anna@example.org carl@example.com waits since 0s, ends in 2d1s",
        "greylisting grey 192.0.2.0/24 passed in 1 hour, ends in 35d1s",
        "distinct places a@example.com 2 different in 1h, ends in 55m10s",
        "listed bans 192.0.2.7 listed, ends in 23h55m10s",
    ]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["rate"], 2),
        (["greylisting"], 3),
        (["rate", "busy"], 2),
        (["busy"], 2),
        (["listed", "busy"], 0),
        (["--key", "A@*"], 2),
        (["rate", "--key", "*@example.com"], 2),
        (["--key", "*carl*"], 1),
    ],
)
def test_the_list_is_of_what_was_asked_for(say, filled, words, count):
    """By kind, by name, by a pattern of the key, which folds."""
    status, printed, _ = say("list", *words)
    records = [line for line in lines(printed) if not line.startswith("nothing")]
    assert (len(records), status) == (count, 0 if count else 1)


def test_show_has_one_key(say, filled):
    """All records of a key, or nothing, in words."""
    assert say("show", "busy", "A@Example.com")[:2] == (0, say("list", "busy", "--key", "a@*")[1])
    assert say("show", "busy", "nobody") == (1, "nothing is remembered of busy nobody\n", "")


def test_a_record_for_programs(say, filled):
    """One object a line, with figures."""
    assert json.loads(say("list", "rate", "--key", "a@*", "--json")[1]) == {
        "kind": "rate",
        "name": "busy",
        "key": ["a@example.com"],
        "count": "requests",
        "windows": [{"used": 3, "window_s": 3600}, {"used": 3, "window_s": 86400}],
        "ends_s": START_S + 86400 * 17 // 16 + 2,
    }
    assert say("list", "nothing", "--json") == (1, "", "")


def test_where_there_is_no_map(say):
    """It says so, with the status of a server that is not running."""
    status, printed, error = say("list")
    assert (status, printed) == (69, "")
    assert "there is no map: the server makes it when its policy remembers something" in error


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["list", "rate", "busy", "more"], 'unexpected "more": expected [KIND] [NAME]'),
        (["remember", "bans", "192.0.2.7", "soon"], '"soon" is not a valid duration'),
    ],
)
def test_wrong_words(say, words, error, capsys):
    """Exit status 2, and what was expected."""
    try:
        status, _, said = say(*words)
    except SystemExit as ended:
        status, said = ended.code, capsys.readouterr().err
    assert status == 2
    assert error in said
