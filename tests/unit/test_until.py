"""`until=2026-12-31` at the end of an entry: it is compiled until that day is over, and left out by a later compile."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from forkpolicy import expiry
from forkpolicy.commands import main
from forkpolicy.commands.shared.status_report import _table_rows
from forkpolicy.compile import table
from forkpolicy.compile.sources import registry
from forkpolicy.metrics import _of_tables
from forkpolicy.tables.live_table import LiveTable
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 12, 24)
CHRISTMAS, LATER, PAST = "until=2026-12-24", "until=2027-06-30", "until=2026-12-23"


class Clock:
    """The day that it is."""

    def __init__(self) -> None:
        self.today = TODAY

    def turn(self, days: int) -> None:
        self.today += timedelta(days=days)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(expiry, "today", lambda: clock.today)
    noon = lambda: datetime.combine(clock.today, datetime.min.time()).timestamp() + 43200  # noqa: E731 - one use
    monkeypatch.setattr(table, "time", SimpleNamespace(time=noon, monotonic=time.monotonic))
    return clock


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: Clock) -> Compiler:
    assert clock.today == TODAY
    return Compiler(tmp_path, capsys)


@pytest.mark.parametrize(
    ("kind", "line", "asked", "key", "value"),
    [
        ("cidr", "192.0.2.0/24 {}", "192.0.2.7", "192.0.2.0/24", None),
        ("cidr", "192.0.2.0/24 REJECT no, thanks {}  # why", "192.0.2.7", "192.0.2.0/24", "REJECT no, thanks"),
        ("cidr", "198.51.100.1, 192.0.2.0/24 {}", "192.0.2.7", "192.0.2.0/24", None),
        ("domain", "Example.org\t{}", "example.org", "example.org", None),
        ("domain", '.example.org "a # value" {} ; note', "x.example.org", ".example.org", "a # value"),
        ("address", '"user one"@example.org gold {}', "user one@example.org", "user one@example.org", "gold"),
        ("key", '"CN=mail #1" {}', "CN=mail #1", "cn=mail #1", None),
        ("key", "  anna {}", "ANNA", "anna", None),
        ("key", "anna UNTIL=2026-12-24{}", "anna", "anna", None),
    ],
)
def test_an_entry_serves_until_its_day_is_over(
    compiler: Compiler, clock: Clock, kind: str, line: str, asked: str, key: str, value: str | None
) -> None:
    """Of every kind, behind a value and in front of a comment, a list as a whole."""
    line = line.format("" if "UNTIL" in line else CHRISTMAS)
    assert compiler.one(kind, f"{line}\n").status == 0
    (entry,) = compiler.found(kind, asked)
    assert entry is not None
    assert (entry.key, entry.value) == (key, value)
    clock.turn(1)
    outcome = compiler.run("--if-changed")
    assert outcome.status == 0, outcome.err
    assert compiler.found(kind, asked) == [None]
    assert " expired)" in outcome.out


def test_pairs_expire(compiler: Compiler, clock: Clock) -> None:
    """Tables of several columns, and those that are asked for several attributes together."""
    policy = "table p pair:network,address list\ntable k key list2\nacl a table:k {client_address} {sender}"
    compiler.policy(*policy.splitlines())
    compiler.source("list", f'192.0.2.0/24 * gold {CHRISTMAS}\n192.0.2.0/24 "user one"@example.org {LATER}\n')
    compiler.source("list2", f"192.0.2.7 a@example.org {CHRISTMAS}\n192.0.2.8 a@example.org b c {LATER}\n")
    assert compiler.run().status == 0
    assert compiler.keys("key", "192.0.2.7 a@example.org", name="k") == ["192.0.2.7 a@example.org"]
    clock.turn(1)
    assert compiler.run("--if-changed").out.count("(1 expired)") == 2
    assert compiler.keys("key", "192.0.2.7 a@example.org", "192.0.2.8 a@example.org", name="k")[0] is None


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        (
            "cidr",
            "192.0.2.0/24 until=2026-02-30",
            'list:1:14: "2026-02-30" is not a date: expected one as in until=2026',
        ),
        ("cidr", "192.0.2.0/24 office until=31.12.2026", 'list:1:21: "31.12.2026" is not a date'),
        ("key", "anna until=20261231", 'list:1:6: "20261231" is not a date'),
        ("key", "anna until=", 'list:1:6: "" is not a date'),
        ("key", "anna until=tomorrow", "a value that ends so goes in quotes"),
        ("key", "anna until=2026-12-31 gold", "list:1:6: until= stands at the end of an entry"),
        ("domain", "a.example until=2026-12-31, b.example", "list:1:11: until= stands at the end of an entry"),
        ("key", "until=2026-12-31", "list:1:1: until= stands behind an entry, and there is none"),
        ("domain", "  until=2026-12-31", "list:1:3: until= stands behind an entry, and there is none"),
        ("cidr", f"192.0.2.1/24 {PAST}", "list:1:1: host bits set: did you mean 192.0.2.0/24"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(compiler: Compiler, kind: str, line: str, told: str) -> None:
    """A date that is not one, or that stands elsewhere; an entry that has expired is still one."""
    outcome = compiler.one(kind, f"{line}\n")
    assert outcome.status == 78
    assert told in outcome.err


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("table t pair:text,text list", "list:1:1: 1 of 2 columns"),
        ("table t key list\nacl a table:t {sasl_username} {sender}", "list:1:1: 1 of 2 words"),
    ],
)
def test_it_is_no_word_of_a_key(compiler: Compiler, policy: str, told: str) -> None:
    """Of a key of several words one is missing, and the entry would serve for ever."""
    compiler.policy(policy)
    compiler.source("list", f"anna {CHRISTMAS}\n")
    assert told in compiler.run().err


@pytest.mark.parametrize(
    ("line", "value"), [('anna "x until=soon"', "x until=soon"), ("anna not-until=x", "not-until=x")]
)
def test_a_value_may_look_like_it(compiler: Compiler, line: str, value: str) -> None:
    """In quotes, or within a word."""
    assert compiler.one("key", f"{line}\n").status == 0
    (entry,) = compiler.found("key", "anna")
    assert entry is not None
    assert entry.value == value


def test_another_source_has_no_last_day(compiler: Compiler) -> None:
    """Only text sources have this syntax: what a program lists is key and value."""
    compiler.policy("table t key csv:list.csv:1:2")
    compiler.source("list.csv", "anna,until=2020-01-01\n")
    assert compiler.run().status == 0
    (entry,) = compiler.found("key", "anna")
    assert entry is not None
    assert entry.value == "until=2020-01-01"


def test_what_expired_is_no_loss(compiler: Compiler, clock: Clock) -> None:
    """More than half may expire at once, all of them too; whatever else is lost counts as ever."""
    lines = [f"a{number}.example {CHRISTMAS if number else ''}" for number in range(10)]
    assert compiler.one("domain", "\n".join(lines) + "\n").status == 0
    clock.turn(1)
    cut = compiler.one("domain", "a1.example until=2026-12-24\n")
    assert cut.status == 78
    assert "0 entries, and the table in use has 10 (of which 1 have expired)" in cut.err
    # What had expired before the table was made was not served by it.
    old = "".join(f"o{number}.example until=2020-01-01\n" for number in range(9))
    assert compiler.one("domain", old).status == 78
    outcome = compiler.one("domain", "\n".join(lines) + "\n", "--json")
    assert (outcome.json[0]["entries"], outcome.json[0]["counts"]["expired"]) == (1, 9)


def test_a_table_becomes_empty_when_all_have_expired(compiler: Compiler, clock: Clock) -> None:
    """A refusal would serve them on, and no download has failed: the source has its lines."""
    assert compiler.one("key", f"anna {CHRISTMAS}\nbert {CHRISTMAS}\n").status == 0
    clock.turn(1)
    outcome = compiler.run("--if-changed")
    assert (outcome.status, outcome.err) == (0, "")
    assert "0 entries (2 expired)" in outcome.out
    assert compiler.found("key", "anna") == [None]
    assert compiler.one("key", "\n").status == 78


def test_those_that_expire_within_a_week_are_named(compiler: Compiler, clock: Clock) -> None:
    """The first to expire first, with their places; of many the first twenty."""
    lines = "anna until=2026-12-31\nbert gold until=2026-12-25\ncarl until=2027-01-01\n"
    outcome = compiler.one("key", lines)
    assert [line.split("list:")[1] for line in outcome.err.splitlines() if "list:" in line] == [
        "2:1: warning: bert expires when 2026-12-25 is over",
        "1:1: warning: anna expires when 2026-12-31 is over",
    ]
    assert "table t: its first entry expires when 2026-12-25 is over" in compiler.run("--if-changed").err
    many = compiler.one("key", "".join(f"a{number} {CHRISTMAS}\n" for number in range(25)))
    assert many.err.count("is over") == 20
    assert "and 5 more entries expire within a week" in many.err
    clock.turn(-30)
    assert compiler.one("key", lines, "--allow-shrink").err == ""


def test_a_compile_that_is_not_needed_is_none(compiler: Compiler, clock: Clock) -> None:
    """Until the day of the first entry is over; then the table is another one, and the next day it is as it was."""
    compiler.one("key", f"anna {CHRISTMAS}\nbert {LATER}\n")
    assert "unchanged" in compiler.run("--if-changed").out
    clock.turn(1)
    assert "t: compiled" in compiler.run("--if-changed").out
    clock.turn(1)
    assert "unchanged" in compiler.run("--if-changed").out
    assert compiler.run("--json").json[0]["expires"] == "2027-06-30"


def test_an_entry_that_stands_twice_is_asked_about_once(compiler: Compiler, clock: Clock) -> None:
    """Content stays when one of two equal entries expires: the next look must not find the same day again."""
    compiler.one("key", f"anna {CHRISTMAS}\nanna\n")
    clock.turn(1)
    assert "t: compiled" in compiler.run("--if-changed").out
    assert "unchanged" in compiler.run("--if-changed").out


def test_a_large_source_is_parsed_in_parts(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its parts have found comes together."""
    monkeypatch.setattr(registry, "BLOCK_BYTES", 4096, raising=True)
    lines = "".join(f"a{number}.example {CHRISTMAS if number % 2 else PAST}\n" for number in range(1000))
    outcome = compiler.one("domain", lines, "--json")
    assert (outcome.json[0]["entries"], outcome.json[0]["counts"]["expired"]) == (500, 500)
    assert outcome.err.count("is over") == 20
    assert outcome.json[0]["expires"] == "2026-12-24"


