"""Pages about digests with a real store: a link of one, the choice of a person, failures on the first page."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace

import pytest

from forkpolicy.console.access.gate import Entered
from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.held.troubles import notices_of
from forkpolicy.gateway.client import ask
from forkpolicy.gateway.digest_messages import DigestFailed, DigestFailure, DigestsDue, DigestsRan
from forkpolicy.gateway.store.link_tokens import LinkTokens
from forkpolicy.gateway.store_messages import DeleteHeld, Scope, TroublesReply
from tests.console.asking import Browser
from tests.console.held import HeldConsole

ALL = Scope(everything=True)
OTHERS = '[digest]\nsender = "gateway@example.com"\nurl = "https://mail.example.com"\nlanguage = "es"\n'
DOMAINS = {"example.com": "daily", "example.net": "daily"}
HOSTILE = b"Subject: <script>alert(1)</script>\r\nFrom: <img src=x> <ann@example.org>\r\n\r\nSecret text\r\n"


class Nobody:
    """A gate through which nobody has come who signed in."""

    def enter(self, _asked):
        """Whatever was asked."""
        return Entered("192.0.2.7")


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    with HeldConsole(tmp_path_factory.mktemp("digests"), others=OTHERS) as made:
        yield made


@pytest.fixture
def stranger(console):
    """A browser of somebody who has not signed in."""
    return Browser(application(console.parts, Nobody()))


def link_of(console, held):
    """The address of a mail's link, as a digest has it."""
    due = ask(console.store.api, DigestsDue(DOMAINS)).due
    return next(f"/d/{mail.token}" for digest in due for mail in digest.mails if mail.id == held)


def test_a_link_shows_one_mail_to_who_has_it(console, stranger):
    """Sender, subject, cause, in the language of the digest; neither its text nor its headers; nothing changes."""
    (held,) = console.hold(HOSTILE)
    link = link_of(console, held)
    for _ in range(3):
        page = stranger.get(link)
        assert page.status == 200
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>alert" not in page.text
    assert "El filtro lo considera correo basura." in page.text
    assert '<html lang="es"' in page.text
    assert "Secret" not in page.text
    assert 'value="release"' in page.text
    assert 'value="delete"' in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert console.states()[held] == "held"
    assert stranger.json(link)["mail"]["recipient"] == "anna@example.com"


@pytest.mark.parametrize(
    ("action", "state", "words"),
    [("release", "releasing", "el correo se liberó"), ("delete", "deleted", "el correo se borró")],
)
def test_a_link_acts_once(console, stranger, action, state, words):
    """The page then says what was done, and no more about the mail; the audit has whose link it was, once."""
    (held,) = console.hold(HOSTILE)
    link = link_of(console, held)
    for _ in range(2):
        answer = stranger.post(link, {"do": action})
        assert (answer.status, answer.headers["location"]) == (303, link)
    assert stranger.post(link, {"do": "delete" if action == "release" else "release"}).status == 303
    page = stranger.get(link).text
    assert words in page
    assert "alert(1)" not in page
    assert "<button" not in page.partition("<main")[2].partition("</main>")[0]
    assert console.states()[held] == state
    (entry,) = console.parts.audit.find(about=f"mail {held}")
    assert (entry.who, entry.client) == ("anna@example.com", "192.0.2.7")
    assert entry.what == f"held mail {'released' if action == 'release' else 'deleted'} by the link of a digest"


def test_an_old_link_says_so(console, stranger):
    """And does nothing."""
    (held,) = console.hold(HOSTILE)
    link = f"/d/{LinkTokens(console.store.path).make(held, 'anna@example.com', 1_700_000_000)}"
    assert "Este enlace es demasiado antiguo" in stranger.get(link).text
    stranger.post(link, {"do": "delete"})
    assert console.states()[held] == "held"


def test_a_link_to_mail_that_was_deleted_elsewhere_says_so(console, stranger):
    """With its state."""
    (held,) = console.hold(HOSTILE)
    link = link_of(console, held)
    ask(console.store.api, DeleteHeld(ALL, (held,), "anna"))
    assert "Estado del correo: borrado." in stranger.get(link).text


def test_what_is_no_link_is_not_found(console, stranger):
    """By GET and POST, for those who have signed in, too: another's mail cannot be tried."""
    (held,) = console.hold(HOSTILE, "bob@example.com")
    good = link_of(console, held)
    forged = [good[:-1] + ("a" if good[-1] != "a" else "b"), "/d/1", f"/d/{'a' * 48}"]
    for browser in (stranger, console.browser()):
        for each in forged:
            assert browser.get(each).status == 404
            assert browser.post(each, {"do": "delete", "token": "token"}).status == 404
    assert console.states()[held] == "held"


def test_a_link_does_the_two_things_and_no_other(console, stranger):
    """Another word is a mistake of the form."""
    (held,) = console.hold(HOSTILE)
    assert stranger.post(link_of(console, held), {"do": "not_spam"}).status == 422
    assert stranger.post(link_of(console, held), {}).status == 422


