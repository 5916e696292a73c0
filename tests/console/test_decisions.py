"""Decisions: words, pasted texts, groups, pages, CSV; and that each account sees its own."""

from __future__ import annotations

import csv
import io
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.history_settings import HistorySettings
from forkpolicy.settings import Settings
from tests.console.asking import Browser, SignedIn
from tests.history_logs import NOON_S, begin, decision, line_of

HOSTILE = '<script>alert(1)</script>"\u202e@evil.example'

# In UTC it is of the year 10000.
LATEST = "since:9999-12-31T23:59:59-23:59"


@pytest.fixture
def parts(tmp_path):
    """A history of 120 decisions about many recipients, and some others."""
    lines = [
        begin(),
        *(
            decision(NOON_S + number, sender=f"s{number}@example.org", recipient=f"r{number % 3}@example.com")
            for number in range(120)
        ),
    ]
    lines.append(
        decision(
            NOON_S + 200,
            code="0000anna0001",
            recipient="anna@example.net",
            sasl_username="joe@example.com",
            client_address="2001:db8::7",
            action="450 4.7.1 later",
            rule="other.conf:3",
        )
    )
    lines.append(decision(NOON_S + 201, code="0000hstl0001", sender=HOSTILE, recipient="bert@example.net"))
    lines.append(line_of("log lines lost", NOON_S + 202, count=2, reason="no room"))
    log, store = tmp_path / "log.json", Store(str(tmp_path / "history"))
    ingester = Ingester(str(log), store, 3650, print, lambda: NOON_S)
    log.write_bytes(b"".join(lines[:100]))
    ingester.turn()
    for day in store._days.values():
        day.settle()
    log.write_bytes(b"".join(lines))
    ingester.turn()
    ingester.close()
    return Parts(Settings(history=HistorySettings(path=str(tmp_path / "history"))))


def browser(parts, role=Role.OPERATOR, **account):
    """One who has signed in."""
    return Browser(application(parts, SignedIn(role, **account)))


def test_the_newest_are_shown_and_pages_go_on(parts):
    """Fifty at a time, to the last one, none twice."""
    asked, address, seen = browser(parts), "/decisions", []
    while address:
        found = asked.json(address)
        seen += [row["id"] for row in found["rows"]]
        address = found["next"] and f"/decisions?before={found['next']}"
    assert len(seen) == len(set(seen)) == 122
    page = asked.get("/decisions")
    assert page.status == 200
    assert "The newest 50 decisions; there are more." in page.text
    assert "2 decisions are missing: no room" in page.text
    assert "forkpolicy history find since:30d" in page.text


def test_words_narrow_it(parts):
    """Each word is a chip with its meaning and a link without it."""
    asked = browser(parts)
    found = asked.json("/decisions?q=to:r0@example.com+from:@example.org")
    assert len(found["rows"]) == 40
    assert [each["meaning"] for each in found["chips"]] == [
        "recipient r0@example.com",
        "sender in the domain example.org",
    ]
    assert found["chips"][0]["without"] == ["from:@example.org"]
    page = asked.get("/decisions?q=to:r0@example.com+from:@example.org").text
    assert "forkpolicy history find to:r0@example.com from:@example.org" in page
    assert 'href="/decisions?q=from%3A%40example.org"' in page


def test_a_value_is_a_link_that_filters(parts):
    """The word of a value takes the place of another one of its kind."""
    page = browser(parts).get("/decisions?q=action:450+client:2001:db8::/32").text
    assert 'href="/decisions?q=action%3A450+client%3A2001%3Adb8%3A%3A7"' in page
    assert 'href="/why/0000anna0001"' in page


