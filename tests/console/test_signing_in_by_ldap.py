"""People without an account sign in with a password of a directory: Debian's slapd."""

from __future__ import annotations

import gc

import pytest
import trustme

from forkpolicy.compile.command import main
from forkpolicy.console.access.directory import directory as directories
from forkpolicy.console.access.rights import Role
from forkpolicy.console.parts import Parts
from forkpolicy.settings import load_settings
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
)
from tests.ldap_servers import ADMIN, BASE, Slapd, needs_slapd, person
from tests.ldap_servers import PASSWORD as ADMINS

# ldap3 leaves a socket open whose TLS has failed.
pytestmark = [needs_slapd, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

SECRET = "directory pässword"
PEOPLE = f"ou=people,{BASE}"
ENTRIES = [
    person(
        "anna", "Anna@example.com", userPassword=SECRET, description="smtp:Info@Example.com", title="sales@example.com"
    ),
    person("twin1", "twin@example.com", userPassword=SECRET),
    person("twin2", "twin@example.com", userPassword=SECRET),
    person("bare", "bare@example.com"),
    person("odd", "odd@example.com", userPassword=SECRET, description="not an address"),
    person("star", "a*b@example.com", userPassword=SECRET),
]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    cheap_hashes(monkeypatch)
    monkeypatch.setattr(directories, "AWAY_S", 0.0)
    yield
    gc.collect()


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    """A directory that takes an empty password for nobody's, as some do."""
    server = Slapd(tmp_path_factory.mktemp("slapd") / "server", trustme.CA(), ENTRIES, "allow bind_anon_cred")
    yield server
    server.stop()


@pytest.fixture
def shy(tmp_path):
    """A directory that answers nobody who has not signed in."""
    server = Slapd(tmp_path / "shy", trustme.CA(), ENTRIES, "require authc")
    yield server
    server.stop()


def by_ldap(tmp_path, server, **settings):
    """A console whose people have their passwords there."""
    given = {"ldap": server.tls, "ldap_base": PEOPLE, "ca_file": str(server.authority), **settings}
    return console(tmp_path / "console", sign_in=("local", "ldap"), **given)


BY_NAME = {"ldap_user": f"uid={{local}},{PEOPLE}", "ldap_base": ""}


@pytest.mark.parametrize("settings", [{}, BY_NAME])
def test_the_password_of_a_directory_signs_in(tmp_path, slapd, settings):
    """By a search, or by a name that is made of the address; the address is folded."""
    parts = by_ldap(tmp_path, slapd, **settings)
    asked, answer = sign_in(parts, "ANNA@example.com.", SECRET)
    assert answer.status == 303
    found = me(asked)
    assert (found["name"], found["role"], found["addresses"]) == ("anna@example.com", "user", ["anna@example.com"])
    assert [each.what for each in parts.audit.find(who="anna@example.com")] == ["signed in by ldap"]


def test_aliases_come_from_an_attribute(tmp_path, slapd):
    """The one that is named, folded; what is not an address is none."""
    parts = by_ldap(tmp_path, slapd, ldap_alias_attribute="description")
    asked, _ = sign_in(parts, "anna@example.com", SECRET)
    assert me(asked)["addresses"] == ["anna@example.com", "info@example.com"]
    asked, _ = sign_in(parts, "odd@example.com", SECRET)
    assert me(asked)["addresses"] == ["odd@example.com"]


@pytest.mark.parametrize("settings", [{}, BY_NAME])
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna@example.com", "wrong"),
        ("nobody@example.com", SECRET),
        ("anna@example.com", ""),
        ("bare@example.com", SECRET),
        ("twin@example.com", SECRET),
        ("*@example.com", SECRET),
        ("an*@example.com", SECRET),
        ("anna)(mail=*@example.com", SECRET),
        ("anna\\2a@example.com", SECRET),
        ("{domain}@example.com", SECRET),
        ("anna,ou=people@example.com", SECRET),
        ("anna@example.net", SECRET),
    ],
)
def test_nobody_else_signs_in(tmp_path, slapd, settings, name, password):
    """By a part of an address, a pattern, an empty password, an entry without one, or one of two entries; and all are
    answered alike.
    """
    _, answer = sign_in(by_ldap(tmp_path, slapd, **settings), name, password)
    assert (answer.status, WRONG in answer.text) == (401, True)


def test_a_character_of_a_filter_is_itself(tmp_path, slapd):
    """Where an address has one."""
    assert sign_in(by_ldap(tmp_path, slapd), "a*b@example.com", SECRET)[1].status == 303


def test_the_search_may_need_a_name(tmp_path, shy):
    """Whose password is in a file that others may not read."""
    secret = tmp_path / "secret"
    secret.write_text(f"{ADMINS}\n")
    secret.chmod(0o600)
    named = {"ldap_bind_name": ADMIN, "ldap_password_file": str(secret)}
    assert sign_in(by_ldap(tmp_path, shy), "anna@example.com", SECRET)[1].status == 503
    parts = by_ldap(tmp_path, shy, **named)
    assert sign_in(parts, "anna@example.com", SECRET)[1].status == 303
    assert sign_in(parts, "anna@example.com", "wrong")[1].status == 401
    assert sign_in(by_ldap(tmp_path, shy, **BY_NAME), "anna@example.com", SECRET)[1].status == 303
    for content, mode in (("wrong\n", 0o600), ("\n", 0o600), (f"{ADMINS}\n", 0o604)):
        secret.write_text(content)
        secret.chmod(mode)
        assert sign_in(parts, "anna@example.com", SECRET)[1].status == 503
    secret.unlink()
    assert sign_in(parts, "anna@example.com", SECRET)[1].status == 503