def test_a_virus_is_deleted_by_a_link_and_not_released(console, stranger):
    """There is no button, and a form without one changes nothing."""
    (held,) = console.hold(HOSTILE, cause="virus")
    link = link_of(console, held)
    page = stranger.get(link).text
    assert 'value="release"' not in page
    assert "Solo un administrador" in page
    assert stranger.post(link, {"do": "release"}).status == 303
    assert console.states()[held] == "held"
    stranger.post(link, {"do": "delete"})
    assert console.states()[held] == "deleted"


def test_a_domain_whose_users_ask_has_links_that_do_not_release(console, stranger):
    """`release=admins` holds for links, too."""
    (held,) = console.hold(HOSTILE, "carl@example.net")
    link = link_of(console, held)
    assert 'value="release"' not in stranger.get(link).text
    stranger.post(link, {"do": "release"})
    assert console.states()[held] == "held"
    assert "Este enlace sirve una sola vez" in stranger.get(link).text


def test_a_person_chooses_for_own_addresses(console):
    """The choice is kept by the store and shown again; the audit has it."""
    browser = console.browser(addresses=frozenset({"anna@example.com", "anna@example.org"}))
    page = browser.get("/held/digest")
    assert "anna@example.com" in page.text
    assert "This mail server holds no mail for this domain." in page.text
    answer = browser.post("/held/digest", {"address": "anna@example.com", "schedule": "weekly", "language": "ca"})
    assert (answer.status, answer.headers["location"]) == (303, "/held/digest?done=1")
    row = browser.json("/held/digest")["rows"][0]
    assert (row["schedule"], row["language"], row["usual"]) == ("weekly", "ca", "never")
    assert "Kept." in browser.get("/held/digest?done=1").text
    assert console.parts.audit.find(about="anna@example.com")[0].reason == "weekly, ca"
    browser.post("/held/digest", {"address": "Anna@example.com", "schedule": "", "language": ""})
    assert browser.json("/held/digest")["rows"][0]["schedule"] == ""


def test_nobody_chooses_for_others(console):
    """Neither a user nor an administrator; words that are none of ours are mistakes."""
    form = {"address": "bob@example.com", "schedule": "daily", "language": ""}
    for role in (Role.USER, Role.ADMIN, Role.DOMAIN):
        assert console.browser(role, domains=frozenset({"example.com"})).post("/held/digest", form).status == 404
    for more in ({"schedule": "hourly"}, {"language": "xx"}):
        assert console.browser().post("/held/digest", {**form, "address": "anna@example.com", **more}).status == 422
    assert console.store.rows("SELECT count(*) FROM digest_choice WHERE address = 'bob@example.com'") == [(0,)]


def test_an_account_without_an_address_is_told_what_to_do(console):
    """There is nothing to choose for."""
    page = console.browser(Role.ADMIN).json("/held/digest")
    assert page["rows"] == []
    assert "an administrator adds one" in page["sentence"]


def test_failures_are_on_the_first_page_of_an_administrator(console):
    """For whom, why, and since when; gone once it went well."""
    ask(console.store.api, DigestFailed("bob@example.com", "550 5.1.1 no such user"))
    ask(console.store.api, DigestFailed("", "127.0.0.1:10026: connection refused"))
    texts = [each["text"] for each in console.browser(Role.ADMIN).json("/now")["notices"]]
    assert any(text.startswith("No digest for bob@example.com since 20") and "no such user" in text for text in texts)
    assert any("No digest for anybody since" in text and "refused" in text for text in texts)
    with contextlib.closing(sqlite3.connect(console.store.path / "held.db", timeout=20)) as connection, connection:
        connection.execute("DELETE FROM digest_failure WHERE about != ''")
    ask(console.store.api, DigestsRan())
    assert not [each for each in console.browser(Role.ADMIN).json("/now")["notices"] if "digest" in each["text"]]


def test_many_failures_are_a_few_notices():
    """Five, and how many more; runs that no longer end are one, where digests are to be sent."""
    failures = tuple(DigestFailure(f"u{n}@example.com", "550 no", 1.0, 2.0) for n in range(9))
    reply = TroublesReply(("mail log: gone",), failures, 100.0)
    texts = [each.text for each in notices_of(reply, 1_000_000.0, sends_digests=True)]
    assert len(texts) == 8
    assert texts[0] == "The store of held mail: mail log: gone"
    assert texts[6] == "4 more digests fail: forkpolicy gateway check names them."
    assert texts[7] == "No run of digests has ended since 1970-01-01 00:01:40 UTC: forkpolicy-digest.timer starts one."
    assert len(list(notices_of(replace(reply, digests_ran_s=None), 1e6, sends_digests=True))) == 7
    assert len(list(notices_of(reply, 1e6, sends_digests=False))) == 7


def test_a_store_that_is_away_is_a_notice_of_the_first_page(console, stranger):
    """The page is there all the same; a link says that it is not known now, and nothing of this server."""
    (held,) = console.hold(HOSTILE)
    link = link_of(console, held)
    console.store.stop()
    try:
        page = console.browser(Role.ADMIN).json("/now")
        assert any("the store of held mail" in each["text"] for each in page["notices"])
        for answer in (stranger.get(link), stranger.post(link, {"do": "delete"})):
            assert answer.status == 503
            assert "Later" in answer.text
            assert "api.sock" not in answer.text
    finally:
        console.store.start()
