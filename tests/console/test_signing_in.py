"""Accounts, one-time links, sessions and their cookies, through the pages."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from threading import BoundedSemaphore
from urllib.parse import unquote

import pytest
from argon2 import PasswordHasher

from forkpolicy.console.access import passwords
from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.sessions import COOKIE
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.routes import ROUTES
from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.settings import Settings
from tests.console.asking import Browser

PASSWORD = "correct horse"


@pytest.fixture
def parts(tmp_path):
    """A console with an empty directory."""
    return Parts(Settings(console=ConsoleSettings(path=str(tmp_path))))


def browser_of(parts):
    """One who has not signed in. No page is in a list of pages, so that the first one is of nothing but the account."""
    return Browser(application(parts, parts.door, [replace(each, nav="") for each in ROUTES]))


def account(parts, name="anna", role=Role.ADMIN):
    """An account whose password was chosen by its link."""
    parts.door.accounts.add(name, role)
    secret = parts.door.accounts.new_link(name)
    asked = browser_of(parts)
    assert asked.post(f"/first/{secret}", {"password": PASSWORD, "again": PASSWORD}).status == 303
    return asked


def sign_in(asked, name="anna", password=PASSWORD, **more):
    """The form of the page."""
    return asked.post("/sign-in", {"name": name, "password": password, **more})


def token_of(asked):
    """What the forms of a page have."""
    return re.search(r'name="token" value="([^"]+)"', asked.get("/now").text)[1]


def test_a_link_works_where_somebody_is_signed_in(parts):
    """By its form; the browser is signed in as the account of the link then."""
    asked = account(parts)
    parts.door.accounts.add("bert", Role.ADMIN)
    address = f"/first/{parts.door.accounts.new_link('bert')}"
    token = re.search(r'narrow">\s*<input type="hidden" name="token" value="([^"]+)"', asked.get(address).text)
    form = {"password": PASSWORD, "again": PASSWORD, "token": token[1]}
    assert asked.post(address, form).status == 303


def test_a_link_sets_a_password_once(parts):
    """Looking at it changes nothing; used, it is gone, and the session that it began is signed in."""
    parts.door.accounts.add("Anna", Role.OPERATOR)
    secret = parts.door.accounts.new_link("anna")
    asked = browser_of(parts)
    for _ in range(2):
        assert "This is the account anna." in asked.get(f"/first/{secret}").text
    assert asked.get("/now").status == 303
    form = {"password": PASSWORD, "again": PASSWORD}
    assert asked.post(f"/first/{secret}", form).headers["location"] == "/"
    assert "anna" in asked.get("/now").text
    other = browser_of(parts)
    assert other.post(f"/first/{secret}", form).status == 404
    assert other.get(f"/first/{secret}").status == 404


def test_a_new_link_replaces_the_one_before(parts):
    """Of two links only the last works."""
    parts.door.accounts.add("anna", Role.ADMIN)
    first, second = parts.door.accounts.new_link("anna"), parts.door.accounts.new_link("anna")
    asked = browser_of(parts)
    assert [asked.get(f"/first/{secret}").status for secret in (first, second)] == [404, 200]


@pytest.mark.parametrize(
    ("password", "again", "sentence"),
    [("short", "short", "has 5 characters: at least 10"), (PASSWORD, "other", "The two passwords differ")],
)
def test_a_password_that_cannot_be_used(parts, password, again, sentence):
    """The link can be used again."""
    parts.door.accounts.add("anna", Role.ADMIN)
    secret = parts.door.accounts.new_link("anna")
    asked = browser_of(parts)
    answer = asked.post(f"/first/{secret}", {"password": password, "again": again})
    assert (answer.status, sentence in answer.text) == (422, True)
    assert asked.get(f"/first/{secret}").status == 200


def test_signing_in_and_out(parts):
    """The page that was asked for comes back; a session that was ended is none."""
    account(parts)
    asked = browser_of(parts)
    answer = asked.get("/?a=b")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?to=%2F%3Fa%3Db")
    assert sign_in(asked, "ANNA", to="/?a=b").headers["location"] == "/?a=b"
    cookie = asked.cookies[COOKIE]
    assert asked.get("/now").status == 200
    assert asked.post("/sign-out", {"token": token_of(asked)}).status == 303
    asked.cookies[COOKIE] = cookie
    assert asked.get("/now").status == 303


@pytest.mark.parametrize("to", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_leads_nowhere_else(parts, to):
    """A link to the form must not become one to another site."""
    account(parts)
    assert sign_in(browser_of(parts), to=to).headers["location"] == "/"


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong horse"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_name_and_a_wrong_password_are_alike(parts, name, password):
    """Nothing says whether there is such an account."""
    account(parts)
    answer = sign_in(browser_of(parts), name, password)
    assert (answer.status, "The name or the password is wrong." in answer.text) == (401, True)


def test_five_failures_end_it_for_a_while(parts):
    """Whether there is such an account or not, even with the right password; not for another account."""
    account(parts)
    account(parts, "bert")
    for name in ("anna", "nobody"):
        asked = browser_of(parts)
        assert [sign_in(asked, name, "wrong horse").status for _ in range(5)] == [401] * 5
        answer = sign_in(asked, name)
        assert (answer.status, "try again in" in answer.text) == (429, True)
        assert sign_in(asked, name.upper()).status == 429
    assert sign_in(browser_of(parts), "bert").status == 303


def test_many_at_once_are_told_so(parts, monkeypatch):
    """They hold no more threads than some, and nothing is counted."""
    account(parts)
    monkeypatch.setattr(passwords, "_places", BoundedSemaphore(1))
    with passwords._turn():
        for _ in range(9):
            answer = sign_in(browser_of(parts))
            assert (answer.status, "Many people sign in" in answer.text) == (429, True)
    assert sign_in(browser_of(parts)).status == 303


def test_old_parameters_are_replaced(parts, monkeypatch):
    """At the next sign-in, and sessions go on."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(1, 8, 1))
    asked = account(parts)
    monkeypatch.undo()
    for _ in range(2):
        assert sign_in(browser_of(parts)).status == 303
        assert "m=65536,t=3" in parts.door.accounts.find("anna").password
    assert asked.get("/").status == 200


