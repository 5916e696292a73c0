"""Links of digests at a real store: what one shows, that it acts once, and what is no link."""

from __future__ import annotations

import threading

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.digest_messages import DigestsDue, ShowLink, UseLink
from forkpolicy.gateway.store.link_tokens import LinkTokens, read_token
from forkpolicy.gateway.store_messages import ChooseDigest, DeleteHeld, ReleaseHeld, Scope, ShowHeld
from tests.gateway.next_servers import NextServer
from tests.gateway.stores import LmtpClient, Store

ALL = Scope(everything=True)
MAIL = (
    b"From: News <news@example.org>\r\nSubject: Hello\r\nX-Spamd-Result: default: False [9.10 / 15.00]\r\n\r\nText\r\n"
)


@pytest.fixture
def next_server():
    """Takes what is released."""
    with NextServer() as server:
        yield server


@pytest.fixture
def store(tmp_path, next_server):
    """A mail each for alice and bob, held as spam; a virus for alice."""
    more = f'[release]\nsmtp = "127.0.0.1:{next_server.port}"\nretry_s = 1\n'
    with Store(tmp_path, others=more) as store:
        with LmtpClient(store.sockets / "store-spam") as client:
            client.send("news@example.org", ["alice@example.com", "bob@example.com"], MAIL, "spam")
        with LmtpClient(store.sockets / "store-virus") as client:
            client.send("news@example.org", ["alice@example.com"], MAIL, "virus")
        yield store


def token_of(store, held):
    """The token of a mail's link, as a digest has it."""
    due = ask(store.api, DigestsDue({"example.com": "daily"})).due
    return next(mail.token for digest in due for mail in digest.mails if mail.id == held)


def state(store, held):
    """The state of a copy."""
    return ask(store.api, ShowHeld(ALL, held)).row.state


def test_a_link_shows_one_mail_and_changes_nothing(store):
    """Sender, subject, cause and score of that mail, however often it is looked at."""
    token = token_of(store, 1)
    shown = [ask(store.api, ShowLink(token)) for _ in range(3)]
    assert shown[0] == shown[1] == shown[2]
    (first, *_) = shown
    assert (first.standing, first.recipient, first.subject, first.cause, first.spam_score) == (
        "open",
        "alice@example.com",
        "Hello",
        "spam",
        9.1,
    )
    assert first.actions == ("release", "delete")
    assert state(store, 1) == "held"


def test_a_link_releases_once(store, next_server):
    """The mail goes on to that recipient alone; the second use changes nothing and says what the first did."""
    token = token_of(store, 1)
    done = ask(store.api, UseLink(token, "release"))
    assert (done.standing, done.used_for, done.is_done) == ("used", "release", True)
    next_server.wait_for(1)
    assert "alice@example.com" in next_server.taken[0].recipient
    again = ask(store.api, UseLink(token, "delete"))
    assert (again.standing, again.used_for, again.is_done) == ("used", "release", False)
    assert (again.subject, again.sender, again.actions) == ("", "", ())
    assert state(store, 2) == "held"


def test_a_link_that_released_does_not_act_again_after_a_refusal(store, next_server):
    """The next server refuses, the mail is held again: the link stays used."""
    next_server.replies["alice@example.com"] = "550 5.7.1 not here"
    token = token_of(store, 1)
    ask(store.api, UseLink(token, "release"))
    never = threading.Event()
    for _ in range(600):
        if ask(store.api, ShowHeld(ALL, 1)).row.backend_reply and state(store, 1) == "held":
            break
        never.wait(0.05)
    assert ask(store.api, UseLink(token, "delete")).is_done is False
    assert state(store, 1) == "held"


def test_a_link_deletes(store):
    """The copy of that recipient, with an event that says how; the file stays while another copy needs it."""
    assert ask(store.api, UseLink(token_of(store, 1), "delete")).is_done
    assert [state(store, 1), state(store, 2)] == ["deleted", "held"]
    assert ask(store.api, ShowHeld(ALL, 1)).events[-1][1:] == ("alice@example.com", "deleted by the link of a digest")
    files = [each for each in (store.path / "mail").rglob("*") if each.is_file()]
    assert len(files) == 1
    ask(store.api, UseLink(token_of(store, 3), "delete"))
    ask(store.api, UseLink(token_of(store, 2), "delete"))
    assert not files[0].exists()


