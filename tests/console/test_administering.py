"""Accounts that are disabled, deleted and given links; the own account; the audit of it."""

from __future__ import annotations

import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from forkpolicy.console.access import database
from forkpolicy.console.access.audit import Audit
from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.sessions import COOKIE, IDLE_S
from forkpolicy.console.errors import UserMistake
from tests.console.test_signing_in import PASSWORD, account, browser_of, parts, sign_in, token_of

__all__ = ["parts"]  # a fixture
OTHER = "another horse"


def done(parts):
    """Who did what about whom, the oldest first."""
    return [(each.who, each.what, each.about) for each in reversed(parts.audit.find())]


def act(asked, name, what):
    """A button of the page of accounts."""
    return asked.post(f"/accounts/{name}", {"what": what, "token": token_of(asked)})


def is_signed_in(asked):
    """Whether its pages are shown."""
    return asked.get("/account").status == 200


def test_an_admin_disables_and_enables(parts):
    """Sessions end at once and links do not work; enabled, the password is what it was."""
    asked, other = account(parts), account(parts, "bert", Role.USER)
    secret = parts.door.accounts.new_link("bert")
    assert act(asked, "bert", "disable").headers["location"] == "/accounts?done=disable&name=bert"
    assert "disabled" in asked.get("/accounts").text
    assert not is_signed_in(other)
    assert sign_in(other, "bert").status == 401
    assert other.get(f"/first/{secret}").status == 404
    assert act(asked, "bert", "enable").status == 303
    assert sign_in(other, "bert").status == 303
    assert [each[1:] for each in done(parts) if each[0] == "anna"][1:] == [
        ("account disabled", "bert"),
        ("account enabled", "bert"),
    ]


def test_nobody_disables_the_own_account(parts):
    """So the last admin stays."""
    asked = account(parts)
    answer = act(asked, "anna", "disable")
    assert (answer.status, "cannot disable your own account" in answer.text) == (422, True)
    assert act(asked, "nobody", "disable").status == 404
    assert act(asked, "anna", "explode").status == 422
    assert is_signed_in(asked)


def test_the_last_admin_stays(parts):
    """Unless it is meant."""
    accounts = parts.door.accounts
    for name in ("anna", "bert"):
        accounts.add(name, Role.ADMIN)
    accounts.disable("bert")
    for each in (accounts.disable, accounts.delete):
        with pytest.raises(UserMistake, match="anna is the last admin who may sign in"):
            each("Anna")
    accounts.delete("bert")
    accounts.delete("anna", even_last=True)
    assert accounts.all() == []


def test_a_deleted_account_leaves_nothing_to_a_new_one(parts):
    """Neither its sessions nor its links."""
    asked = account(parts)
    secret = parts.door.accounts.new_link("anna")
    parts.door.accounts.delete("anna", even_last=True)
    parts.door.accounts.add("anna", Role.USER)
    assert not is_signed_in(asked)
    assert asked.get(f"/first/{secret}").status == 404
    assert sign_in(asked).status == 401


def test_an_admin_makes_a_link(parts):
    """It is shown once, and replaces the one before."""
    asked = account(parts)
    parts.door.accounts.add("bert", Role.OPERATOR)
    before = parts.door.accounts.new_link("bert")
    answer = act(asked, "bert", "link")
    assert answer.status == 200
    address = answer.text.partition("http://127.0.0.1:8025")[2].partition("<")[0]
    assert [browser_of(parts).get(each).status for each in (address, f"/first/{before}")] == [200, 404]
    assert done(parts)[-1] == ("anna", "one-time link made", "bert")
    assert address.rpartition("/")[2] not in str(parts.audit.find())


def test_a_password_is_changed_by_who_knows_it(parts):
    """Every other session ends; this browser has a new one."""
    asked, other = account(parts), browser_of(parts)
    sign_in(other)
    cookie = asked.cookies[COOKIE]
    form = {"current": PASSWORD, "password": OTHER, "again": OTHER, "token": token_of(asked)}
    for wrong, said in (({"current": OTHER}, "current password is wrong"), ({"again": "x"}, "differ")):
        answer = asked.post("/account/password", {**form, **wrong})
        assert (answer.status, said in answer.text) == (422, True)
    answer = asked.post("/account/password", {**form, "password": "short", "again": "short"})
    assert answer.status == 422
    assert is_signed_in(other)
    assert asked.post("/account/password", form).headers["location"] == "/account?done=password"
    assert (is_signed_in(asked), is_signed_in(other), asked.cookies[COOKIE] != cookie) == (True, False, True)
    assert [sign_in(browser_of(parts), password=each).status for each in (PASSWORD, OTHER)] == [401, 303]


