"""The resolver: each question once, each answer once, within its time; and what it keeps."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter

import pytest

from forkpolicy.errors import WorldError
from forkpolicy.world.dns import pool
from forkpolicy.world.dns.answers import NXDOMAIN, Answer, Status
from forkpolicy.world.dns.cache import Cache
from forkpolicy.world.dns.resolv_conf import servers_of
from loadtest.servers.names.behaviours import fails, has, late, listed, never
from loadtest.servers.names.messages import SERVFAIL, Record
from loadtest.servers.names.server import NameServer
from tests.resolving import asking

LISTED = ("127.0.0.2",)


class Clock:
    """Goes on when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def server():
    with NameServer(zones={"list.example": listed(), "slow.example": late(0.6, listed())}) as server:
        yield server


def test_an_answer_is_asked_for_once_and_kept(server):
    """The next one is there at once."""
    with asking(server.address) as client:
        assert client.resolver.cached("a.list.example", "A") is None
        answer = client.ask("a.list.example")
        assert client.resolver.cached("a.list.example", "A") is answer
        assert client.ask("a.list.example") is answer
        assert client.resolver.counts == {"ok": 1, "cached": 1}
    assert server.asked["a.list.example", "A"] == 1


def test_equal_questions_in_flight_are_one(server):
    """Ten want it, one is asked, all have it."""
    with asking(server.address) as client:
        answers = [client.begin("a.slow.example") for _ in range(10)]
        client.wait()
        assert [answer.records for (answer,) in answers] == [LISTED] * 10
        assert client.resolver.counts == {"ok": 1, "joined": 9}
    assert server.asked["a.slow.example", "A"] == 1


def test_types_of_records():
    """As text, bytes of a text, preference and name."""
    records = [
        Record("A", "192.0.2.1"),
        Record("AAAA", "2001:db8::1"),
        Record("MX", "10 mx.example.com"),
        Record("PTR", "host.example.com"),
        Record("TXT", b"caf\xc3\xa9"),
    ]
    with NameServer({"a.example": has(*records)}) as server, asking(server.address) as client:
        found = {each.rrtype: client.ask("a.example", each.rrtype).records for each in records}
    assert found == {
        "A": ("192.0.2.1",),
        "AAAA": ("2001:db8::1",),
        "MX": ((10, "mx.example.com"),),
        "PTR": ("host.example.com",),
        "TXT": (b"caf\xc3\xa9",),
    }


def test_a_slow_answer_is_waited_for_after_many_quick_ones(server):
    """c-ares would make the time-out that of a server that answers at once: 0.6 s would be too late."""
    with asking(server.address, timeout_s=1.0) as client:
        for number in range(60):
            assert client.ask(f"n{number}.list.example").records == LISTED
        assert client.ask("a.slow.example").records == LISTED
    assert server.asked["a.slow.example", "A"] == 1


def test_no_answer_takes_two_timeouts():
    """It is the resolver that ends it: two tries of c-ares take three."""
    with NameServer(default=never()) as server, asking(server.address, timeout_s=0.4) as client:
        answer, took_s = client.timed("a.example")
    assert answer.reason == "no answer in 0.8 s"
    assert took_s >= 0.8


def test_a_dead_first_server_delays_few_questions(server):
    """From the first answer on, the next server is the first."""
    with NameServer(default=never()) as dead, asking(dead.address, server.address, timeout_s=0.4) as client:
        answer, took_s = client.timed("a.list.example")
        assert answer.records == LISTED
        assert took_s >= 0.4
        for number in range(40):
            assert client.ask(f"n{number}.list.example").records == LISTED
        assert len(dead.asked) <= 2


def test_without_servers_those_of_resolv_conf_are_asked(server, tmp_path, monkeypatch):
    """And those that it has later: a machine that starts may have none yet."""
    monkeypatch.setattr(pool, "LOOK_EVERY_S", 0)
    resolv_conf = tmp_path / "resolv.conf"
    with asking(resolv_conf=resolv_conf) as client:
        assert client.resolver.servers == ("127.0.0.1:53",)
        resolv_conf.write_text(f"nameserver {server.address}\noptions timeout:9 attempts:9\nsearch example.com\n")
        for number in range(20):
            assert client.ask(f"n{number}.list.example").records == LISTED
        assert client.resolver.servers == (server.address,)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        (
            "# one\n nameserver\t192.0.2.1 # first\nnameserver 2001:db8::1\nsearch example.com\n",
            ["192.0.2.1", "2001:db8::1"],
        ),
        ("nameserver example.com\nnameserver\n;nameserver 192.0.2.2\n", ["127.0.0.1"]),
        ("nameserver 192.0.2.1\n" * 9, ["192.0.2.1"] * 3),
        ("", ["127.0.0.1"]),
    ],
)
def test_servers_of_resolv_conf(tmp_path, text, servers):
    """As resolv.conf(5) has it."""
    (tmp_path / "resolv.conf").write_text(text)
    assert servers_of(tmp_path / "resolv.conf") == tuple(servers)


