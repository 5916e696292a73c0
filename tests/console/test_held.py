"""The pages of held mail with a real store: who sees what, who may do what, and that both end there."""

from __future__ import annotations

import contextlib
import csv
import sqlite3

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.gateway.store_messages import Changed, HideSender, Scope
from tests.console.held import TEXT, HeldConsole

BOB = frozenset({"bob@example.com"})
ANNA = frozenset({"anna@example.com"})


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    with HeldConsole(tmp_path_factory.mktemp("held")) as made:
        yield made


def rows(browser, query=""):
    """Ids and recipients of a list."""
    return {each["id"]: each["recipient"] for each in browser.json(f"/held{query}")["rows"]}


def test_everybody_sees_their_own(console):
    """A user own addresses, a domain administrator the domain, administrators and operators all."""
    anna, bob, carl = console.hold(TEXT, "Anna@example.com", "bob@example.com", "carl@example.net")
    assert set(rows(console.browser())) & {anna, bob, carl} == {anna}
    assert set(rows(console.browser(addresses=BOB))) & {anna, bob, carl} == {bob}
    domain = console.browser(Role.DOMAIN, domains=frozenset({"example.net"}))
    assert set(rows(domain)) & {anna, bob, carl} == {carl}
    for role in (Role.ADMIN, Role.OPERATOR):
        assert {anna, bob, carl} <= set(rows(console.browser(role)))
    assert rows(console.browser(addresses=frozenset())) == {}


@pytest.mark.parametrize("recipient", ["Anna@Bücher.example", "anna@xn--bcher-kva.example", "ANNA@BÜCHER.EXAMPLE."])
def test_names_are_compared_as_everywhere(console, recipient):
    """International names, large letters and a dot at the end: it is one person, whose domain says who releases."""
    (held,) = console.hold(TEXT, recipient)
    anna = console.browser(addresses=frozenset({"anna@xn--bcher-kva.example"}))
    domain = console.browser(Role.DOMAIN, domains=frozenset({"xn--bcher-kva.example"}))
    assert held in rows(anna)
    assert held in rows(domain)
    assert "Good morning." in anna.get(f"/held/{held}/body").text
    anna.post("/held/act", {"do": "release", f"mail-{held}": "1"})
    assert console.states()[held] == "held"
    domain.post("/held/act", {"do": "delete", f"mail-{held}": "1"})
    assert console.states()[held] == "deleted"


@pytest.mark.parametrize(
    ("sender", "pattern"),
    [
        ("Ä.Ö@example.org", "ä.ö@example.org"),
        ("ann@Bücher.example", "xn--bcher-kva.example"),
        ('"a@b"@example.org', "example.org"),
    ],
)
def test_a_block_finds_every_spelling_of_a_sender(console, sender, pattern):
    """Large letters beyond ASCII, international names, an @ in quotes: what is held of a blocked sender goes."""
    (held,) = console.hold(TEXT, sender=sender)
    scope = Scope(addresses=("anna@example.com",))
    hide = HideSender(scope, "anna@example.com", pattern, "anna")
    console.parts.gateway.ask(hide, Changed)
    assert console.states()[held] == "deleted"


@pytest.mark.parametrize("role", [Role.USER, Role.DOMAIN])
@pytest.mark.parametrize("action", ["release", "not_spam", "delete", "spam", "request"])
def test_mail_of_others_does_not_exist(console, role, action):
    """404 for its page, its text, its file, its attachments and every action; the store changes nothing."""
    (held,) = console.hold()
    account = {"addresses": BOB} if role is Role.USER else {"domains": frozenset({"example.net"})}
    browser = console.browser(role, **account)
    for address in ("", "/body", "/raw", "/parts/1"):
        assert browser.get(f"/held/{held}{address}").status == 404, address
    assert browser.post(f"/held/{held}/read", {"reason": "I want to"}).status == 404
    assert browser.post("/held/act", {"do": action, f"mail-{held}": "1"}).status == 404
    assert console.states()[held] == "held"
    assert browser.json("/held/999999") == browser.json(f"/held/{held}")


def test_own_mail_is_read_without_a_reason(console):
    """And nothing about it stands in the audit."""
    (held,) = console.hold()
    browser = console.browser()
    page = browser.get(f"/held/{held}")
    assert "Hello" in page.text
    assert f'sandbox src="/held/{held}/body"' in page.text
    assert "Good morning." in browser.get(f"/held/{held}/body").text
    assert browser.get(f"/held/{held}/raw").body == TEXT
    assert not [each for each in console.parts.audit.find() if f"mail {held} " in each.about]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.DOMAIN])
def test_mail_of_others_is_read_for_a_reason(console, role):
    """Which the audit keeps; without one neither text nor file."""
    (held,) = console.hold()
    browser = console.browser(role, domains=frozenset({"example.com"}))
    assert "Why you read" in browser.get(f"/held/{held}").text
    for address in ("body", "raw", "parts/1"):
        assert browser.get(f"/held/{held}/{address}").status == 403
    assert browser.post(f"/held/{held}/read", {"reason": " a "}).status == 422
    assert browser.get(f"/held/{held}/body").status == 403
    assert browser.post(f"/held/{held}/read", {"reason": "ticket 4711"}).status == 303
    assert "Good morning." in browser.get(f"/held/{held}/body").text
    entry = console.parts.audit.find(about=f"mail {held} for anna@example.com")[0]
    assert (entry.what, entry.reason, entry.who) == ("held mail read", "ticket 4711", "anna")


