"""Sources by HTTPS: fetched once, compared, never replaced by what is broken, and compiled from the last good copy."""

from __future__ import annotations

import errno
import gzip
import json
import re
import time
from unittest import mock

import pytest
import trustme
import urllib3  # noqa: F401 - once, and not in each child

from forkpolicy import feed_copies
from forkpolicy.commands import main
from forkpolicy.compile import download, freshness
from forkpolicy.feed_copies import read_note
from tests.compiling import Compiler
from tests.feed_server import ANSWER, FeedServer, expired
from tests.owners import owner_lines

BODY = "192.0.2.0/24\n198.51.100.0/24 spam\n"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def compiler(tmp_path, capsys):
    compiler = Compiler(tmp_path, capsys)
    server = f'[server]\nlisten = ["unix:policy"]\ncontrol = "unix:control"\n{owner_lines()}'
    compiler.settings.write_text(compiler.settings.read_text() + server)
    return compiler


@pytest.fixture
def make_server(tmp_path, authority):
    """A function: a server of a name, with a certificate of its own if it is given one."""
    servers = []

    def make(name, certificate=None):
        servers.append(FeedServer(tmp_path / name, authority, certificate))
        return servers[-1]

    yield make
    for each in servers:
        each.stop()


@pytest.fixture
def server(make_server, monkeypatch):
    server = make_server("server")
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    return server


@pytest.fixture
def feed(compiler, server):
    """A function: compile the table `t` of the feed; the outcome."""
    compiler.policy(f"table t cidr {server.url()}")
    compiler.source("own", "example.com\n")

    def compile_it(*arguments):
        return compiler.run("t", "--protect", str(compiler.directory / "own"), *arguments)

    return compile_it


def checked(compiler, capsys):
    """What `check` says of sources: messages with their severity."""
    capsys.readouterr()
    main(["check", "--postfix", "none", "--json", "-c", str(compiler.settings)])
    said = json.loads(capsys.readouterr().out)["diagnostics"]
    others = ("never used", "documentation", "has no access rule")
    return [(each["severity"], each["message"]) for each in said if not any(word in each["message"] for word in others)]


def test_a_feed_is_a_text_source(feed, compiler, server):
    """Key and value as in a file, comments, line ends; entries and mistakes name the URL and the line."""
    server.send("\ufeff# a list\r\n192.0.2.0/24\r\n198.51.100.0/24 spam ; why\r\n")
    assert (feed().status, feed().err) == (0, "")
    entry, other = compiler.found("cidr", "198.51.100.7", "203.0.113.1")
    assert (entry.key, entry.value, entry.source, entry.line) == ("198.51.100.0/24", "spam", server.url(), 3)
    assert other is None
    server.send("192.0.2.0/24\n192.0.2.5/24\n")
    outcome = feed()
    assert outcome.status == 78
    assert f"{server.url()}:2:1: " in outcome.err


def test_columns_of_a_feed(compiler, server):
    """`csv:` takes a URL too."""
    compiler.policy(f"table t cidr csv:{server.url('list.csv')}:net:why")
    server.send("why,net\nspam,192.0.2.0/24\n", name="list.csv")
    assert compiler.run().status == 0
    (entry,) = compiler.found("cidr", "192.0.2.1")
    assert (entry.value, entry.source, entry.line) == ("spam", server.url("list.csv"), 2)


def test_an_unchanged_feed_is_not_sent_again(feed, compiler, server):
    """Its validators are sent back as they came, and 304 leaves the table as it is."""
    server.send(BODY, 'ETag: W/"a, b"', "Last-Modified: Fri, 27 Nov 2026 08:00:00 GMT")
    assert feed("--if-changed").status == 0
    note = read_note(compiler.tables, "t", server.url())
    server.status("304 Not Modified", 'ETag: "other"')
    outcome = feed("--if-changed", "--json")
    assert (outcome.json[0]["state"], outcome.err) == ("unchanged", "")
    first, second = server.requests()
    assert "If-" not in first
    assert 'If-None-Match: W/"a, b"\n' in second
    assert "If-Modified-Since: Fri, 27 Nov 2026 08:00:00 GMT\n" in second
    after = read_note(compiler.tables, "t", server.url())
    assert (after.digest, after.etag, after.fetched) == (note.digest, note.etag, note.fetched)
    assert after.confirmed > note.confirmed
    assert feed().status == 0, "without --if-changed the copy is compiled"