def test_check_and_status_say_that_an_expired_entry_is_served(
    compiler: Compiler, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the day that is over, and what leaves the entry out; metrics have the moment."""
    compiler.one("key", f"anna {CHRISTMAS}\n")
    compiler.policy("table t key list", "acl a sasl_username table:t", "action n REJECT no", "access a n")
    served = LiveTable("t", "key", str(compiler.table_path()))
    served.refresh()
    status = served.status()
    served.close()
    assert status.expires == "2026-12-24"
    samples = {name: value for name, _, _, value in _of_tables([status], {})}
    assert samples["forkpolicy_table_expires_timestamp_seconds"] == expiry.end_of("2026-12-24")

    class Worker:
        tables = (status,)

    class Seen:
        workers = (Worker,)

    for days, is_told in ((0, False), (1, True)):
        clock.turn(days)
        main(["check", "-c", str(compiler.settings)])
        said = "".join(capsys.readouterr())
        assert ("serves an entry that expired when 2026-12-24 was over" in said) is is_told
        (row,) = _table_rows(Seen)  # type: ignore[arg-type]
        assert ("EXPIRED 2026-12-24: forkpolicy-compile t" in row) is is_told


def test_the_day_ends_at_local_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the host is."""
    for zone, hours in (("UTC", 24), ("Pacific/Auckland", 11), ("America/Los_Angeles", 32)):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        begin = 1798070400  # 2026-12-24T00:00Z
        assert expiry.end_of("2026-12-24") == begin + hours * 3600
    monkeypatch.undo()
    time.tzset()