def test_a_reason_is_for_one_mail_in_one_session(console):
    """Another mail, or another browser, wants one of its own."""
    first, second = console.hold(), console.hold()
    browser = console.browser(Role.ADMIN)
    browser.post(f"/held/{first[0]}/read", {"reason": "ticket 4711"})
    assert browser.get(f"/held/{second[0]}/body").status == 403
    console.parts.gateway.grants.give("another session", second[0])
    assert browser.get(f"/held/{second[0]}/body").status == 403


def test_an_operator_looks_and_does_nothing(console):
    """Neither text nor action."""
    (held,) = console.hold()
    browser = console.browser(Role.OPERATOR)
    page = browser.get(f"/held/{held}")
    assert page.status == 200
    assert '<button name="do"' not in page.text
    for address in ("body", "raw", "parts/1"):
        assert browser.get(f"/held/{held}/{address}").status == 403
    assert browser.post(f"/held/{held}/read", {"reason": "curious"}).status == 403
    assert browser.post("/held/act", {"do": "delete", f"mail-{held}": "1"}).status == 403
    assert console.states()[held] == "held"


@pytest.mark.parametrize(("action", "state"), [("release", "releasing"), ("delete", "deleted")])
def test_what_is_chosen_is_done(console, action, state):
    """With each of many; the page says with how many, and the audit who did it."""
    held = [*console.hold(), *console.hold()]
    answer = console.browser().post("/held/act", {"do": action, **{f"mail-{each}": "1" for each in held}})
    assert answer.status == 303
    assert f"done={action}&n=2" in answer.headers["location"]
    assert [console.states()[each] for each in held] == [state, state]
    assert console.parts.audit.find(about=f"mail {held[0]}, {held[1]}")[0].who == "anna"


def test_a_second_click_changes_nothing(console):
    """It says that somebody was faster."""
    (held,) = console.hold()
    browser = console.browser()
    form = {"do": "delete", f"mail-{held}": "1", "back": f"/held/{held}"}
    assert browser.post("/held/act", form).headers["location"] == f"/held/{held}?done=delete&n=1"
    location = browser.post("/held/act", form).headers["location"]
    assert location == f"/held/{held}?done=delete&n=0&already=1"
    assert "Somebody was faster" in browser.get(location).text


def test_users_of_some_domains_ask(console):
    """`release=admins`: the user asks, an administrator of the domain finds the question and releases."""
    (held,) = console.hold(TEXT, "carl@example.net")
    user = console.browser(addresses=frozenset({"carl@example.net"}))
    page = user.get(f"/held/{held}").text
    assert 'value="release"' not in page
    assert 'value="request"' in page
    user.post("/held/act", {"do": "release", f"mail-{held}": "1"})
    assert console.states()[held] == "held"
    user.post("/held/act", {"do": "request", f"mail-{held}": "1"})
    domain = console.browser(Role.DOMAIN, domains=frozenset({"example.net"}))
    assert held in rows(domain, "?requested=1")
    domain.post("/held/act", {"do": "release", f"mail-{held}": "1"})
    assert console.states()[held] == "releasing"


@pytest.mark.parametrize("role", [Role.USER, Role.DOMAIN])
def test_a_virus_is_for_the_administrator_of_the_site(console, role):
    """Nobody else reads or releases it; to delete it is allowed."""
    (held,) = console.hold(cause="virus")
    browser = console.browser(role, domains=frozenset({"example.com"}))
    assert 'value="release"' not in browser.get(f"/held/{held}").text
    for address in ("body", "raw", "parts/1"):
        assert browser.get(f"/held/{held}/{address}").status == 403
    assert browser.post(f"/held/{held}/read", {"reason": "I want to"}).status == 403
    browser.post("/held/act", {"do": "release", f"mail-{held}": "1"})
    assert console.states()[held] == "held"
    browser.post("/held/act", {"do": "delete", f"mail-{held}": "1"})
    assert console.states()[held] == "deleted"


def test_an_administrator_releases_a_virus(console):
    """A scanner may be wrong."""
    (held,) = console.hold(cause="virus")
    console.browser(Role.ADMIN).post("/held/act", {"do": "release", f"mail-{held}": "1"})
    assert console.states()[held] == "releasing"


def test_wrong_forms_are_mistakes(console):
    """No mail, no such action, too many, a place that is none."""
    browser = console.browser()
    assert browser.post("/held/act", {"do": "release"}).status == 422
    assert browser.post("/held/act", {"do": "keep", "mail-1": "1"}).status == 422
    assert browser.post("/held/act", {"do": "delete", **{f"mail-{each}": "1" for each in range(300)}}).status == 422
    for query in ("?state=lost", "?cause=moon", "?before=yesterday", "?before=1/x", "?before=nan/1", "?before=1/-1"):
        assert browser.get(f"/held{query}").status == 422, query
    for address in ("/held/x", "/held/99999999999999999999", "/held/-1"):
        assert browser.get(address).status == 404, address


