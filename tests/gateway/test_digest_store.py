"""What a real store says about digests: who is due, what is new, choices, failures; and its older database."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import time

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.digest_messages import DigestFailed, DigestsDue, DigestSent, DigestsRan
from forkpolicy.gateway.store import schema
from forkpolicy.gateway.store.link_tokens import LinkTokens
from forkpolicy.gateway.store_messages import (
    ChooseDigest,
    DeleteHeld,
    DigestChoice,
    Refused,
    Scope,
    ShowDigestChoice,
    StoreStatus,
)
from tests.gateway.stores import LmtpClient, Store

ALL = Scope(everything=True)
ALICE = Scope(addresses=("alice@example.com",))
MAIL = b"From: News <news@example.org>\r\nSubject: Hello\r\n\r\nText\r\n"
DAILY = {"example.com": "daily"}


@pytest.fixture
def store(tmp_path):
    """A store without a policy server: everything stays."""
    with Store(tmp_path) as store:
        yield store


def hold(store, *recipients, queue_id="4Xq1", name="store"):
    """Have a mail held for these."""
    with LmtpClient(store.sockets / name) as client:
        assert client.send("news@example.org", list(recipients), MAIL, queue_id)


def due(store, schedules=DAILY, **more):
    """Who is due."""
    return ask(store.api, DigestsDue(schedules, **more)).due


def sent(store, digest, queue_id=""):
    """The release port has that digest."""
    ask(store.api, DigestSent(digest.address, digest.up_to, queue_id))


def age(store, days):
    """Let the last digests be older than they are."""
    with contextlib.closing(sqlite3.connect(store.path / "held.db", timeout=20)) as connection, connection:
        connection.execute("UPDATE digest SET sent_s = sent_s - ?", (days * 86_400,))


def choose(store, schedule, language="", address="alice@example.com", scope=ALL):
    """Choose for an address."""
    return ask(store.api, ChooseDigest(scope, address, schedule, language, "alice"))


def test_nobody_is_due_where_neither_domain_nor_person_wants_digests(store):
    """Off by default: of a domain that says off, and of one that is not served."""
    hold(store, "alice@example.com", "bob@example.net")
    assert due(store, {"example.com": "off"}) == ()
    assert due(store, {}) == ()


def test_a_digest_has_the_new_mail_of_one_address(store):
    """The newest first, with a link each; letters of either case are one address, written as the newest mail has it."""
    hold(store, "Alice@example.com", queue_id="1")
    hold(store, "alice@Example.com", "bob@example.com", queue_id="2", name="store-spam")
    alice, bob = due(store)
    assert (alice.address, alice.recipient, alice.count, alice.language) == (
        "alice@example.com",
        "alice@Example.com",
        2,
        "en",
    )
    assert [(mail.subject, mail.from_header, mail.cause) for mail in alice.mails] == [
        ("Hello", "News <news@example.org>", "spam"),
        ("Hello", "News <news@example.org>", "policy"),
    ]
    assert len({mail.token for mail in (*alice.mails, *bob.mails)}) == 3


def test_what_was_in_a_digest_is_not_new(store):
    """Nothing new: no digest, however long ago the last one was. Deleted mail is not new, either."""
    hold(store, "alice@example.com", queue_id="1")
    sent(store, due(store)[0])
    age(store, 30)
    assert due(store) == ()
    hold(store, "alice@example.com", queue_id="2")
    (digest,) = due(store)
    assert (digest.count, digest.up_to) == (1, 2)
    ask(store.api, DeleteHeld(ALL, (2,), "alice"))
    assert due(store) == ()


@pytest.mark.parametrize(("schedule", "early", "late"), [("daily", 0.5, 0.9), ("weekly", 6, 6.9)])
def test_a_schedule_is_kept(store, schedule, early, late):
    """Daily is not twice a day; weekly not within six days; some hours too early are let pass."""
    hold(store, "alice@example.com", queue_id="1")
    sent(store, due(store, {"example.com": schedule})[0])
    hold(store, "alice@example.com", queue_id="2")
    age(store, early)
    assert due(store, {"example.com": schedule}) == ()
    age(store, late - early)
    assert len(due(store, {"example.com": schedule})) == 1


def test_a_person_decides_against_the_domain(store):
    """off, daily and a language of the person win over the domain's line; an empty choice is the domain's again."""
    hold(store, "alice@example.com")
    choose(store, "off")
    assert due(store) == ()
    choose(store, "daily", "ca")
    assert [digest.language for digest in due(store, {"example.com": "off"})] == ["ca"]
    choose(store, "", "es")
    assert due(store, {"example.com": "off"}) == ()
    assert [digest.language for digest in due(store)] == ["es"]


def test_a_person_of_a_domain_that_is_not_served_gets_none(store):
    """A mail to it would leave for anywhere."""
    hold(store, "alice@example.com")
    choose(store, "daily")
    assert due(store, {"example.net": "daily"}) == ()


def test_choices_are_kept_and_shown_within_a_scope(store):
    """Also over a restart; an address out of the scope, and words that are none of ours, are refused."""
    assert ask(store.api, ShowDigestChoice(ALICE, "alice@example.com")) == DigestChoice("", "")
    assert choose(store, "weekly", "es", "Alice@example.com", ALICE).changed == 1
    store.stop()
    store.start()
    assert ask(store.api, ShowDigestChoice(ALICE, "ALICE@example.com")) == DigestChoice("weekly", "es")
    domain = Scope(domains=("example.com",))
    assert ask(store.api, ShowDigestChoice(domain, "alice@example.com")) == DigestChoice("weekly", "es")
    assert choose(store, "off", "", "bob@example.com", ALICE).kind == "not_yours"
    assert ask(store.api, ShowDigestChoice(ALICE, "bob@example.com")).kind == "not_yours"
    assert isinstance(choose(store, "hourly"), Refused)
    assert isinstance(choose(store, "daily", "xx"), Refused)


def test_nothing_is_kept_of_who_chose_nothing_and_has_no_mail(store):
    """A choice that was taken back is no row; the last digest of an address goes with its last mail, after a run."""
    hold(store, "alice@example.com", "bob@example.com")
    choose(store, "daily", "ca")
    choose(store, "", "")
    assert store.rows("SELECT * FROM digest_choice") == []
    for each in due(store):
        sent(store, each)
    with contextlib.closing(sqlite3.connect(store.path / "held.db", timeout=20)) as connection, connection:
        connection.execute("DELETE FROM event WHERE held = 1")
        connection.execute("DELETE FROM held WHERE id = 1")
    ask(store.api, DigestsRan())
    assert store.rows("SELECT address FROM digest") == [("bob@example.com",)]


def test_pages_of_addresses_follow_one_another(store):
    """Every address is looked at once, also those that are not due."""
    hold(store, *(f"u{number:02}@{'example.com' if number % 3 else 'example.net'}" for number in range(20)))
    seen, after = [], ""
    for _ in range(9):
        reply = ask(store.api, DigestsDue(DAILY, after, 3))
        seen += [digest.address for digest in reply.due]
        after = reply.after
        if not after:
            break
    assert seen == [f"u{number:02}@example.com" for number in range(20) if number % 3]


def test_a_long_digest_lists_the_newest(store):
    """A hundred mails are listed, all are counted, and all of them are old after it."""
    for number in range(3):
        with LmtpClient(store.sockets / "store") as client:
            for more in range(35):
                client.send("news@example.org", ["alice@example.com"], MAIL, f"q{number}-{more}")
    (digest,) = due(store)
    assert (digest.count, digest.up_to, len(digest.mails)) == (105, 105, 100)
    assert [mail.id for mail in digest.mails] == list(range(105, 5, -1))
    sent(store, digest)
    age(store, 2)
    assert due(store) == ()


def test_failures_are_kept_until_it_goes_well(store):
    """Since when, the last error; of a person until a digest is sent, of all until a run ends; off ends it, too."""
    hold(store, "alice@example.com")
    ask(store.api, DigestFailed("alice@example.com", "550 no such user"))
    ask(store.api, DigestFailed("bob@example.com", "450 later"))
    ask(store.api, DigestFailed("", "127.0.0.1:10026: connection refused"))
    first = {each.about: each for each in ask(store.api, StoreStatus()).digest_failures}
    ask(store.api, DigestFailed("alice@example.com", "551 moved"))
    again = {each.about: each for each in ask(store.api, StoreStatus()).digest_failures}
    assert set(again) == {"alice@example.com", "bob@example.com", ""}
    assert again["alice@example.com"].error == "551 moved"
    assert again["alice@example.com"].since_s == first["alice@example.com"].since_s < again["alice@example.com"].last_s
    assert ask(store.api, StoreStatus()).digests_ran_s is None
    sent(store, due(store)[0])
    choose(store, "off", address="bob@example.com")
    ask(store.api, DigestsRan())
    status = ask(store.api, StoreStatus())
    assert status.digest_failures == ()
    assert status.digests_ran_s > 0


def test_a_store_of_the_first_release_is_upgraded(tmp_path):
    """Its mail stays, digests work; one of a later release is left alone, with a message."""
    path = tmp_path / "held" / "held.db"
    path.parent.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{schema._FIRST}PRAGMA user_version = 1;")
        connection.execute(
            "INSERT INTO message VALUES"
            " (1, 'd', 'q', ?, 's', 1, 'old', '', '', '', '', '', 'spam', 7, '', '[]', 0, 0, '', '')",
            (time.time(),),
        )
        connection.execute(
            "INSERT INTO held VALUES (1, 1, 'a@example.com', 'a@example.com', 'example.com', ?, 'held', '', 1, '', '',"
            " '', '', '', '', 0)",
            (time.time(),),
        )
        connection.commit()
        # Keys were in lower case, and are folded now.
        connection.execute(
            "INSERT INTO held VALUES (2, 1, 'A@Bücher.example', 'a@bücher.example', 'bücher.example', 1, 'held', '', 1,"
            " '', '', '', '', '', '', 0)"
        )
        connection.commit()
    with Store(tmp_path) as store:
        assert [mail.subject for mail in due(store)[0].mails] == ["old"]
        keys = store.rows("SELECT recipient_key, domain FROM held ORDER BY id")
        assert keys == [("a@example.com", "example.com"), ("a@xn--bcher-kva.example", "xn--bcher-kva.example")]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        connection.execute("PRAGMA user_version = 999")
    newer = Store(tmp_path)
    with pytest.raises(AssertionError, match="is of version 999"):
        newer.start()
    newer.stop()


def test_the_key_of_links_is_the_stores_own(store):
    """A file that nobody else reads, and that stays over a restart; one that was cut short is an error in words."""
    key = store.path / "link.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = LinkTokens(store.path).make(1, "alice@example.com", 2_000_000_000)
    store.stop()
    store.start()
    assert LinkTokens(store.path).make(1, "alice@example.com", 2_000_000_000) == before
    store.stop()
    key.write_bytes(b"short")
    with pytest.raises(AssertionError, match="expected a key of 32 bytes, found 5"):
        store.start()