def test_of_six_uses_at_once_one_acts(store):
    """Six clients with one link: one is done."""
    token, replies = token_of(store, 1), []
    threads = [
        threading.Thread(target=lambda: replies.append(ask(store.api, UseLink(token, "delete")))) for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(reply.is_done for reply in replies) == [False] * 5 + [True]


def test_a_virus_is_not_released_by_a_link(store):
    """It may be deleted; a release changes nothing and leaves the link open."""
    token = token_of(store, 3)
    assert ask(store.api, ShowLink(token)).actions == ("delete",)
    refused = ask(store.api, UseLink(token, "release"))
    assert (refused.standing, refused.is_done) == ("open", False)
    assert state(store, 3) == "held"
    assert ask(store.api, UseLink(token, "delete")).is_done


@pytest.mark.parametrize("command", [ReleaseHeld, DeleteHeld])
def test_a_link_to_mail_that_was_changed_otherwise_says_so(store, command):
    """Released or deleted in the console: the link says its state, not what it was."""
    token = token_of(store, 1)
    ask(store.api, command(ALL, (1,), "admin"))
    shown = ask(store.api, ShowLink(token))
    assert (shown.standing, shown.subject, shown.actions) == ("changed", "", ())
    assert shown.state != "held"
    assert not ask(store.api, UseLink(token, "delete")).is_done


def test_an_old_link_does_nothing(store):
    """Its end stands in it: after that it says so, and does not show the mail."""
    token = LinkTokens(store.path).make(1, "alice@example.com", 1_700_000_000)
    shown = ask(store.api, ShowLink(token))
    assert (shown.standing, shown.subject) == ("expired", "")
    assert not ask(store.api, UseLink(token, "release")).is_done
    assert state(store, 1) == "held"


def test_a_link_lasts_for_the_days_of_the_settings(store):
    """Seven days from the digest on, to the second that stands in it."""
    shown = ask(store.api, ShowLink(token_of(store, 1)))
    assert -1 < shown.until_s - shown.arrived_s - 7 * 86_400 < 60


def test_what_the_store_did_not_make_is_no_link(store, tmp_path):
    """Another mail's id or another end in a good token, another key, another recipient, noise: all the same reply."""
    token = token_of(store, 1)
    good = read_token(token)
    (tmp_path / "other").mkdir()
    ours, others = LinkTokens(store.path), LinkTokens(tmp_path / "other")
    forged = [
        others.make(1, "alice@example.com", good.until_s),
        ours.make(1, "bob@example.com", good.until_s),
        ours.make(2, "alice@example.com", good.until_s),
        ours.make(99, "alice@example.com", good.until_s),
        ours.make((1 << 48) - 1, "alice@example.com", good.until_s),
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        token[:10] + ("a" if token[10] != "a" else "b") + token[11:],
        token[:-8],
        "",
        "0" * 48,
        "\u00e9" * 48,
        "a" * 10_000,
    ]
    for each in forged:
        assert ask(store.api, ShowLink(each)).kind == "no_such_mail", each
        assert ask(store.api, UseLink(each, "delete")).kind == "no_such_mail", each
    assert [state(store, held) for held in (1, 2, 3)] == ["held"] * 3


def test_a_link_in_capitals_is_the_same(store):
    """Some programs change the case of a URL."""
    assert ask(store.api, ShowLink(token_of(store, 1).upper())).standing == "open"


def test_an_unknown_action_is_refused(store):
    """It is neither of the two."""
    assert ask(store.api, UseLink(token_of(store, 1), "read")).kind == "invalid"


def test_a_link_is_shown_in_the_language_of_its_reader(store):
    """The choice of the address, or the setting's."""
    token = token_of(store, 1)
    assert ask(store.api, ShowLink(token)).language == "en"
    ask(store.api, ChooseDigest(ALL, "alice@example.com", "", "ca", "alice"))
    assert ask(store.api, ShowLink(token)).language == "ca"