@pytest.mark.parametrize(
    "text",
    [
        "550 5.7.1 <bert@example.net>: Recipient address rejected: no (0000hstl0001)",
        (
            "Nov 28 12:03:21 mx1 postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[2001:db8::7]: 450 4.7.1 later; "
            "from=<a@example.org> to=<anna@example.net> proto=ESMTP helo=<x>"
        ),
    ],
)
def test_a_pasted_text_finds_its_mail(parts, text):
    """In the search line, and where there is room for a long one."""
    asked = browser(parts)
    found = asked.json(f"/decisions?q={quote(text)}")
    (row,) = found["rows"]
    assert found["is_text"]
    sent = asked.post("/decisions", {"text": f"{text}\n\n{'x' * 20_000}"})
    assert sent.status == 303
    words = parse_qs(urlsplit(sent.headers["location"]).query)
    assert [each["id"] for each in asked.json(f"/decisions?q={quote(words['q'][0])}")["rows"]] == [row["id"]]


def test_a_text_about_nothing_says_what_was_looked_for(parts):
    """And why nothing may be there."""
    text = "From: Mail Delivery <MAILER-DAEMON@x.example>\nYour message to <nobody@example.info> could not be delivered"
    page = browser(parts).post("/decisions", {"text": text})
    assert page.status == 200
    assert "Nothing was found about that text." in page.text
    assert "to:nobody@example.info" in page.text
    assert "the history begins on" in page.text


@pytest.mark.parametrize("line", ["two words", "sice:2h", "since:yesterday", "client:none", LATEST])
def test_what_is_not_understood_is_said(parts, line):
    """The page keeps what was typed."""
    answer = browser(parts).get(f"/decisions?q={quote(line)}")
    assert answer.status == 422
    assert 'class="notice mistake"' in answer.text
    assert f'value="{line}"' in answer.text


@pytest.mark.parametrize(
    ("group", "value", "count"),
    [("domain", "example.org", 121), ("network", "2001:db8::/64", 1), ("rule", "other.conf:3", 1)],
)
def test_groups_count(parts, group, value, count):
    """Each with the words that find its decisions."""
    groups = browser(parts).json(f"/decisions?group={group}")["groups"]
    assert not groups["is_part"]
    found = next(each for each in groups["rows"] if each["value"] == value)
    assert found["decisions"] == count
    page = browser(parts).get(f"/decisions?group={group}")
    assert "Of all 122 decisions that were found." in page.text
    words = " ".join(found["words"])
    assert len(browser(parts).json(f"/decisions?q={quote(words)}")["rows"]) == min(count, 50)


