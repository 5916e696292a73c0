"""The store of tools, by redis-py, against Debian's redis-server: everything once, and what fails in words."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from forkpolicy.errors import StateError
from forkpolicy.redis_urls import parse_url
from forkpolicy.state.questions.listed import Forget, Listed, Remember
from forkpolicy.state.redis.access import Access
from forkpolicy.state.redis.hosts import Announce
from forkpolicy.state.redis.store import RedisStore
from loadtest.servers.pausing import pause
from tests.process.test_redis_client import Sentinels, certificates, cluster, tls_server, until
from tests.redis_servers import RedisServer, needs_redis
from tests.stores import distinct, greylisting, rate

pytestmark = needs_redis
__all__ = ["certificates", "cluster", "tls_server"]

# What docs/several-hosts.md has for a user of an engine.
RIGHTS = "~forkpolicy:* +@read +@write +@scripting +@connection -@dangerous +info +time +cluster|slots"


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def open_store():
    """Stores that are closed at the end."""
    opened = []

    def make(access):
        opened.append(RedisStore(access))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def do_everything(store, others=0):
    """One of each kind, and all that tools do. `others`: keys that are there and not the store's."""
    assert not store.ask(rate((1, 3600), instance="1.a", counting="messages")).over
    assert store.ask(rate((1, 3600), instance="2.b", counting="messages")).over
    assert store.peek(rate((1, 3600), instance="2.b", counting="messages")).over
    assert store.ask(greylisting(auto=1)).result == "new"
    assert store.ask(greylisting(delay_s=0, auto=1)).result == "passed"
    assert store.ask(greylisting(sender="else@example.org", auto=1)).result == "auto"
    assert store.ask(distinct("a")).different == 1
    store.ask(Remember("bans", ("192.0.2.7",), 3600))
    assert store.peek(Listed("bans", ("192.0.2.7",))).until_s > store.now_s() + 3590
    found = [key for key, _ in store.walk(b"", b"", 100)]
    assert found == sorted(found)
    assert {key[:1] for key in found} == {b"r", b"i", b"g", b"n", b"d", b"l"}
    assert store.ask(Announce("mx1", "{}")).entries >= 1
    assert [name for name, _, _ in store.hosts()] == ["mx1"]
    assert store.describe().entries == len(found) + 1 + others
    assert store.reset(b"g\0grey\0") == 1
    store.ask(Forget("bans", ("192.0.2.7",)))
    assert store.ask(Listed("bans", ("192.0.2.7",))).until_s is None
    assert len(store.walk(b"", b"", 100)) == len(found) - 2


def test_everything_in_one_server(server, open_store):
    """And what it has not stored itself stays: keys of others, and of another prefix."""
    other = open_store(server.access(prefix="other"))
    other.ask(Remember("bans", ("192.0.2.7",), 3600))
    other._client.set("forkpolicy:session:1", "of another program")
    do_everything(open_store(server.access()), others=2)
    assert other._client.get("forkpolicy:session:1") == b"of another program"
    assert other.ask(Listed("bans", ("192.0.2.7",))).until_s


def test_everything_in_a_cluster(cluster, open_store):
    """Both records of a question are in one slot; keys of all nodes are walked and forgotten."""
    store = open_store(cluster.access)
    do_everything(store)
    for number in range(50):
        store.ask(Remember("many", (f"{number:02}",), 3600))
    found = store.walk(b"l\0many\0", b"", 100)
    assert [key for key, _ in found] == [b"l\0many\0%02d\0" % number for number in range(50)]
    assert store.reset(b"l\0many\0") == 50


def test_the_documentation_has_these_rights():
    """Word for word."""
    assert RIGHTS in (Path(__file__).parent.parent.parent / "docs" / "several-hosts.md").read_text()


def test_everything_as_a_user_with_few_rights(server, open_store, tmp_path):
    """Those that the documentation has, and no others: nothing of other programs."""
    admin = open_store(server.access())
    admin._client.execute_command("ACL", "SETUSER", "mail", "on", ">s3cret", *RIGHTS.split())
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    store = open_store(server.access(user="mail", password_file=str(secret)))
    do_everything(store)
    with pytest.raises(StateError, match="has no permissions"):
        open_store(server.access(user="mail", password_file=str(secret), prefix="other")).ask(distinct("a"))


@pytest.mark.parametrize(("content", "said"), [("s3cret-not\n", "invalid username-password"), ("", "is empty")])
def test_a_wrong_password_is_never_shown(server, open_store, tmp_path, content, said):
    """The reason is, with the path of the file where that is the reason."""
    open_store(server.access())._client.config_set("requirepass", "s3cret")
    (tmp_path / "secret").write_text(content)
    with pytest.raises(StateError, match=said) as failed:
        open_store(server.access(password_file=str(tmp_path / "secret"))).ask(distinct("a"))
    assert "s3cret" not in str(failed.value)


def test_a_server_that_stands_still_counts_once(server, open_store):
    """The call fails in time, and is not made again: redis-py would, and count twice."""
    asked, other = open_store(server.access(timeout_s=0.3)), open_store(server.access(timeout_s=20.0))
    asked.ask(rate((100, 3600)))
    pause(server.process.pid)
    with pytest.raises(StateError, match=r"did not answer within 0\.3 s"):
        asked.ask(rate((100, 3600)))
    os.kill(server.process.pid, signal.SIGCONT)
    assert other.peek(rate((100, 3600))).used == (2,)
    assert asked.ask(rate((100, 3600))).used == (2,)


def test_an_engine_that_was_emptied_gets_its_scripts_again(server, open_store):
    """What it does not know has not run: the script is sent whole."""
    store = open_store(server.access())
    store.ask(rate((100, 3600)))
    store._client.script_flush()
    assert store.ask(rate((100, 3600))).used == (1,)


def test_a_full_engine_is_a_failure(server, open_store):
    """And not "not listed"."""
    store = open_store(server.access())
    store._client.config_set("maxmemory", "1")
    with pytest.raises(StateError, match="used memory"):
        store.ask(Remember("bans", ("192.0.2.7",), 3600))


def test_certificates_are_those_of_the_settings_alone(tls_server, certificates, open_store, monkeypatch):
    """Of the given CA and for the name in the URL. What the system trusts does not count: redis-py would add it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    url = parse_url(f"rediss://localhost:{tls_server.tls_port}")
    do_everything(open_store(Access(url, timeout_s=5.0)))
    open_store(Access(url, timeout_s=5.0))._client.flushall()
    do_everything(open_store(Access(url, ca_file=str(certificates / "ca.pem"), timeout_s=5.0)))
    nameless = parse_url(f"rediss://127.0.0.1:{tls_server.tls_port}")
    for wrong, ca_file in ((url, "other.pem"), (nameless, "ca.pem")):
        with pytest.raises(StateError, match="its certificate is not accepted"):
            open_store(Access(wrong, ca_file=str(certificates / ca_file), timeout_s=5.0)).ask(distinct("a"))


def test_sentinels_lead_to_the_master(tmp_path, open_store):
    """And to the next one when it has died; a name that they do not know is said."""
    servers = Sentinels(tmp_path)
    try:
        until(servers.knows_replica)
        store = open_store(servers.access)
        do_everything(store)
        unknown = Access(parse_url(str(servers.access.url).replace("/mail", "/nail")))
        with pytest.raises(StateError, match="no sentinel knows a master of this name"):
            open_store(unknown).ask(distinct("a"))
        servers.master.stop()
        until(lambda: answers(store))
    finally:
        servers.stop()


def answers(store):
    try:
        return store.ask(distinct("a")) is not None
    except StateError:
        return False
