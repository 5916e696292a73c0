"""`ldap:` sources: Debian's slapd, asked as an administrator would, and every mistake in the file that says how."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import select
import socket
import threading

import pytest
import trustme

from forkpolicy.commands import main
from forkpolicy.compile.sources import ldapsearch
from forkpolicy.tables.rows import Row
from tests.compiling import Compiler
from tests.ldap_servers import ADMIN, BASE, PASSWORD, Slapd, needs_slapd, person, reference, unit
from tests.owners import owner_lines

# ldap3 leaves a socket open whose TLS has failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def nothing_left_for_others():
    yield
    gc.collect()


PEOPLE = f"ou=people,{BASE}"
ENTRIES = [
    person("jane", "Jane@example.com", "sales@example.com", title="staff"),
    person("bob", "bob@example.net", **{"mail;lang-de": "robert@example.net"}),
    person("nobody"),
    reference("elsewhere", f"ldap://192.0.2.1/ou=elsewhere,{BASE}"),
]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def slapd(tmp_path_factory, authority):
    server = Slapd(tmp_path_factory.mktemp("slapd") / "server", authority, ENTRIES)
    yield server
    server.stop()


@pytest.fixture
def make_slapd(tmp_path, authority):
    """A function: a server with other entries and settings."""
    servers = []

    def make(entries, *settings):
        servers.append(Slapd(tmp_path / "server", authority, entries, *settings))
        return servers[-1]

    yield make
    for each in servers:
        each.stop()


@pytest.fixture
def compiler(tmp_path, capsys):
    compiler = Compiler(tmp_path, capsys)
    server = f'[server]\nlisten = ["unix:policy"]\ncontrol = "unix:control"\n{owner_lines()}'
    compiler.settings.write_text(compiler.settings.read_text() + server)
    compiler.source("password", f"{PASSWORD}\nmore\n").chmod(0o600)
    return compiler


def search(compiler, url, kind="address", *lines, attribute="mail", base=PEOPLE):
    """A policy with one table of one search."""
    compiler.policy(f"table t {kind} ldap:search.toml")
    text = [f'url = "{url}"', f'base = "{base}"', f'attribute = "{attribute}"', *lines]
    compiler.source("search.toml", "\n".join(text) + "\n")


def rows(compiler):
    """What the source lists."""
    source = ldapsearch.open_source("search.toml", compiler.directory)
    return sorted(source.rows()), source.warnings


BIND = f'bind_name = "{ADMIN}"', 'password_file = "password"'


@needs_slapd
@pytest.mark.parametrize("way", ["plain", "start_tls", "tls", "socket"])
def test_each_value_is_an_entry(compiler, slapd, way):
    """Over every kind of connection; a value with an option is one, too."""
    url = {"plain": slapd.plain, "start_tls": slapd.plain, "tls": slapd.tls, "socket": slapd.socket}[way]
    tls = {"start_tls": ["start_tls = true"]}.get(way, [])
    ca = [f'ca_file = "{slapd.authority}"'] if way in ("start_tls", "tls") else []
    search(compiler, url, "address", *tls, *ca, *BIND, base=BASE)
    outcome = compiler.run("--json")
    assert outcome.json[0]["entries"] == 4
    assert compiler.keys("address", "jane@example.com", "sales@example.com", "robert@example.net", "x@example.com") == [
        "jane@example.com",
        "sales@example.com",
        "robert@example.net",
        None,
    ]
    assert "warning: ldap:search.toml: entries without mail are left out (3)" in outcome.err.replace(
        str(compiler.directory), ""
    )
    assert "references to other servers are not followed (1)" in outcome.err
    assert PASSWORD not in outcome.err


@needs_slapd
def test_values_filters_and_scopes(compiler, slapd):
    """The value is another attribute's; names of attributes fold; entries have the file as their source."""
    search(compiler, slapd.socket, "key", 'value = "TITLE"', 'filter = "(title=*)"', attribute="UID")
    assert compiler.run().err == ""
    (entry,) = compiler.found("key", "jane")
    assert (entry.value, entry.source, entry.line) == ("staff", f"ldap:{compiler.directory}/search.toml", 0)
    for base, scope, found in [(BASE, "subtree", 2), (BASE, "one", 0), (PEOPLE, "one", 2), (PEOPLE, "base", 0)]:
        search(compiler, slapd.socket, "key", f'scope = "{scope}"', 'filter = "(mail=*)"', attribute="uid", base=base)
        assert len(rows(compiler)[0]) == found
    search(compiler, slapd.socket, "key", 'scope = "base"', attribute="dc", base=BASE)
    assert rows(compiler)[0] == [Row("example", None, 0, BASE)]