def test_csv_has_all(parts):
    """Not the page alone."""
    answer = browser(parts).get("/decisions?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 122
    assert rows[0]["id"] == "0000hstl0001"


def test_hostile_text_is_text(parts):
    """In every form."""
    page = browser(parts).get("/decisions").text
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert browser(parts).json("/decisions")["rows"][0]["sender"] == HOSTILE


OF_DOMAIN = {"domains": frozenset({"example.com"})}
OF_USER = {"addresses": frozenset({"anna@example.net"})}


@pytest.mark.parametrize(
    ("role", "account", "count"),
    [
        (Role.ADMIN, {}, 122),
        (Role.DOMAIN, OF_DOMAIN, 121),
        (Role.USER, OF_USER, 1),
        (Role.USER, {}, 0),
        (Role.DOMAIN, {}, 0),
        (Role.USER, OF_DOMAIN, 0),
    ],
)
def test_each_sees_its_own(parts, role, account, count):
    """In the list, in CSV, in groups, and by a pasted text."""
    asked = browser(parts, role, **account)
    rows = list(csv.DictReader(io.StringIO(asked.get("/decisions?format=csv").text))) if count else []
    assert len(rows) == count
    assert len(asked.json("/decisions")["rows"]) == min(count, 50)
    if count:
        groups = asked.json("/decisions?group=domain")["groups"]
        assert groups["decisions"] == count
    else:
        assert "this account sees" in asked.get("/decisions").text
    if role is not Role.ADMIN:
        assert asked.json("/decisions?q=id:0000hstl0001")["rows"] == []
        assert asked.json(f"/decisions?q={quote('<bert@example.net>: (0000hstl0001)')}")["rows"] == []


def test_others_see_nothing_of_the_server(parts):
    """No rule, no host; no login of another domain; no search in whole lines, which have rules and entries."""
    (row,) = browser(parts, Role.USER, **OF_USER).json("/decisions")["rows"]
    assert {row[name] for name in ("rule", "acls", "host", "in_force", "login")} == {None}
    (row, *_) = browser(parts, Role.DOMAIN, **OF_DOMAIN).json("/decisions")["rows"]
    assert row["login"] == "joe@example.com"
    page = browser(parts, Role.USER, **OF_USER).get("/decisions").text
    assert "other.conf" not in page
    assert "forkpolicy history" not in page
    assert browser(parts, Role.USER, **OF_USER).get("/decisions?q=~joe").status == 422
    assert browser(parts, Role.USER, **OF_USER).json("/decisions?group=rule")["groups"] is None


@pytest.mark.parametrize("account", [(Role.USER, OF_USER), (Role.DOMAIN, {"domains": frozenset({"example.net"})})])
def test_what_is_not_shown_is_not_found(parts, account):
    """A login that is hidden would be said letter by letter; a rule or host, by guesses."""
    role, scope = account
    asked = browser(parts, role, **scope)
    for line in ("login:j*", "login:joe@example.com", "joe@example.com", "login:@example.com", "to:anna* login:joe*"):
        assert asked.json(f"/decisions?q={quote(line)}")["rows"] == [], line
        assert asked.get(f"/decisions?q={quote(line)}&format=csv").headers["content-type"] != "text/csv; charset=utf-8"
    assert len(asked.json("/decisions?q=anna*")["rows"]) == 1
    assert len(asked.json("/decisions?q=anna@example.net")["rows"]) == 1
    for line in ("rule:other.conf:3", "host:mx1"):
        assert asked.get(f"/decisions?q={line}").status == 422
    own = browser(parts, Role.DOMAIN, domains=frozenset({"example.com"}))
    assert len(own.json("/decisions?q=login:j*")["rows"]) == 1


@pytest.mark.parametrize("address", ["/decisions?before=x", "/decisions?before=2026-11-28.", "/decisions?group=none"])
def test_an_address_that_somebody_made_up(parts, address):
    """A sentence, and no bug."""
    assert browser(parts).get(address).status in (200, 422)


def test_a_history_that_is_away_is_said(tmp_path):
    """The page stays."""
    away = Parts(Settings(history=HistorySettings(path=str(tmp_path / "none"))))
    answer = browser(away).get("/decisions?q=to:anna@example.com")
    assert answer.status == 200
    assert "cannot be read" in answer.text


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("an", ["anna@example.net"]),
        ("since:2h to:ANNA", ["since:2h", "to:anna@example.net"]),
        ("from:s1@", ["from:s1@example.org"]),
        ("to:@example.o", ["to:@example.org"]),
        ("example.o", ["example.org"]),
        ("fr", ["from:"]),
    ],
)
def test_what_is_typed_is_completed(parts, typed, words):
    """The last word, from the history; the others stay."""
    assert words in browser(parts).json(f"/decisions/words?q={quote(typed)}")["lines"]
    part = browser(parts).get(f"/decisions/words?q={quote(typed)}").text
    assert "<html" not in part


@pytest.mark.parametrize("typed", ["", "z", "to:anna ", "client:20", "since:2", "x" * 300, "'", "to:\udcff"])
def test_nothing_is_completed(parts, typed):
    """Where nothing begins so, or nearly everything."""
    typed = quote(typed.encode("utf-8", "surrogateescape"))
    assert browser(parts).json(f"/decisions/words?q={typed}")["lines"] == []


def test_completion_knows_no_names_of_others(parts):
    """A sender is not within the scope of its own domain, and no other recipient is."""
    domain = browser(parts, Role.DOMAIN, **OF_DOMAIN)
    assert domain.json("/decisions/words?q=r0")["lines"] == [["r0@example.com"]]
    for typed in ("anna", "bert", "s1", "example.org"):
        assert domain.json(f"/decisions/words?q={typed}")["lines"] == []
    user = browser(parts, Role.USER, **OF_USER)
    assert user.json("/decisions/words?q=anna")["lines"] == [["anna@example.net"]]
    assert user.json("/decisions/words?q=r0")["lines"] == []