def test_the_way_back_is_ours(console):
    """A form cannot send the browser to another host."""
    (held,) = console.hold()
    form = {"do": "delete", f"mail-{held}": "1", "back": "https://evil.example/"}
    assert console.browser().post("/held/act", form).headers["location"].startswith("/held?")


def test_the_list_as_csv(console):
    """All of it, also what is behind the first page."""
    held = console.hold()
    lines = list(csv.DictReader(console.browser().get("/held?format=csv").text.splitlines()))
    assert str(held[0]) in {each["id"] for each in lines}
    assert {each["state"] for each in lines} == {"held"}


def test_pages_follow_each_other(tmp_path):
    """Fifty at a time; the second page goes on where the first ended."""
    with HeldConsole(tmp_path) as console:
        for _ in range(52):
            console.hold()
        browser = console.browser()
        first = browser.json("/held")
        second = browser.json(first["older"])
        assert (len(first["rows"]), len(second["rows"])) == (50, 2)
        assert not second["older"]
        assert second["newest"] == "/held"


def test_a_score_is_written_as_in_the_language(console):
    """With a comma where people write one, in the sentence and next to what held it."""
    (held,) = console.hold(b"X-Spamd-Result: default: False [10.50 / 1000.00]\r\nSubject: points\r\n\r\nx\r\n")
    browser = console.browser()
    for language, words in (("en", ("10.5 points", "scanner 10.5<")), ("es", ("10,5 puntos", "filtro 10,5<"))):
        page = browser.get(f"/held/{held}", accept_language=language).text
        assert [each in page for each in words] == [True, True], page


def test_the_language_is_the_browsers_or_the_chosen_one(console):
    """Pages say which it is; the choice is a cookie."""
    browser = console.browser()
    assert '<html lang="en"' in browser.get("/held").text
    spanish = browser.get("/held", accept_language="es-ES,es;q=0.9").text
    assert '<html lang="es"' in spanish
    assert "Correo retenido" in spanish
    assert browser.post("/language", {"language": "ca", "back": "/held"}).headers["location"] == "/held"
    assert "Correu retingut" in browser.get("/held", accept_language="es").text
    assert browser.post("/language", {"language": "xx"}).status == 422


def test_without_a_gateway_there_is_none(tmp_path):
    """The list of pages does not name it; its address says why."""
    from forkpolicy.console.app import application
    from forkpolicy.console.parts import Parts
    from forkpolicy.settings import load_settings
    from tests.console.asking import Browser, SignedIn

    (tmp_path / "forkpolicy.toml").write_text('[console]\npath = "console"\n')
    browser = Browser(application(Parts(load_settings(tmp_path / "forkpolicy.toml")), SignedIn()))
    assert "[console] gateway is empty" in browser.get("/held").text
    assert 'href="/held"' not in browser.get("/account").text


def test_a_store_that_is_away_is_a_sentence(tmp_path, caplog):
    """503, with what to start; people read in their language that something is away, and the log has the rest."""
    console = HeldConsole(tmp_path)
    answer = console.browser(Role.ADMIN).get("/held")
    assert (answer.status, "start forkpolicy-store" in answer.text) == (503, True)
    answer = console.browser().get("/held", accept_language="es")
    assert (answer.status, str(tmp_path) in answer.text) == (503, False)
    assert "Una parte del servidor de correo no responde ahora" in answer.text
    assert "start forkpolicy-store" in caplog.text


def test_a_domains_file_with_a_mistake_is_a_sentence(tmp_path):
    """With its line; after it is mended the pages are there again, without a restart."""
    with HeldConsole(tmp_path) as console:
        browser = console.browser(Role.ADMIN)
        (tmp_path / "domains").write_text("example.com\n")
        answer = browser.get("/held")
        assert answer.status == 503
        assert "expected the transport" in answer.text
        (tmp_path / "domains").write_text("example.com relay:[192.0.2.5]:25 hold=7\n")
        assert browser.get("/held").status == 200


def test_the_audit_names_every_mail(console):
    """Also where many are chosen at once: what was cut off would have been done by nobody."""
    first = console.hold()[0]
    # Numbers as a store has them after years.
    with contextlib.closing(sqlite3.connect(console.store.path / "held.db")) as connection:
        connection.execute("UPDATE held SET id = 123456789012 WHERE id = ?", (first,))
        connection.commit()
    ids = console.hold(TEXT, *(f"user{n}@example.com" for n in range(100)))
    browser = console.browser(Role.ADMIN)
    browser.post("/held/act", {"do": "delete", **{f"mail-{each}": "1" for each in ids}})
    noted = [each.about for each in console.parts.audit.find() if each.what == "held mail deleted"]
    found = {int(each) for about in noted for each in about.removeprefix("mail ").split(", ")}
    assert set(ids) <= found
    states = console.states()
    assert {states[each] for each in ids} == {"deleted"}