@needs_slapd
def test_logins_and_their_addresses(compiler, slapd):
    """A table of pairs takes as many attributes: who may send as what."""
    search(compiler, slapd.socket, "pair:text,address", attribute="uid mail")
    assert compiler.run().status == 0
    looked = [main(["lookup", "-c", str(compiler.settings), "t", *words]) for words in (
        ("jane", "sales@example.com"), ("bob", "robert@example.net"), ("bob", "sales@example.com"))]  # fmt: skip
    assert looked == [0, 0, 1]
    search(compiler, slapd.socket, "pair:text,address")
    assert 'its file has attribute = "mail": expected 2 attributes, one for each column' in compiler.run().err
    search(compiler, slapd.socket, "address", attribute="uid mail")
    assert 'its file has attribute = "uid mail": expected one attribute' in compiler.run().err


@needs_slapd
@pytest.mark.parametrize(
    ("login", "sender", "reply"),
    [
        ("jane", "sales@example.com", "DUNNO"),
        ("JANE", "jane@EXAMPLE.com", "DUNNO"),
        ("jane", "bob@example.net", "REJECT 5.7.1 bob@example.net is not an address of jane"),
        ("nobody", "jane@example.com", "REJECT 5.7.1 jane@example.com is not an address of nobody"),
        ("jane", "", "DUNNO"),
    ],
)
def test_users_send_as_their_own_addresses(compiler, slapd, capsys, login, sender, reply):
    """The recipe of the cookbook, with a directory as the source of its table."""
    search(compiler, slapd.socket, attribute="uid mail")
    compiler.policy(
        "table own_addresses pair:text,address ldap:search.toml",
        "acl signed_in authenticated",
        "acl own table:own_addresses {sasl_username} {sender}",
        "acl receipt null_sender",
        "action not_yours REJECT 5.7.1 {sender} is not an address of {sasl_username}",
        "access signed_in !receipt !own not_yours",
    )
    assert compiler.run().status == 0
    request = [f"sasl_username={login}", f"sender={sender}", "sasl_method=PLAIN", "recipient=anna@example.org"]
    assert main(["explain", "--json", "-c", str(compiler.settings), *request]) == 0
    assert json.loads(capsys.readouterr().out)["action"] == reply


@needs_slapd
def test_prefixes(compiler, slapd):
    """As Active Directory has them in front of addresses, in any case."""
    search(compiler, slapd.socket, "key", 'prefix = "JANE@"')
    assert rows(compiler) == ([Row("example.com", None, 0, f"uid=jane,{PEOPLE}")], [
        "entries without mail are left out (3)"])  # fmt: skip


@needs_slapd
def test_pages(compiler, make_slapd):
    """More entries than a page has, and a server that gives no more than so many: an error, never a short list."""
    people = [person(f"u{at}", f"u{at}@example.com") for at in range(45)]
    server = make_slapd(people, "sizelimit 30")
    search(compiler, server.socket, "address", *BIND, "page_size = 10")
    assert len(rows(compiler)[0]) == 45
    search(compiler, server.socket, "address", "page_size = 10")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "the directory does not give more than 30 entries: the server gives no more entries" in outcome.err
    assert "(sizeLimitExceeded)" in outcome.err
    assert compiler.files() == set()


@needs_slapd
def test_what_is_wrong_in_the_directory(compiler, make_slapd):
    """A value that is no key, and one that is no text: with the entry's name. --skip-bad leaves the former out."""
    picture = base64.b64encode(b"\xff\xd8\xff").decode()
    entries = [person("a", "not an address"), person("b", "b@example.com") + f"jpegPhoto:: {picture}\n", unit("x")]
    entries += [person("c", "c@example.com", title="one") + "title: two\n"]
    server = make_slapd(entries)
    search(compiler, server.socket)
    outcome = compiler.run()
    assert outcome.status == 78
    assert f'search.toml: uid=a,{PEOPLE}: "not an address" is not a name: ' in outcome.err
    assert compiler.run("--skip-bad").status == 0
    search(compiler, server.socket, "key", attribute="jpegPhoto")
    assert (
        rf"uid=b,{PEOPLE}: jpegPhoto has bytes that are not UTF-8, b'\xff\xd8\xff': expected text" in compiler.run().err
    )
    search(compiler, server.socket, "key", 'value = "title"')
    assert f"uid=c,{PEOPLE}: title has 2 values: expected one" in compiler.run().err
    search(compiler, server.socket, "key", attribute="rfc822Mailbox")
    assert "the server calls an attribute mail: write that name in the file" in compiler.run().err
    server.stop()
    assert "the directory cannot be asked: " in compiler.run().err