def test_resolv_conf_is_read_without_an_import(tmp_path):
    """As a worker must that may not read Python's own files any more: not even a codec."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1 # caf\xe9\n", "latin-1")
    code = (
        "import pathlib, sys\n"
        "from forkpolicy.world.dns.resolv_conf import servers_of\n"
        "sys.addaudithook(lambda event, arguments: event == 'import' and print(arguments[0]))\n"
        "assert servers_of(pathlib.Path(sys.argv[1])) == ('192.0.2.1',)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "resolv.conf"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_servers_that_cannot_be_asked_are_an_error():
    """Settings are checked before: this is what is left."""
    with pytest.raises(WorldError, match="the name servers not an address"), asking("not an address"):
        pass


def test_a_server_that_comes_back_is_asked_again():
    """Refused while it is away; sockets that were open before are no hindrance."""
    with contextlib.ExitStack() as while_up:
        first = while_up.enter_context(NameServer(default=listed()))
        with asking(first.address) as client:
            for number in range(20):
                assert client.ask(f"before{number}.example").records == LISTED
            while_up.close()
            for number in range(20):
                assert client.ask(f"away{number}.example").failed
            with NameServer(default=listed(), port=first.port):
                for number in range(20):
                    assert client.ask(f"after{number}.example").records == LISTED


def test_a_server_that_refuses_is_passed_over(server):
    """The next one answers."""
    with NameServer(default=fails(SERVFAIL)) as failing, asking(failing.address, server.address) as client:
        assert client.ask("a.list.example").records == LISTED


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", ("x" * 60 + ".") * 5 + "example"])
def test_what_cannot_be_a_name_is_not_there(server, name):
    """Nobody is asked."""
    with asking(server.address) as client:
        assert client.ask(name) is NXDOMAIN
    assert not server.asked


@pytest.mark.parametrize(
    "name", ["a=b.example", "a@b.example", "a b.example", r"a\100.example", "a\0b.example", "caf\xe9.example"]
)
def test_names_that_c_ares_does_not_ask_for_are_unknown(server, name):
    """There may be such a name: a macro of SPF can make one."""
    with asking(server.address) as client:
        assert client.ask(name).reason == "c-ares does not ask for names with such characters"
    assert not server.asked


def test_a_closed_resolver_calls_nobody_back(server):
    """What was asked is dropped."""
    with asking(server.address) as client:
        answers = client.begin("a.slow.example")
        client.resolver.close()
        client.loop.run_until(lambda: bool(answers), 0.8)
        assert not answers


def test_a_callback_that_raises_harms_no_other(server):
    """It is its caller's bug: raised where the loop shows it, and the next one is called."""
    with asking(server.address) as client:
        answers = []

        def broken(_answer):
            raise RuntimeError("a bug")

        client.resolver.ask("a.list.example", "A", broken)
        client.resolver.ask("a.list.example", "A", answers.append)
        with pytest.raises(RuntimeError, match="a bug"):
            client.loop.run_until(lambda: False, 5)
        assert client.loop.run_until(lambda: bool(answers), 5)


def test_the_cache_forgets_in_time():
    """An answer whose time is over is not used."""
    clock = Clock()
    cache = Cache(clock=clock)
    cache.put("a.example", "A", NXDOMAIN)
    clock.now += 59.9
    assert cache.get("a.example", "A") is NXDOMAIN
    clock.now += 0.1
    assert cache.get("a.example", "A") is None


def test_the_cache_is_bounded():
    """The oldest goes first; one that was renewed is new."""
    cache = Cache(2)
    for name in ("a", "b", "a", "c"):
        cache.put(name, "A", Answer(Status.OK, (name,)))
    assert [cache.get(name, "A") is not None for name in "abc"] == [True, False, True]
    assert len(cache) == 2


def test_failures_are_kept_for_some_seconds():
    """So a server that fails is not asked by every request."""
    with NameServer(default=fails(SERVFAIL)) as server, asking(server.address) as client:
        assert client.ask("a.example").ttl_s == 5
        client.ask("a.example")
        assert client.resolver.counts == {"failed": 1, "cached": 1}


def test_many_answers_at_once_are_read_a_few_a_turn(server):
    """Sixty that have come together: a socket a turn, so that nobody else waits for all of them."""
    server.zones["wait.example"] = late(0.3, listed())
    with asking(server.address) as client:
        answers = [client.begin(f"n{number}.wait.example") for number in range(60)]
        sent = client.loop.run_until(lambda: any(answers), 5)
        assert sent
        per_turn = []
        while not all(answers):
            before = sum(map(len, answers))
            client.loop.run_once(1)
            per_turn.append(sum(map(len, answers)) - before)
    assert max(per_turn) <= 8
    assert len(per_turn) >= 7


def test_many_questions_at_once_are_sent_a_few_a_turn(server):
    """Fifty requests that come together ask at once: others have theirs in between. All of them have their answers."""
    sent = Counter()
    with asking(server.address) as client:
        send = client.resolver._pool.ask
        client.resolver._pool.ask = lambda *args, **more: sent.update([client.loop.turn]) or send(*args, **more)
        answers = [client.begin(f"n{number}.list.example") for number in range(50)]
        client.wait()
    assert max(sent.values()) == 8
    assert sum(sent.values()) == 50
    assert all(answer.records == LISTED for (answer,) in answers)


def test_many_answers_come_a_few_a_turn(server):
    """Forty who want one answer are called in turns of eight, so that others have theirs in between."""
    with asking(server.address) as client:
        turns = []
        per_turn = []
        for _ in range(40):
            client.resolver.ask("a.slow.example", "A", lambda _answer: turns.append(None))
        while len(turns) < 40:
            before = len(turns)
            client.loop.run_once(1)
            if len(turns) > before:
                per_turn.append(len(turns) - before)
    assert per_turn == [8] * 5