def test_a_validator_that_is_no_use_is_not_kept(feed, server):
    """One that is too long, or not text: the list is fetched again each time, and its copy is good."""
    for etag in ["e" * 60000, "\xe9" * 20000, "a\x01b"]:
        server.raw(ANSWER % (len(BODY), f"ETag: {etag}\r\n".encode("latin-1"), BODY.encode()))
        assert feed().status == 0
        assert feed().status == 0
        assert "If-None-Match" not in server.requests()[-1]
        server.status("500 Later")
        outcome = feed()
        assert outcome.status == 0
        assert "its last good copy is used" in outcome.err


def test_a_feed_without_validators_is_compared(feed, server):
    """What is the same again is no change."""
    server.send(BODY)
    assert feed("--if-changed", "--json").json[0]["state"] == "compiled"
    assert feed("--if-changed", "--json").json[0]["state"] == "unchanged"
    server.send(BODY + "203.0.113.0/24\n")
    outcome = feed("--if-changed", "--json")
    assert (outcome.json[0]["state"], outcome.json[0]["entries"]) == ("compiled", 3)
    assert len(server.requests()) == 3, "it is fetched once a compile"


def test_compressed_feeds(feed, compiler, server):
    """By the encoding of HTTP, as a file .gz, and in several members."""
    packed = gzip.compress(BODY.encode())
    for body, headers in [
        (packed, ["Content-Encoding: gzip"]),
        (packed, ["Content-Type: application/gzip"]),
        (gzip.compress(BODY[:13].encode()) + gzip.compress(BODY[13:].encode()), []),
        (packed + bytes(512), []),
    ]:
        server.send(body, *headers)
        assert (feed().status, feed().err) == (0, "")
        assert compiler.keys("cidr", "192.0.2.1") == ["192.0.2.0/24"]


def chunked(body):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)


LARGE = "".join(f"10.{at >> 8}.{at & 255}.0/24\n" for at in range(65536)).encode()
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
TOO_LARGE = "it is larger than 1 MiB"
CUT = "the connection ended before it was complete"

BROKEN = {
    "404": (b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n", "", "its server answers with status 404 Not Found"),
    "500": (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", "", "status 500 Internal Server Error"),
    "206": (b"HTTP/1.1 206 Some\r\nContent-Length: 13\r\n\r\n192.0.2.0/24\n", "", "status 206 Partial Content"),
    "299": (b"HTTP/1.1 299 Odd\r\nContent-Length: 13\r\n\r\n192.0.2.0/24\n", "", "status 299"),
    "cut by length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n192.0.2.0/24\n", "", CUT),
    "cut between chunks": (chunked(b"192.0.2.0/24\n"), "", CUT),
    "cut without a length": (UNTIL_CLOSED + b"192.0.2.0/24\n", "cut", CUT),
    "cut gzip": (UNTIL_CLOSED + gzip.compress(LARGE)[:-30], "", "was cut: the end of gzip is missing"),
    "cut before gzip's sum": (UNTIL_CLOSED + gzip.compress(b"192.0.2.0/24\n")[:-8], "", "the end of gzip is missing"),
    "damaged gzip": (UNTIL_CLOSED + gzip.compress(b"192.0.2.0/24\n")[:-8] + bytes(8), "", "is damaged: Error -3"),
    "another encoding": (
        UNTIL_CLOSED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n") + b"x",
        "",
        "encoding br",
    ),
    "too large": (UNTIL_CLOSED + LARGE * 2, "", TOO_LARGE),
    "a bomb": (UNTIL_CLOSED + gzip.compress(bytes(1 << 28)), "", TOO_LARGE),
    "a web page": (UNTIL_CLOSED + b"\xef\xbb\xbf \r\n<!DOCTYPE html><title>Sorry</title>", "", "a web page"),
    "not HTTP": (b"220 mail.example ESMTP\r\n", "", "is not HTTP"),
    "no text": (b"\x1b[2J\x07HTTP\r\n" + b"x" * 60000, "", "is not HTTP (?[2j?http)"),
    "nothing": (b"", "", CUT),
    "304 that nobody asked for": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "", "status 304 Not Modified"),
    "a redirect to http": (b"HTTP/1.1 302 Found\r\nLocation: http://localhost/x\r\n\r\n", "", "redirects to http://"),
    "a redirect to no URL": (
        b"HTTP/1.1 302 Found\r\nLocation: https://u:p@[x/\r\n\r\n",
        "",
        "its server redirects to what is not a valid URL",
    ),
    "a redirect to no host": (b"HTTP/1.1 302 Found\r\nLocation: https://../\r\n\r\n", "", "its server is not valid"),
    "a redirect in a circle": (b"HTTP/1.1 302 Found\r\nLocation: /list\r\n\r\n", "", "redirects more than 5 times"),
}


