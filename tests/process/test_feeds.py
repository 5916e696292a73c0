"""Lists of other servers next to a running server, and compiles that end while they fetch one."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import trustme

from loadtest.clients.policy_client import PolicyClient
from tests.compiling import Compiler
from tests.feed_server import FeedServer
from tests.process.conftest import POLICY, REJECT, request
from tests.process.test_metrics import fetch
from tests.process.waiting import eventually

PROTECTED = "table local_domains domain domains\n"


@pytest.fixture
def feed_server(tmp_path, monkeypatch):
    server = FeedServer(tmp_path / "feeds", trustme.CA())
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    yield server
    server.stop()


def test_a_server_takes_a_list_and_shows_its_age(make_server, feed_server):
    """A new list is served within seconds; `status` and the metrics show how old it is and why it cannot be fetched."""
    feed_server.send("example.org\n", 'ETag: "1"')
    policy = f"{PROTECTED}table feed domain {feed_server.url()}\nacl bad sender table:feed\naccess bad prove_it\n"
    server = make_server(policy=POLICY.replace("access", f"{policy}access", 1), workers=1)
    server.settings.write_text(server.settings.read_text() + '[metrics]\nlisten = "unix:metrics"\n')
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(request("a@example.org")) == REJECT
        assert client.ask(request("a@example.net")) != REJECT
        feed_server.send("example.org\nexample.net\n", 'ETag: "2"')
        server.compile("--if-changed", "feed")
        eventually(lambda: client.ask(request("a@example.net")) == REJECT)
    rows = server.command("status").stdout
    assert re.search(rf"^feed     feed {re.escape(feed_server.url())}: 00:00:\d\d old$", rows, re.MULTILINE)
    (note,) = server.status()["feeds"]
    assert (note["table"], note["etag"], note["failing_since"]) == ("feed", '"2"', 0.0)
    page = fetch(server)[1]
    shown = float(re.search(r'_feed_confirmed_timestamp_seconds{table="feed"} (\S+)', page)[1])
    assert shown == pytest.approx(note["confirmed"], abs=10)
    feed_server.stop()
    server.compile("feed")
    rows = server.command("status").stdout
    assert re.search(r"^feed     feed \S+: \S+ old, CANNOT BE FETCHED: its server takes no conn", rows, re.MULTILINE)
    (after,) = server.status()["feeds"]
    assert after["confirmed"] == note["confirmed"] <= after["failing_since"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15), (signal.SIGINT, 130)])
def test_a_compile_that_ends_while_it_fetches(folder, feed_server, number, status):
    """Nothing of it goes on, the table in use and the copy stay, and the next compile leaves nothing else."""
    compiler = Compiler(folder)
    compiler.policy(f"table t domain {feed_server.url()}")
    feed_server.send("example.com\n")
    assert ended(compiler.spawn()) == 0
    before = {path.name: path.read_bytes() for path in compiler.tables.iterdir()}
    feed_server.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nx", how="drip")
    process = compiler.spawn()
    eventually(lambda: len(feed_server.requests()) == 2)
    (fetching,) = children(process.pid)
    process.send_signal(number)
    assert ended(process) == status
    eventually(lambda: not Path(f"/proc/{fetching}").exists() or "Z" in state(fetching))
    after = {path.name: path.read_bytes() for path in compiler.tables.iterdir()}
    assert {name: after.get(name) for name in before} == before
    feed_server.send("example.com\nexample.net\n")
    assert ended(compiler.spawn()) == 0
    assert compiler.keys("domain", "example.net") == ["example.net"]
    assert len(list(compiler.tables.iterdir())) == len(before)


def ended(process):
    process.communicate(timeout=60)
    return process.returncode


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