def test_guessing_the_own_password_is_limited(parts):
    """Who has found a browser open must not find out what it is."""
    asked = account(parts)
    form = {"current": "wrong horse", "password": OTHER, "again": OTHER, "token": token_of(asked)}
    assert [asked.post("/account/password", form).status for _ in range(6)] == [422] * 5 + [429]


def test_own_sessions_are_listed_and_ended(parts):
    """One, or all others; those of nobody else."""
    asked, second, third = account(parts), browser_of(parts), browser_of(parts)
    stranger = account(parts, "bert")
    for each in (second, third):
        sign_in(each)
    listed = asked.json("/account")["sessions"]
    assert len(listed) == 3
    (of_bert,) = stranger.json("/account")["sessions"]
    token = token_of(asked)
    assert asked.post("/account/sessions", {"session": of_bert["id"], "token": token}).status == 404
    own = asked.json("/account")["session"]
    ended = next(each["id"] for each in listed if each["id"] != own)
    assert asked.post("/account/sessions", {"session": ended, "token": token}).status == 303
    assert [is_signed_in(second), is_signed_in(third)].count(True) == 1
    assert asked.post("/account/sessions", {"token": token}).status == 303
    assert [is_signed_in(each) for each in (asked, second, third, stranger)] == [True, False, False, True]


@pytest.mark.parametrize(("column", "ago_s"), [("seen_s", IDLE_S), ("began_s", 12 * 3600)])
def test_a_session_ends_by_itself(parts, tmp_path, column, ago_s):
    """After two hours without use, and after session_hours in any case; it is not listed then."""
    asked = account(parts)
    with closing(sqlite3.connect(tmp_path / "accounts.sqlite", isolation_level=None)) as connection:
        connection.execute(f"UPDATE sessions SET {column} = ?", (int(time.time()) - ago_s + 5,))
        assert is_signed_in(asked)
        connection.execute(f"UPDATE sessions SET {column} = ?", (int(time.time()) - ago_s - 5,))
    assert not is_signed_in(asked)
    assert (parts.door.sessions.of("anna"), parts.door.sessions.counts()) == ([], {})


def test_pages_are_seen_while_nothing_can_be_written(parts, tmp_path, monkeypatch):
    """A full disk is no reason to see nothing: that a session was used is not written then."""
    asked = account(parts)
    path = tmp_path / "accounts.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sessions SET seen_s = seen_s - 100")
        monkeypatch.setattr(database, "_WAIT_S", 0.0)
        connection.execute("BEGIN IMMEDIATE")
        assert is_signed_in(asked)
        connection.execute("COMMIT")
        assert is_signed_in(asked)
        assert connection.execute("SELECT seen_s > ? FROM sessions", (time.time() - 50,)).fetchone() == (1,)


def test_two_clicks_on_a_link_set_one_password(parts):
    """Of eight at once one wins, and its password is the one."""
    parts.door.accounts.add("anna", Role.ADMIN)
    secret, barrier = parts.door.accounts.new_link("anna"), Barrier(8)

    def click(number):
        barrier.wait(20)
        password = f"password {number}"
        return browser_of(parts).post(f"/first/{secret}", {"password": password, "again": password}).status

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(click, range(8)))
    assert sorted(set(statuses) - {404, 429}) == [303]
    assert statuses.count(303) == 1
    assert sign_in(browser_of(parts), password=f"password {statuses.index(303)}").status == 303


def test_nobody_takes_as_long_as_somebody(parts):
    """Or the time would say which accounts there are: without a password yet and disabled, too."""
    account(parts)
    account(parts, "bert")
    parts.door.accounts.disable("bert")
    parts.door.accounts.add("new", Role.USER)
    least_s = dict.fromkeys(("anna", "bert", "new", "nobody"), 1e9)
    for number in range(4):
        for name in least_s:
            began_s = time.process_time()
            assert parts.door.owner(name, "wrong horse", f"192.0.{number}.1") is None
            least_s[name] = min(least_s[name], time.process_time() - began_s)
    assert max(least_s.values()) < 1.5 * min(least_s.values()), least_s


def test_nobody_is_written_as_often_as_somebody(parts, tmp_path):
    """Waiting for the disk would tell, too. SQLite counts the writes of a file; an entry is kept of an account only."""
    account(parts)

    def writes():
        return int.from_bytes((tmp_path / "audit.sqlite").read_bytes()[24:28], "big")

    counts = []
    for name in ("anna", "nobody"):
        before = writes()
        parts.door.owner(name, "wrong horse", "192.0.2.1")
        counts.append(writes() - before)
    assert counts == [1, 1]
    assert [each.who for each in parts.audit.find()] == ["anna", "anna"]