@pytest.mark.parametrize(("answer", "how", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_what_comes_broken_never_replaces_a_good_copy(feed, compiler, server, monkeypatch, answer, how, why):
    """At first it is an error; with a copy it is a warning that says its age, and the copy is compiled."""
    monkeypatch.setattr(download, "MAX_BYTES", 1 << 20)
    server.raw(answer, how=how)
    outcome = feed()
    assert outcome.status == 78
    assert f"policy.conf:1:14: {server.url()}: it cannot be fetched: " in outcome.err
    assert why in outcome.err
    assert compiler.files() == set()

    server.send(BODY)
    assert feed().status == 0
    files = {path.name: path.read_bytes() for path in compiler.tables.iterdir()}
    server.raw(answer, how=how)
    outcome = feed()
    assert outcome.status == 0
    assert why in outcome.err
    assert re.search(r"; its last good copy is used, \d+s old\n", outcome.err)
    assert "warning: " in outcome.err
    after = {path.name: path.read_bytes() for path in compiler.tables.iterdir()}
    assert {name: each for name, each in after.items() if not name.endswith(".feed")} == {
        name: each for name, each in files.items() if not name.endswith(".feed")
    }
    note = read_note(compiler.tables, "t", server.url())
    assert note.failing_since >= note.confirmed
    assert why in note.reason


def test_a_feed_that_the_compile_refuses_does_not_become_the_copy(feed, compiler, server):
    """Wrong lines, and most of the list gone: the next compile, of whatever reason, has the good list."""
    server.send("".join(f"198.51.{at}.0/24\n" for at in range(100)))
    assert feed().status == 0
    refused = {"Sorry, closed\n": "Sorry", "198.51.1.0/24\n": "the table in use has 100", "": "the source is empty"}
    for broken, why in refused.items():
        server.send(broken)
        outcome = feed()
        assert (outcome.status, why in outcome.err) == (78, True)
    server.stop()
    outcome = feed("--json")
    assert (outcome.status, outcome.json[0]["entries"]) == (0, 100)


def test_a_dry_run_keeps_nothing(feed, compiler, server):
    """It shows what the feed has now, and leaves the copy."""
    server.send(BODY)
    assert feed().status == 0
    note = read_note(compiler.tables, "t", server.url())
    server.send(BODY + "203.0.113.0/24\n")
    assert feed("--dry-run", "--json").json[0]["added"] == 1
    assert read_note(compiler.tables, "t", server.url()) == note
    server.send(BODY)
    assert feed("--dry-run", "--if-changed").status == 0
    assert read_note(compiler.tables, "t", server.url()) == note


def test_a_server_that_is_away(feed, compiler, server, capsys, monkeypatch):
    """The compile goes on with the copy; `check` says since when it is old, without asking the server."""
    server.send(BODY)
    assert feed().status == 0
    assert checked(compiler, capsys) == []
    asked = len(server.requests())
    port = server.port
    server.stop()
    outcome = feed("--if-changed")
    assert outcome.status == 0
    assert "its server takes no connection: connection refused; its last good copy is used" in outcome.err
    ((severity, message),) = checked(compiler, capsys)
    assert severity == "warning"
    assert "it cannot be fetched: its server takes no connection" in message
    assert re.search(r"; its last good copy is \d+s old$", message)
    server.start(port)
    assert feed("--if-changed").err == ""
    assert checked(compiler, capsys) == []
    monkeypatch.setattr(freshness, "OLD_S", -1)
    ((severity, message),) = checked(compiler, capsys)
    assert severity == "warning"
    assert re.search(r"it was last fetched \d+s ago: no timer compiles this table", message)
    assert len(server.requests()) == asked + 1, "check asks no server"


def test_a_damaged_copy_is_fetched_again(feed, compiler, server, capsys):
    """Whatever its note says: a server that answers "unchanged" would have us compile it."""
    server.send(BODY, 'ETag: "a"')
    assert feed().status == 0
    (copy,) = compiler.tables.glob(".t.*.copy")
    copy.write_bytes(b"192.0.2.0/24\n")
    ((_, message),) = checked(compiler, capsys)
    assert "it was not fetched yet, or its copy is damaged" in message
    assert feed().status == 0
    assert copy.read_bytes() == BODY.encode()
    assert "If-None-Match" not in server.requests()[1]


def test_a_note_that_cannot_be_written_leaves_the_copy(feed, server, monkeypatch):
    """As on a full disk: a new text with the note of the old one would be no copy at all."""
    server.send(BODY)
    assert feed().status == 0
    server.send(BODY + "203.0.113.0/24\n")
    with monkeypatch.context() as patch:
        patch.setattr(feed_copies, "plain", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        outcome = feed()
    assert (outcome.status, "No space left on device" in outcome.err) == (73, True)
    server.stop()
    outcome = feed("--json")
    assert (outcome.status, outcome.json[0]["entries"]) == (0, 2)
    assert "its last good copy is used" in outcome.err


def test_limits_of_time(feed, server, monkeypatch):
    """A server that sends a byte now and then, in the head or in the body, is not waited for any longer."""
    monkeypatch.setattr(download, "TOTAL_S", 1.0)
    for begin in (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n1", b"HTTP/1.1 200 OK\r\nX-Slow: x"):
        server.raw(begin, how="drip")
        started = time.monotonic()
        outcome = feed()
        assert outcome.status == 78
        assert "it was not complete after 1 s" in outcome.err
        assert time.monotonic() - started < 10


def test_certificates_are_checked(compiler, make_server, authority, server, monkeypatch):
    """Another name, an expired one, an unknown authority: with the words of OpenSSL, and never a fetched list."""
    server.send(BODY)
    named = make_server("named", authority.issue_cert("localhost"))
    compiler.policy(f"table t cidr {named.url(host='127.0.0.1')}")
    assert "is not valid: IP address mismatch, certificate is not valid for '127.0.0.1'" in compiler.run().err
    late = make_server("late", expired(authority))
    late.send(BODY)
    compiler.policy(f"table t cidr {late.url()}")
    assert "the certificate of its server is not valid: certificate has expired" in compiler.run().err
    monkeypatch.delenv("SSL_CERT_FILE")
    compiler.policy(f"table t cidr {server.url()}")
    assert re.search(r"is not valid: (self-signed certificate|unable to get local issuer)", compiler.run().err)
    assert server.requests() == []


def test_redirects(compiler, make_server, server):
    """Relative ones and those to another host are followed; a password goes to its own host and is never shown."""
    other = make_server("other")
    server.status("301 Moved", "Location: next?a=b", name="list")
    server.status("307 Moved", f"Location: {other.url()}", name="next")
    other.send(BODY)
    url = server.url().replace("https://", "https://anna:s3%20cret@")
    compiler.policy(f"table t cidr {url}")
    outcome = compiler.run()
    assert outcome.status == 0
    assert [each.split()[1] for each in server.requests()] == ["/list", "/next?a=b"]
    assert all("Authorization: Basic YW5uYTpzMyBjcmV0\n" in each for each in server.requests())
    assert "Authorization" not in other.requests()[0]
    (entry,) = compiler.found("cidr", "192.0.2.1")
    assert entry.source == server.url().replace("https://", "https://anna:***@")
    server.stop()
    again = compiler.run()
    written = b"".join(path.read_bytes() for path in compiler.tables.iterdir())
    assert "s3%20cret" not in outcome.out + outcome.err + again.out + again.err
    assert b"cret" not in written


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("http://example.org/list", "anybody on the way could change what it sends: use https://"),
        ("csv:http://example.org/list:1", "anybody on the way could change what it sends"),
        ("ftp://example.org/list", "anybody on the way could change what it sends"),
        ("https://", "expected https://HOST/PATH"),
        ("https:///list", "expected https://HOST/PATH"),
        ("https://example.org:99999/list", "with a port from 1 to 65535"),
        ("https://u:s3cret/x@example.org/list", "with a port from 1 to 65535"),
        ("csv:https://example.org/list", "expected csv:FILE:COLUMN"),
        ("httsp://example.org/list", 'did you mean "https://"?'),
    ],
)
def test_urls_that_are_refused(compiler, word, message):
    """At the word of the policy, with what to write."""
    compiler.policy(f"table t cidr {word}")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "policy.conf:1:14: " in outcome.err
    assert message in outcome.err
    assert "s3cret" not in outcome.err


def test_own_networks_and_names_are_protected(compiler, server):
    """By the tables that the policy has of them, compiled first, whatever their order; --allow-own accepts them."""
    compiler.policy(
        f"table feed cidr {server.url()}",
        f"table bad domain {server.url('names')}",
        "table local_networks cidr nets",
        "table local_domains domain names",
    )
    compiler.source("nets", "198.51.100.0/24\n")
    compiler.source("names", "example.com\n")
    server.send("192.0.2.0/24\n198.51.0.0/16\n")
    server.send("example.net\nexample.com\n", name="names")
    outcome = compiler.run()
    assert outcome.status == 78
    assert f"{server.url()}:2: 198.51.0.0/16 must not be in this table: 198.51.100.0/24 is protected" in outcome.err
    assert f"{server.url('names')}:2: example.com must not be in this table: example.com is protected" in outcome.err
    assert "--allow-own accepts them" in outcome.err
    assert compiler.files() == {"local_networks.lmdb", "local_domains.lmdb"}
    assert compiler.run("--allow-own").status == 0
    assert compiler.run("--if-changed").status == 78, "what is in use is looked at, too"


def test_a_feed_that_nothing_protects_is_a_warning(compiler, server):
    """With what to do about it."""
    compiler.policy(f"table t cidr {server.url()}")
    server.send(BODY)
    outcome = compiler.run()
    assert (outcome.status, outcome.err.count("warning")) == (0, 1)
    assert "no compiled table of our own networks and names protects it" in outcome.err
    assert "--protect FILE" in outcome.err


def test_copies_of_other_urls_are_removed(compiler, server):
    """When the table was compiled from its new ones."""
    compiler.policy(f"table t cidr {server.url()}", f"table t.u cidr {server.url()}")
    server.send(BODY)
    server.send(BODY, name="other")
    assert compiler.run("--allow-own").status == 0
    before = {path.name for path in compiler.tables.glob(".t.*")}
    compiler.policy(f"table t cidr {server.url('other')}", f"table t.u cidr {server.url()}")
    assert compiler.run("t", "--allow-own").status == 0
    after = {path.name for path in compiler.tables.glob(".t.*")}
    assert len(before & after) == 2
    assert len(after) == len(before) == 4


def test_the_extra_is_named(compiler, monkeypatch):
    """Where urllib3 is not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    compiler.policy("table t cidr https://example.org/list")
    assert "https sources need urllib3, which is not installed: pip install 'forkpolicy[https]'" in compiler.run().err
