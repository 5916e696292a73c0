"""`forkpolicy state list` and `show`: what they print of a map, and what they say where there is nothing."""

from __future__ import annotations

import json

import pytest

from forkpolicy.commands.main import main
from forkpolicy.commands.state import command as command_module
from forkpolicy.state import reading
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.listed import Remember
from forkpolicy.state.redis.access import Access
from tests.redis_servers import ClockedStore, clocked_store, needs_redis
from tests.stores import START_S, Clock, distinct, greylisting, make_store, rate


@pytest.fixture(params=["live map", "engine"])
def kind(request):
    return request.param


@pytest.fixture
def say(kind, tmp_path, capsys, monkeypatch):
    """What `forkpolicy state WORDS` prints, and its exit status."""
    clock = Clock()
    settings = tmp_path / "forkpolicy.toml"
    if kind == "engine":
        url = clocked_store(clock).url
        settings.write_text(f'[state]\nurl = "{url}"\n')
        for module in (command_module, reading):
            monkeypatch.setattr(module, "open_store", lambda state: ClockedStore(Access.from_settings(state), clock))
    else:
        settings.write_text('[state]\nlive = "live"\nkept = "kept"\n')
        monkeypatch.setitem(LiveMap.open.__func__.__kwdefaults__, "clock", clock)

    def run(*words):
        command, *rest = words
        status = main(["state", command, "-c", str(settings), *rest])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    run.clock = clock
    return run


@pytest.fixture
def filled(kind, tmp_path, say):
    """Some records of each kind, in the store of the settings."""
    made = make_store(kind, say.clock, tmp_path / "live")
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
        "greylisting grey 192.0.2.0/24 anna@example.org carl@example.com has waited for 0s, ends in 2d1s",
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


@pytest.mark.parametrize("kind", ["live map"], indirect=True)
def test_where_there_is_no_map(say):
    """It says so, with the status of a server that is not running."""
    status, printed, error = say("list")
    assert (status, printed) == (69, "")
    assert "there is no map: the server makes it when its policy remembers something" in error


@pytest.mark.parametrize("kind", ["engine"], indirect=True)
def test_an_engine_is_changed_directly(say, filled):
    """No server needs to run on this host: each change is there at once, and says how much it was."""
    assert say("reset", "busy", "A@example.com")[:2] == (0, "1 record forgotten\n")
    assert say("reset", "busy", "a@example.com")[:2] == (1, "nothing is remembered of busy a@example.com\n")
    assert say("reset", "busy")[:2] == (0, "2 records forgotten\n")
    assert say("list", "rate")[0] == 1
    assert say("remember", "bans", "192.0.2.8", "2h")[:2] == (0, "192.0.2.8 is in bans for 2h\n")
    assert lines(say("show", "bans", "192.0.2.8")[1]) == ["listed bans 192.0.2.8 listed, ends in 2h"]
    assert say("forget", "bans", "192.0.2.8")[:2] == (0, "192.0.2.8 is no longer in bans\n")
    assert say("forget", "bans", "192.0.2.8")[:2] == (1, "192.0.2.8 is not in bans\n")


@needs_redis
@pytest.mark.parametrize(
    "words", [["list"], ["reset", "busy"], ["remember", "bans", "a", "1h"], ["forget", "bans", "a"]]
)
def test_an_engine_that_does_not_answer(words, tmp_path, capsys):
    """The status of a server that is not running, and what was asked."""
    (tmp_path / "forkpolicy.toml").write_text(f'[state]\nurl = "unix://u:s3cret@{tmp_path}/none"\n')
    assert main(["state", words[0], "-c", str(tmp_path / "forkpolicy.toml"), *words[1:]]) == 69
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"unix://{tmp_path}/none: " in captured.err
    assert "s3cret" not in captured.err


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