@needs_slapd
def test_what_the_server_refuses(compiler, slapd):
    """Each with what to do about it, and without the password."""
    compiler.source("wrong", "s3cret2\n").chmod(0o600)
    search(compiler, slapd.socket, "address", BIND[0], 'password_file = "wrong"')
    outcome = compiler.run()
    assert "the directory does not sign in: bind_name or its password is wrong (invalidCredentials)" in outcome.err
    assert "s3cret2" not in outcome.err
    search(compiler, slapd.socket, base=f"ou=nosuch,{BASE}")
    assert "there is no such base, or bind_name may not see it (noSuchObject)" in compiler.run().err
    search(compiler, slapd.socket, "address", 'filter = "(mail=*"')
    assert "the directory cannot be asked: invalid filter" in compiler.run().err
    search(compiler, slapd.socket, base="ou=nosuch,dc=example,dc=org")
    assert "(noSuchObject)" in compiler.run().err
    search(compiler, slapd.socket, base=f"ou=elsewhere,{BASE}")
    assert "it is on another server, and references are not followed: ask that one (referral)" in compiler.run().err


@needs_slapd
def test_certificates_are_checked(compiler, slapd):
    """The authority and the name, by TLS from the start or later."""
    search(compiler, slapd.tls)
    assert "certificate verify failed" in compiler.run().err
    search(compiler, slapd.tls, "address", 'ca_file = "/nowhere.pem"')
    assert "the directory cannot be asked: invalid CA public key file" in compiler.run().err
    ca = f'ca_file = "{slapd.authority}"'
    search(compiler, slapd.tls.replace("localhost", "127.0.0.1"), "address", ca)
    outcome = compiler.run()
    assert "the certificate of its server is not for this name: " in outcome.err
    assert len(outcome.err) < 600
    search(compiler, slapd.plain.replace("localhost", "127.0.0.1"), "address", "start_tls = true", ca)
    assert "the certificate of its server is not for this name: " in compiler.run().err