@pytest.mark.parametrize("to", ["/decisions?q=müller & söhne", "/€", "/a%2Fb?c=%C3%BC"])
def test_any_page_comes_back(parts, to):
    """Headers are of bytes, so that its other characters are escaped there."""
    account(parts)
    location = sign_in(browser_of(parts), to=to).headers["location"]
    assert location.isascii()
    assert unquote(location) == unquote(to)


def test_the_cookie_is_for_this_origin_and_no_script(parts):
    """As browsers want it of a name that begins with __Host-."""
    account(parts)
    answer = sign_in(browser_of(parts))
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-forkpolicy=")
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=43200"}


def test_a_session_is_another_one_after_signing_in(parts):
    """A cookie that was there before is not taken over, and its session has ended."""
    asked = account(parts)
    before = asked.cookies[COOKIE]
    sign_in(asked, token=token_of(asked))
    assert asked.cookies[COOKIE] != before
    asked.cookies[COOKIE] = before
    assert asked.get("/now").status == 303


def test_another_password_ends_every_session(parts):
    """Who had stolen one is out."""
    asked = account(parts)
    secret = parts.door.accounts.new_link("anna")
    browser_of(parts).post(f"/first/{secret}", {"password": "another horse", "again": "another horse"})
    assert asked.get("/now").status == 303


@pytest.mark.parametrize("change", ["password", "disable", "delete"])
@pytest.mark.parametrize("form", ["sign in", "change"])
def test_what_was_right_when_it_was_sent_may_not_be_now(parts, monkeypatch, change, form):
    """To compare a password takes a while: one that is changed meanwhile begins no session and changes nothing."""
    asked = account(parts)
    accounts, is_right = parts.door.accounts, passwords.is_right
    token = token_of(asked)

    def compared(hash_text, password):
        answer = is_right(hash_text, password)
        if change == "password":
            accounts.use_link(accounts.new_link("anna"), passwords.hashed("the owner's own"))
        elif change == "disable":
            accounts.disable("anna", even_last=True)
        else:
            accounts.delete("anna", even_last=True)
            accounts.add("anna", Role.ADMIN)
        return answer

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(passwords, "is_right", compared)
        if form == "sign in":
            assert sign_in(browser_of(parts)).status == 401
        else:
            fields = {"current": PASSWORD, "password": "taken over", "again": "taken over", "token": token}
            assert asked.post("/account/password", fields).status == 422
    assert parts.door.sessions.of("anna") == []
    assert sign_in(browser_of(parts), password="taken over").status == 401
    if change == "password":
        assert sign_in(browser_of(parts), password="the owner's own").status == 303


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "http://127.0.0.1:8026"}],
)
def test_a_form_of_another_site_does_nothing(parts, headers):
    """Not even signing in, with a name and a password that are right."""
    asked = account(parts)
    form = {"name": "anna", "password": PASSWORD, "token": token_of(asked)}
    assert asked.post("/sign-in", form, **headers).status == 403
    assert asked.post("/sign-out", form, **headers).status == 403
    assert asked.get("/now").status == 200


@pytest.mark.parametrize("token", ["", "0" * 64, "ü"])
def test_a_form_without_its_token_does_nothing(parts, token):
    """The token of the session stands in each form."""
    asked = account(parts)
    assert asked.post("/sign-out", {"token": token}).status == 403
    assert asked.get("/now").status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "", "127.0.0.1:8025.evil.example"])
def test_another_name_of_this_machine_is_refused(parts, host):
    """A site that resolves its own name to 127.0.0.1 reads nothing."""
    assert browser_of(parts).get("/sign-in", host=host).status == 403


def test_localhost_is_this_machine(parts):
    """Where the console listens on loopback."""
    asked = browser_of(parts)
    assert asked.get("/sign-in", host="localhost:8025").status == 200
    assert asked.get("/sign-in", host="127.0.0.1:8025").status == 200


def test_no_secret_is_kept(parts, tmp_path):
    """Neither cookie nor link nor password stand in the file, and nobody else may read it."""
    asked = account(parts)
    secret = parts.door.accounts.new_link("anna")
    kept = (tmp_path / "accounts.sqlite").read_bytes()
    assert not [text for text in (asked.cookies[COOKIE], secret, PASSWORD) if text.encode() in kept]
    assert (tmp_path / "accounts.sqlite").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "accounts.sqlite")) as connection:
        assert connection.execute("SELECT password FROM accounts").fetchone()[0].startswith("$argon2id$")