def test_what_is_done_is_in_the_audit_and_in_the_log(parts, caplog):
    """Also what fails; but not what was typed as a name that nobody has, which may be a password."""
    with caplog.at_level(logging.INFO, "forkpolicy.audit"):
        account(parts)
        asked = browser_of(parts)
        sign_in(asked, password="wrong horse")
        sign_in(asked, "correct-horse-battery", "x")
        sign_in(asked)
        asked.post("/sign-out", {"token": token_of(asked)})
    whats = ["password chosen by a one-time link", "failed to sign in", "signed in", "signed out"]
    assert done(parts) == [("anna", what, "anna") for what in whats]
    assert {each.client for each in parts.audit.find()} == {"127.0.0.1"}
    assert 'who=anna client=127.0.0.1 what="signed in" about=anna' in caplog.text
    assert 'client=127.0.0.1 what="failed to sign in, with an unknown name"' in caplog.text
    assert "battery" not in caplog.text


def test_the_audit_shows_and_exports(parts):
    """By pages, by whom and about what; hostile texts are texts."""
    asked = account(parts)
    for number in range(150):
        parts.audit.note("bert", "changed", f"file{number}", '=1+1 <script>\n\u202e"')
    first = asked.json("/audit?who=BERT")
    assert [each["about"] for each in first["entries"]] == [f"file{each}" for each in range(149, 49, -1)]
    second = asked.json(f"/audit?who=bert&before={first['next']}")
    assert [each["about"] for each in second["entries"]] == [f"file{each}" for each in range(49, -1, -1)]
    assert second["next"] is None
    assert len(asked.json("/audit?about=file7")["entries"]) == 1
    html = asked.get("/audit?who=bert").text
    assert "=1+1 &lt;script&gt;\\n\\u202e&#34;" in html
    assert f"before={first['next']}" in html
    lines = asked.get("/audit?who=bert&format=csv").text.splitlines()
    assert lines[0] == "time,who,client,what,about,reason"
    assert "'=1+1 <script>" in lines[1]
    assert "Nothing was done yet" in asked.get("/audit?who=nobody").text


def test_an_entry_stays_until_its_time(tmp_path):
    """Nothing changes it; after audit_days it goes."""
    clock = [1_000_000.0]
    audit = Audit(str(tmp_path), 2, lambda: clock[0])
    audit.note("anna", "one")
    clock[0] += 86_400
    audit.note("anna", "two\nwhat=forged", reason="x" * 5000)
    connection = sqlite3.connect(tmp_path / "audit.sqlite")
    with closing(connection), pytest.raises(sqlite3.IntegrityError, match="an entry of the audit stays"):
        connection.execute("UPDATE entries SET who = 'bert'")
    assert [len(each.reason) for each in audit.find()] == [1000, 0]
    clock[0] += 86_401
    audit.note("anna", "three")
    assert [each.what for each in audit.find()] == ["three", "two\nwhat=forged"]
    assert (tmp_path / "audit.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_recorded_is_not_done(parts, tmp_path):
    """The page says why."""
    asked = account(parts)
    parts.door.accounts.add("bert", Role.USER)
    token = token_of(asked)
    (tmp_path / "audit.sqlite").write_bytes(b"x" * 9000)
    answer = asked.post("/accounts/bert", {"what": "disable", "token": token})
    assert (answer.status, "file is not a database" in answer.text) == (503, True)
    assert not parts.door.accounts.find("bert").is_disabled


@pytest.mark.parametrize(
    "name", ["", "../x", "a b", "<script>", "a\nb", "anna\u202e", "\uff41nna", "-anna", "a" * 101, "anna\x00", "a/b"]
)
def test_hostile_names_are_refused(parts, name):
    """And do no harm where somebody signs in with them."""
    with pytest.raises(UserMistake):
        parts.door.accounts.add(name, Role.USER)
    assert sign_in(browser_of(parts), name).status == 401


@pytest.mark.parametrize(
    ("domain", "address", "kept"),
    [
        ("Example.COM.", "Anna@Example.COM.", "example.com"),
        ("@example.com", '"a b"@example.com', "example.com"),
        ("BÜCHER.example", "anna@bücher.example", "xn--bcher-kva.example"),
        ("", "anna", None),
        ("a b.example", "anna@", None),
        ("<script>", "@example.com", None),
        ("example\u202e.com", "an\u202ena@example.com", None),
        ("*.example.com", "anna@*", None),
        ("a@example.com", "anna@a@b c", None),
    ],
)
def test_domains_and_addresses_are_folded_as_in_policies(parts, domain, address, kept):
    """What is not valid is refused, so that nobody wonders why nothing is shown."""
    if kept:
        parts.door.accounts.add("anna", Role.DOMAIN, [domain], [address])
        found = parts.door.accounts.find("anna")
        assert found.domains == {kept}
        assert {each.rpartition("@")[2] for each in found.addresses} == {kept}
        return
    for domains, addresses in (([domain], []), ([], [address])):
        with pytest.raises(UserMistake):
            parts.door.accounts.add("anna", Role.DOMAIN, domains, addresses)