def test_a_server_that_does_not_answer(compiler, capsys):
    """One that is silent, one that ends the connection, and none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ldap://127.0.0.1:{listening.getsockname()[1]}"
        search(compiler, url, "address", "timeout = 1")
        assert "the directory cannot be asked: error receiving data: timed out" in compiler.run().err
        thread = threading.Thread(target=lambda: [listening.accept()[0].close() for _ in range(2)])
        thread.start()
        assert "the directory cannot be asked: " in compiler.run().err
        thread.join()
    assert "onnection refused" in compiler.run().err


def lying(said, *, drip=False):
    """The port of a server that signs everybody in, and then answers each message by bytes made of its number; or with
    the first byte of it again and again.
    """
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listening, listening.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(message(number(connection.recv(4096)), SIGNED_IN))
            answer = said(number(connection.recv(4096)))
            connection.sendall(answer)
            while drip and not select.select([connection], [], [], 0.05)[0]:
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listening.getsockname()[1]


def tlv(tag, value):
    return bytes([tag, 0x84, *len(value).to_bytes(4, "big")]) + value


def message(number, operation):
    return tlv(0x30, bytes([2, 1, number]) + operation)


def number(asked):
    """Of a message that came: an integer of one byte."""
    return asked[asked.index(b"\x02\x01") + 2]


SIGNED_IN = tlv(0x61, b"\x0a\x01\0\x04\0\x04\0")
ONE = tlv(0x64, tlv(4, b"uid=a") + tlv(0x30, tlv(0x30, tlv(4, b"mail") + tlv(0x31, tlv(4, b"a@example.com")))))


@pytest.mark.parametrize(
    ("said", "drip", "why"),
    [
        (lambda n: message(n, ONE) + message(n, tlv(0x65, b"\xff")), False, "sends is not LDAP"),
        (lambda n: message(n, ONE) + message(n, b"\x65"), False, "sends is not LDAP"),
        (lambda n: message(n, ONE) + message(n, SIGNED_IN), False, "may not be complete"),
        (lambda n: message(n, ONE) * 20_000, False, "an answer is larger than 1 MiB"),
        (lambda _: b"\x30", True, "the answers were not complete after 1 s"),
        (lambda n: message(n, ONE)[:-1], True, "the answers were not complete after 1 s"),
    ],
    ids=["no result", "cut", "another answer", "without end", "bytes", "entries"],
)
def test_a_server_that_lies_is_an_error(compiler, monkeypatch, said, drip, why):
    """Never a traceback, a short list, all of the memory or a wait without end."""
    monkeypatch.setattr(ldapsearch, "MAX_ANSWER_BYTES", 1 << 20)
    monkeypatch.setattr(ldapsearch, "TOTAL_S", 1.0 if drip else 60.0)
    search(compiler, f"ldap://127.0.0.1:{lying(said, drip=drip)}", "address", "timeout = 5")
    outcome = compiler.run()
    assert outcome.status == 78
    assert why in outcome.err
    assert compiler.files() == set()


@needs_slapd
def test_unchanged_directories(compiler, slapd, capsys):
    """They are asked, and nothing is compiled; `check` asks no server."""
    search(compiler, slapd.socket)
    assert compiler.run().status == 0
    assert compiler.run("--if-changed", "--json").json[0]["state"] == "unchanged"
    search(compiler, "ldapi://%2Fnosuch")
    assert checked(compiler, capsys) == []


def checked(compiler, capsys):
    """What `check` says of sources."""
    capsys.readouterr()
    main(["check", "--postfix", "none", "--json", "-c", str(compiler.settings)])
    said = json.loads(capsys.readouterr().out)["diagnostics"]
    others = ("never used", "documentation", "has no access rule", "cannot be used")
    return [f"{each['path']}:{each['line']}: {each['message']}" for each in said
            if not any(word in each["message"] for word in others)]  # fmt: skip


GOOD = {"url": '"ldaps://localhost"', "base": f'"{BASE}"', "attribute": '"mail"'}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"url": None}, '1: "url" is missing'),
        ({"bass": '"x"'}, '4: unknown setting "bass"'),
        ({"url": '"http://localhost"'}, '1: url: expected "ldaps://HOST"'),
        ({"url": '"ldap://"'}, '1: url: expected "ldaps://HOST"'),
        ({"url": '"ldap://h:99999"'}, '1: url: expected "ldaps://HOST"'),
        ({"url": '"ldapi://"'}, '1: url: expected "ldaps://HOST"'),
        ({"url": '"ldap://h/dc=example?mail"'}, "alone: base, filter, attribute and bind_name are settings"),
        ({"attribute": '"mail,uid"'}, "3: attribute: expected an attribute"),
        ({"value": '"a b"'}, "4: value: expected one attribute"),
        ({"scope": '"sub"'}, '4: scope: expected one of subtree, one, base, got "sub"; did you mean "subtree"?'),
        ({"timeout": "0"}, "4: timeout: expected a number from 1 to 60, got 0"),
        ({"page_size": "0"}, "4: page_size: expected a number from 1"),
        ({"start_tls": "true"}, "4: start_tls is for ldap:// alone"),
        ({"url": '"ldap://localhost"', "ca_file": '"x"'}, "4: ca_file: the connection does not use TLS"),
        ({"bind_name": '"cn=a"'}, "4: bind_name needs a password"),
        ({"password_file": '"password"'}, "4: password_file: there is no bind_name whose password it has"),
        (
            {"url": '"ldap://ldap.example.com"', "bind_name": '"cn=a"', "password_file": '"password"'},
            "1: url: ldap://ldap.example.com is another machine, and the password would cross the network in clear",
        ),
        ({"bind_name": '"cn=a"', "password_file": '"nosuch"'}, "nosuch:0: cannot be read"),
        ({"bind_name": '"cn=a"', "password_file": '"open"'}, "password_file: everybody may read or change "),
        ({"bind_name": '"cn=a"', "password_file": '"empty"'}, "empty is empty: expected a password in its first line"),
    ],
)
def test_mistakes_in_the_file(compiler, capsys, changed, message):
    """At their line, with the nearest name; by the compile and by `check`, which ask no server for it."""
    compiler.source("open", "s3cret\n").chmod(0o644)
    compiler.source("empty", "").chmod(0o600)
    compiler.policy("table t address ldap:search.toml")
    settings = {name: value for name, value in {**GOOD, **changed}.items() if value}
    compiler.source("search.toml", "".join(f"{name} = {value}\n" for name, value in settings.items()))
    found = checked(compiler, capsys)
    assert len(found) == 1
    assert message in found[0]
    outcome = compiler.run()
    assert outcome.status == 78
    assert message.split(": ", 1)[-1] in outcome.err
    assert "s3cret" not in outcome.err


def test_a_map_of_postfix_is_another_file(compiler):
    """Its settings have other names, and no quotes."""
    compiler.policy("table t address ldap:users.cf")
    compiler.source("users.cf", "server_host = ldap.example.com\nsearch_base = dc=example,dc=com\n")
    outcome = compiler.run()
    assert "users.cf:1: this is a map of Postfix (ldap_table(5))" in outcome.err
    assert 'write url = "ldaps://HOST"' in outcome.err


def test_the_extra_is_named(compiler, monkeypatch, capsys):
    """Where ldap3 is not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    search(compiler, "ldaps://localhost")
    message = "directories need ldap3, which is not installed: pip install 'forkpolicy[ldap]'"
    assert message in compiler.run().err
    assert message in checked(compiler, capsys)[0]
