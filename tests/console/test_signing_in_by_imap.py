"""People without an account sign in with the password of their mailbox, at a real Dovecot."""

from __future__ import annotations

import socketserver
import sqlite3
import threading
from contextlib import closing

import pytest
import trustme

from forkpolicy.console.access.administration import MOST_PRESENT
from forkpolicy.console.access.directory import directory as directories
from forkpolicy.console.access.directory.person import Person
from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.sessions import COOKIE
from tests.console.directories import (
    PASSWORD,
    WRONG,
    account,
    browser_of,
    cheap_hashes,
    console,
    gateway,
    me,
    resolve_to_loopback,
    sign_in,
    token_of,
)
from tests.dovecot_servers import Dovecot, needs_dovecot

pytestmark = needs_dovecot

MAILBOX = "mailbox pässword"
DOMAINS = """\
example.com relay:[192.0.2.5]:25 admins=ann@example.com
example.net relay:[192.0.2.6]:25 admins=ann@example.com,ben@example.net
"""
PEOPLE = {
    "anna@example.com": MAILBOX,
    "ann@example.com": MAILBOX,
    "kept@example.com": MAILBOX,
    "anna@example.org": MAILBOX,
    "zoë@example.com": MAILBOX,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A mail server that believes this machine who asks."""
    found = Dovecot(tmp_path_factory.mktemp("dovecot"), trustme.CA(), PEOPLE, trusted="127.0.0.0/8")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    cheap_hashes(monkeypatch)


def by_imap(tmp_path, server, **settings):
    """A console whose people have their passwords there."""
    given = {"imap": (f"imaps://localhost:{server.tls}",), "ca_file": str(server.authority), **settings}
    return console(tmp_path / "console", sign_in=("local", "imap"), **given)


def test_the_password_of_a_mailbox_signs_in(tmp_path, server):
    """As who has the own address, with the rights of a user; the name is folded, and the page is what was asked for."""
    parts = by_imap(tmp_path, server)
    assert "Mail address" in browser_of(parts).get("/sign-in").text
    asked, answer = sign_in(parts, "Anna@EXAMPLE.com.", MAILBOX)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    found = me(asked)
    assert (found["name"], found["role"], found["addresses"]) == ("anna@example.com", "user", ["anna@example.com"])
    assert [each.what for each in parts.audit.find(who="anna@example.com")] == ["signed in by imap"]
    assert asked.get("/now").status == 403
    assert asked.post("/sign-out", {"token": token_of(asked)}).status == 303
    assert asked.get("/account").status == 303


def test_addresses_and_passwords_beyond_ascii(tmp_path, server):
    """They reach the mail server as UTF-8."""
    asked, answer = sign_in(by_imap(tmp_path, server), "Zoë@example.com", MAILBOX)
    assert answer.status == 303
    assert me(asked)["name"] == "zoë@example.com"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna@example.com", "wrong"),
        ("nobody@example.com", MAILBOX),
        ("anna@example.com", ""),
        ("anna@example.com", f"{MAILBOX}\r\n"),
        ("anna@example.com", f"{MAILBOX}\0"),
        ("anna@example.com", "x" * 5000),
        ("anna", MAILBOX),
        ('anna@example.com" "x', MAILBOX),
        ("anna @example.com", MAILBOX),
        ("@example.com", MAILBOX),
        ("anna@", MAILBOX),
    ],
)
def test_a_wrong_name_and_a_wrong_password_are_alike(tmp_path, server, name, password):
    """Nothing says whether there is such a mailbox, and the audit has no name that is nobody's here."""
    parts = by_imap(tmp_path, server)
    _, answer = sign_in(parts, name, password)
    assert (answer.status, WRONG in answer.text) == (401, True)
    assert parts.audit.find() == []


def test_five_failures_end_it_for_a_while(tmp_path, server):
    """With the right password, too."""
    parts = by_imap(tmp_path, server)
    assert [sign_in(parts, "anna@example.com", "wrong")[1].status for _ in range(5)] == [401] * 5
    assert sign_in(parts, "ANNA@example.com.", MAILBOX)[1].status == 429
    assert sign_in(parts, "ann@example.com", MAILBOX)[1].status == 303


def test_a_local_name_is_tried_nowhere_else(tmp_path, server):
    """Its own password signs in, the mailbox's does not, and who was disabled stays out however the name is written."""
    parts = by_imap(tmp_path, server)
    account(parts, "kept@example.com", Role.OPERATOR)
    assert sign_in(parts, "kept@example.com", MAILBOX)[1].status == 401
    asked, _ = sign_in(parts, "kept@example.com", PASSWORD)
    assert me(asked)["role"] == "operator"
    parts.door.accounts.disable("kept@example.com")
    for name in ("kept@example.com", "Kept@Example.COM.", " kept@example.com "):
        assert sign_in(parts, name, MAILBOX)[1].status == 401
    assert "kept@example.com" not in server.log


def test_a_disabled_account_keeps_its_addresses_out(tmp_path, server):
    """Whatever its own name is; a session that has begun ends with it."""
    parts = by_imap(tmp_path, server)
    parts.door.accounts.add("anna", Role.USER, addresses=["Anna@example.com"])
    asked, answer = sign_in(parts, "anna@example.com", MAILBOX)
    assert answer.status == 303
    parts.door.accounts.disable("anna")
    assert asked.get("/account").status == 303
    assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 401
    parts.door.accounts.enable("anna")
    assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 303


def test_the_domains_file_says_who_looks_after_a_domain(tmp_path, server):
    """As it stands now: who is taken out of it has the rights of a user with the next page."""
    parts = by_imap(tmp_path, server, gateway=gateway(tmp_path, DOMAINS))
    asked, _ = sign_in(parts, "ann@example.com", MAILBOX)
    found = me(asked)
    assert (found["role"], found["domains"]) == ("domain", ["example.com", "example.net"])
    gateway(tmp_path, "example.com relay:[192.0.2.5]:25\n")
    assert (me(asked)["role"], me(asked)["domains"]) == ("user", [])
    (tmp_path / "domains").write_text("not a line\n")
    assert (me(asked)["role"], me(asked)["domains"]) == ("user", [])


def test_who_is_not_served_does_not_sign_in(tmp_path, server):
    """Whatever the mail server says: it may have other domains, too."""
    parts = by_imap(tmp_path, server, gateway=gateway(tmp_path, DOMAINS))
    assert sign_in(parts, "anna@example.org", MAILBOX)[1].status == 401
    assert "anna@example.org" not in server.log


def test_each_domain_has_its_own_server(tmp_path, server):
    """A password goes to the server of its domain, and to no other one."""
    other = Dovecot(tmp_path / "other", trustme.CA(), {"anna@example.org": "another one"})
    authorities = tmp_path / "authorities"
    authorities.write_bytes(server.authority.read_bytes() + other.authority.read_bytes())
    places = (f"imaps://localhost:{server.tls}", f"Example.org=imaps://localhost:{other.tls}")
    try:
        parts = by_imap(tmp_path, server, imap=places, ca_file=str(authorities))
        assert sign_in(parts, "anna@example.org", "another one")[1].status == 303
        assert sign_in(parts, "anna@example.org", MAILBOX)[1].status == 401
        assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 303
        assert "anna@example.com" not in other.log
        named = by_imap(tmp_path, server, imap=places[1:], ca_file=str(authorities))
        assert sign_in(named, "anna@example.com", MAILBOX)[1].status == 401
    finally:
        other.close()


def test_the_mail_server_hears_who_asks(tmp_path, server):
    """Its log and its limits have the address of the browser, where it trusts this machine."""
    parts = by_imap(tmp_path, server, trusted_proxies=("127.0.0.1",))
    asked = browser_of(parts)
    form = {"name": "anna@example.com", "password": MAILBOX}
    assert asked.post("/sign-in", form, **{"x-forwarded-for": "192.0.2.77"}).status == 303
    assert "rip=192.0.2.77" in server.log


@pytest.mark.parametrize("name", ["localhost", "mail.example.com"])
@pytest.mark.parametrize("scheme", ["imaps", "imap"])
def test_no_password_goes_where_no_certificate_is_good(tmp_path, server, monkeypatch, scheme, name):
    """Of another name, or by an authority that is not known: the page says that nobody can sign in so, local accounts
    do, and the server has heard nothing. To this machine itself no certificate is needed by imap://.
    """
    resolve_to_loopback(monkeypatch, "mail.example.com")
    monkeypatch.setattr(directories, "AWAY_S", 0.0)
    ca_file = str(server.authority) if name == "mail.example.com" else ""
    port = server.tls if scheme == "imaps" else server.plain
    parts = by_imap(tmp_path, server, imap=(f"{scheme}://{name}:{port}",), ca_file=ca_file)
    account(parts, "admin", Role.ADMIN)
    heard = len(server.log)
    is_here = (scheme, name) == ("imap", "localhost")
    _, answer = sign_in(parts, "anna@example.com", MAILBOX)
    assert (answer.status, "cannot be asked now" in answer.text) == ((303, False) if is_here else (503, True))
    assert name not in answer.text
    assert sign_in(parts, "admin", PASSWORD)[1].status == 303
    assert ("anna@example.com" in server.log[heard:]) is is_here


def test_authorities_that_are_not_there(tmp_path, server, caplog):
    """Are said in the log, and the page says that nobody can sign in so."""
    parts = by_imap(tmp_path, server, ca_file="/nowhere.pem")
    assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 503
    assert "no such file or directory" in caplog.text


def test_starttls(tmp_path, monkeypatch):
    """Begins before the password, where the server is another machine; one that does not know it hears none."""
    monkeypatch.setattr(directories, "AWAY_S", 0.0)
    resolve_to_loopback(monkeypatch, "mail.example.com")
    for ssl, status in (("yes", 303), ("no", 503)):
        found = Dovecot(tmp_path / ssl, trustme.CA(), PEOPLE, names=("mail.example.com",), ssl=ssl)
        try:
            parts = by_imap(tmp_path, found, imap=(f"imap://mail.example.com:{found.plain}",))
            assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == status
            assert ("TLS, session" in found.log) is (ssl == "yes")
            assert ("user=<anna@example.com>" in found.log) is (ssl == "yes")
        finally:
            found.close()


class OddServer(socketserver.ThreadingTCPServer):
    """What no Dovecot does: says its greeting, and to each command the answer of its name."""

    daemon_threads = True

    def __init__(self, greeting, **answers):
        super().__init__(("127.0.0.1", 0), self.answer)
        self.greeting, self.answers, self.heard = greeting, {"LOGOUT": "* BYE\r\n{} OK done", **answers}, []
        self.url = f"imap://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, connection, *_):
        """One client."""
        with connection, connection.makefile("rwb", buffering=0) as stream:
            stream.write(f"{self.greeting}\r\n".encode())
            for line in stream:
                tag, command, *words = line.decode().strip().split(" ", 2)
                self.heard.append(" ".join([command, *words]))
                stream.write(self.answers.get(command, "{} BAD what").format(tag).encode() + b"\r\n")

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def test_a_server_that_knows_login_alone(tmp_path, server, monkeypatch):
    """Gets the password in ASCII, quotes and backslashes escaped; another one is not sent."""
    monkeypatch.setattr(directories, "AWAY_S", 0.0)
    with OddServer(
        "* OK [CAPABILITY IMAP4rev1] hello", LOGIN="{} OK done", CAPABILITY="* CAPABILITY IMAP4rev1\r\n{} OK done"
    ) as odd:
        parts = by_imap(tmp_path, server, imap=(odd.url,))
        assert sign_in(parts, "anna@example.com", 'a "b\\ c')[1].status == 303
        assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 503
        assert [each for each in odd.heard if "anna" in each] == [r'LOGIN "anna@example.com" "a \"b\\ c"']


@pytest.mark.parametrize(
    ("greeting", "answer", "status"),
    [
        ("* OK hello", "{} OK done", 303),
        ("* OK hello", "{} NO no", 401),
        ("* OK hello", "{} NO [AUTHENTICATIONFAILED] no", 401),
        ("* OK hello", "{} NO [UNAVAILABLE] try later", 503),
        ("* OK hello", "{} NO [PRIVACYREQUIRED] not without TLS", 503),
        ("* OK LOGINDISABLED", "{} OK done", 503),
        ("* OK hello", "{} BAD what", 503),
        ("* OK hello", "* BYE too many", 503),
        ("* PREAUTH hello", "{} OK done", 503),
        ("* BYE not now", "{} OK done", 503),
        ("hello", "{} OK done", 503),
    ],
)
def test_what_a_mail_server_may_say(tmp_path, server, monkeypatch, greeting, answer, status):
    """Nothing but a refusal of the password is one: who cannot be asked, or asks for none, is away."""
    monkeypatch.setattr(directories, "AWAY_S", 0.0)
    also = " LOGINDISABLED" if "LOGINDISABLED" in greeting else ""
    capability = f"* CAPABILITY IMAP4rev1 ID{also}\r\n{{}} OK done"
    with OddServer(greeting, LOGIN=answer, CAPABILITY=capability) as odd:
        parts = by_imap(tmp_path, server, imap=(odd.url,))
        assert sign_in(parts, "anna@example.com", "a password")[1].status == status


def test_a_server_that_is_away(tmp_path, monkeypatch):
    """The page says so, to those who come next too, local accounts go on, and no try is counted. When it is back,
    people sign in.
    """
    server = Dovecot(tmp_path / "dovecot", trustme.CA(), PEOPLE)
    server.stop()
    parts = by_imap(tmp_path, server)
    account(parts, "admin", Role.ADMIN)
    for _ in range(9):
        _, answer = sign_in(parts, "anna@example.com", MAILBOX)
        assert (answer.status, "Accounts of this console work as before" in answer.text) == (503, True)
    assert "cannot be asked now" in browser_of(parts).get("/sign-in").text
    assert sign_in(parts, "admin", PASSWORD)[1].status == 303
    server.start()
    try:
        monkeypatch.setattr(parts.door.directory, "_away_until_s", {})
        assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 303
        assert "cannot be asked now" not in browser_of(parts).get("/sign-in").text
    finally:
        server.close()


def test_a_few_are_asked_at_a_time(tmp_path, server):
    """The others are asked to come again, so that pages have their threads; no try is counted, and local accounts
    sign in.
    """
    parts = by_imap(tmp_path, server)
    account(parts, "admin", Role.ADMIN)
    for _ in range(directories.AT_ONCE):
        assert parts.door.directory._places.acquire(blocking=False)
    for _ in range(9):
        _, answer = sign_in(parts, "anna@example.com", MAILBOX)
        assert (answer.status, "Many people sign in" in answer.text) == (429, True)
    assert sign_in(parts, "admin", PASSWORD)[1].status == 303
    for _ in range(directories.AT_ONCE):
        parts.door.directory._places.release()
    assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 303


def test_only_the_last_of_many_people_are_listed(tmp_path, server):
    """A page has its bounds, and says so; the sessions of others can be ended all the same."""
    parts = by_imap(tmp_path, server)
    admin = account(parts, "admin", Role.ADMIN)
    for number in range(MOST_PRESENT + 1):
        name = f"person{number}@example.com"
        parts.door.sessions.begin(Person(name, "imap", frozenset({name})), "192.0.2.1")
    found = admin.json("/accounts")
    assert (len(found["present"]), found["more"]) == (MOST_PRESENT, True)
    assert "who were here last" in admin.get("/accounts").text
    (left,) = {f"person{number}@example.com" for number in range(MOST_PRESENT + 1)} - {
        each["name"] for each in found["present"]
    }
    assert admin.post(f"/accounts/{left}", {"what": "end", "token": token_of(admin)}).status == 303
    assert parts.door.sessions.of(left) == []


@pytest.mark.parametrize("how", ["account", "settings", "admin"])
def test_a_session_ends_by_more_than_time(tmp_path, server, how):
    """When its name gets an account, when that server is asked no more, and when an administrator ends it."""
    parts = by_imap(tmp_path, server)
    asked, _ = sign_in(parts, "anna@example.com", MAILBOX)
    if how == "account":
        parts.door.accounts.add("anna@example.com", Role.USER)
    elif how == "settings":
        asked.app = browser_of(console(tmp_path / "console")).app
    else:
        admin = account(parts, "admin", Role.ADMIN)
        shown = admin.json("/accounts")["present"]
        assert shown == [{"name": "anna@example.com", "source": "imap", "sessions": 1}]
        assert "Signed in without an account" in admin.get("/accounts").text
        form = {"what": "end", "token": token_of(admin)}
        assert admin.post("/accounts/anna@example.com", form).status == 303
        assert parts.audit.find(who="admin", about="anna@example.com")[0].what == "sessions ended"
        assert admin.post("/accounts/anna@example.com", form).status == 404
    assert asked.get("/account").status == 303


def test_the_password_is_changed_elsewhere(tmp_path, server):
    """There is no form for it, and a form that is sent all the same changes nothing."""
    asked, _ = sign_in(by_imap(tmp_path, server), "anna@example.com", MAILBOX)
    page = asked.get("/account").text
    assert "keeps your password" in page
    assert "/account/password" not in page
    form = {"current": MAILBOX, "password": PASSWORD, "again": PASSWORD, "token": token_of(asked)}
    answer = asked.post("/account/password", form)
    assert (answer.status, "not kept here" in answer.text) == (422, True)


VERSION_1 = """
CREATE TABLE accounts (
  name TEXT PRIMARY KEY, role TEXT NOT NULL, domains TEXT NOT NULL, addresses TEXT NOT NULL, password TEXT,
  is_disabled INTEGER NOT NULL DEFAULT 0, created_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE links (digest BLOB PRIMARY KEY, name TEXT NOT NULL, until_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
  digest BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, client TEXT NOT NULL, began_s INTEGER NOT NULL,
  seen_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_of ON sessions (name);
PRAGMA user_version = 1;
"""


def test_a_file_of_the_release_before(tmp_path, server):
    """Its accounts and sessions go on, and people without an account sign in."""
    parts = by_imap(tmp_path, server)
    asked = account(parts, "admin", Role.ADMIN)
    path = tmp_path / "console" / "accounts.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        tables = {
            name: connection.execute(f"SELECT {columns} FROM {name}").fetchall()
            for name, columns in (("accounts", "*"), ("sessions", "digest, id, name, client, began_s, seen_s"))
        }
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        for name, rows in tables.items():
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        connection.commit()
    assert asked.cookies[COOKIE]
    assert me(asked)["name"] == "admin"
    assert sign_in(parts, "anna@example.com", MAILBOX)[1].status == 303
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_file_of_a_later_release(tmp_path, server, caplog):
    """Is left alone; the page says that something is away, and the log why: paths are not for strangers."""
    parts = by_imap(tmp_path, server)
    account(parts, "admin", Role.ADMIN)
    with closing(sqlite3.connect(tmp_path / "console" / "accounts.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    _, answer = sign_in(parts, "admin", PASSWORD)
    assert (answer.status, "does not answer now" in answer.text, "version 99" in answer.text) == (503, True, False)
    assert "of a later release of forkpolicy (version 99)" in caplog.text