@pytest.mark.parametrize(
    ("scheme", "name", "knows", "status"),
    [
        ("ldaps", "localhost", True, 303),
        ("ldaps", "localhost", False, 503),
        ("ldaps", "ldap.example.com", True, 503),
        ("ldap", "ldap.example.com", True, 503),
        ("ldap", "ldap.example.com", False, 503),
        ("ldap", "localhost", False, 303),
    ],
)
def test_no_password_goes_where_no_certificate_is_good(tmp_path, slapd, monkeypatch, scheme, name, knows, status):
    """Of another name, or by an authority that is not known; to this machine itself none is needed by ldap://. The page
    says that nobody can sign in so, and local accounts do.
    """
    resolve_to_loopback(monkeypatch, "ldap.example.com")
    port = (slapd.tls if scheme == "ldaps" else slapd.plain).rpartition(":")[2]
    parts = by_ldap(tmp_path, slapd, ldap=f"{scheme}://{name}:{port}", ca_file=str(slapd.authority) if knows else "")
    account(parts, "admin", Role.ADMIN)
    _, answer = sign_in(parts, "anna@example.com", SECRET)
    assert (answer.status, "cannot be asked now" in answer.text) == (status, status == 503)
    assert sign_in(parts, "admin", PASSWORD)[1].status == 303


def test_start_tls(tmp_path, monkeypatch):
    """Begins before the password where the server is another machine."""
    resolve_to_loopback(monkeypatch, "ldap.example.com")
    # Without TLS this one answers nothing but the request for it.
    server = Slapd(tmp_path / "tls", trustme.CA(), ENTRIES, "security ssf=128", names=("ldap.example.com",))
    try:
        port = server.plain.rpartition(":")[2]
        parts = by_ldap(tmp_path, server, ldap=f"ldap://ldap.example.com:{port}")
        assert sign_in(parts, "anna@example.com", SECRET)[1].status == 303
        plain = by_ldap(tmp_path, server, ldap=f"ldap://127.0.0.1:{port}")
        assert sign_in(plain, "anna@example.com", SECRET)[1].status == 503
    finally:
        server.stop()


def test_a_socket_of_this_machine(tmp_path, slapd):
    """By ldapi://."""
    assert sign_in(by_ldap(tmp_path, slapd, ldap=slapd.socket, ca_file=""), "anna@example.com", SECRET)[1].status == 303


def test_a_directory_that_is_away(tmp_path):
    """The page says so, local accounts go on, and when it is back, people sign in."""
    server = Slapd(tmp_path / "server", trustme.CA(), ENTRIES)
    server.stop()
    parts = by_ldap(tmp_path, server)
    account(parts, "admin", Role.ADMIN)
    for _ in range(9):
        assert sign_in(parts, "anna@example.com", SECRET)[1].status == 503
    assert sign_in(parts, "admin", PASSWORD)[1].status == 303
    server.start()
    try:
        assert sign_in(parts, "anna@example.com", SECRET)[1].status == 303
    finally:
        server.stop()


def test_authorities_that_are_not_there(tmp_path, slapd, caplog):
    """Are said in the log, and the page says that nobody can sign in so."""
    assert sign_in(by_ldap(tmp_path, slapd, ca_file="/nowhere.pem"), "anna@example.com", SECRET)[1].status == 503
    assert "CA public key file" in caplog.text


def test_a_base_that_is_not_there_is_said(tmp_path, slapd, caplog):
    """In the log, since it is nobody's password that is wrong."""
    assert sign_in(by_ldap(tmp_path, slapd, ldap_base="ou=nowhere"), "anna@example.com", SECRET)[1].status == 503
    assert "there is no such base" in caplog.text


def test_who_looks_after_a_domain(tmp_path, slapd):
    """Is who signed in, and not one of the aliases."""
    admins = {"example.com": "info@example.com", "example.net": "anna@example.com"}
    lines = "".join(f"{domain} relay:[192.0.2.5]:25 admins={admin}\n" for domain, admin in admins.items())
    parts = by_ldap(tmp_path, slapd, gateway=gateway(tmp_path, lines), ldap_alias_attribute="description")
    asked, _ = sign_in(parts, "anna@example.com", SECRET)
    assert (me(asked)["role"], me(asked)["domains"]) == ("domain", ["example.net"])


def test_aliases_come_from_a_table(tmp_path, slapd):
    """Of the policy, named `aliases`; without it, and where it cannot be read, people have their own address."""
    (tmp_path / "aliases").write_text('anna@example.com "Info@example.com, sales@example.com"\n')
    (tmp_path / "policy.conf").write_text("table aliases address aliases\naction default DUNNO\n")
    (tmp_path / "forkpolicy.toml").write_text(
        f'policy = "policy.conf"\ntables = "tables"\n[console]\npath = "console"\nsign_in = ["local", "ldap"]\n'
        f'ldap = "{slapd.tls}"\nldap_base = "{PEOPLE}"\nca_file = "{slapd.authority}"\n'
    )
    (tmp_path / "console").mkdir()

    def addresses():
        parts = Parts(load_settings(tmp_path / "forkpolicy.toml"))
        asked, _ = sign_in(parts, "anna@example.com", SECRET)
        parts.lookups.close()
        return me(asked)["addresses"]

    assert addresses() == ["anna@example.com"]
    assert main(["-c", str(tmp_path / "forkpolicy.toml")]) == 0
    assert addresses() == ["anna@example.com", "info@example.com", "sales@example.com"]
    (tmp_path / "policy.conf").write_text("action default DUNNO\n")
    assert addresses() == ["anna@example.com"]


def test_the_form_says_which_password_it_wants(tmp_path, slapd):
    """That of the mailbox, next to accounts of the console."""
    assert "the password is that of your mailbox" in browser_of(by_ldap(tmp_path, slapd)).get("/sign-in").text
