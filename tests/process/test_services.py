"""Other policy servers behind a real one: each replies what it replies when it is asked directly, and when it is slow,
dies or stands still, everybody else goes on.
"""

from __future__ import annotations

import os
import signal
import threading

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.pausing import pause
from tests.policy_servers import POLICYD_SPF, Postgrey, Spawned, ask, needs_policyd_spf, needs_postgrey
from tests.process.conftest import request
from tests.process.waiting import eventually

GREYLISTING = """
acl grey service unix:{socket} DEFER_IF_PERMIT PREPEND {options}
acl exempt sender vip@example.org
action pass_on {{match.grey}}
access !exempt grey pass_on
"""
# postgrey takes the time from this attribute, if there is one.
BEGAN_S = 1_700_000_000


def mail(number=0, at_s=0, sender="a@example.org", **more):
    """A request about mail from another sender, so many seconds after the first."""
    return request(f"{number}{sender}", client_name="mail.example.org", policy_test_time=str(BEGAN_S + at_s), **more)


@pytest.fixture
def make_postgrey(folder):
    """A function that starts postgreys, each in a directory of its own."""
    made = []

    def make(name, *options):
        made.append(Postgrey(folder / name, *options))
        return made[-1]

    yield make
    for postgrey in made:
        postgrey.stop()


def serving(make_server, socket, options="", **more):
    """A running server that asks the service on that socket."""
    server = make_server(GREYLISTING.format(socket=socket, options=options), **more)
    server.start()
    return server


def series():
    """Requests of a day: new, too early, in time, too late, the null sender, many recipients, odd bytes."""
    for number in range(12):
        for at_s in (0, 100, 299, 301, 4000):
            yield mail(number, at_s, recipient=f"r{number % 3}@example.com")
    for at_s in (0, 301):
        yield request("", client_name="x.example", policy_test_time=str(BEGAN_S + at_s))
        yield mail(99, at_s, recipient="Anna+List@Example.COM", helo_name="x" * 300)
        yield mail(100, at_s, client_address="2001:db8::5")
    yield mail(7, 86400 * 3)


@needs_postgrey
def test_postgrey_replies_as_if_it_were_asked_directly(make_server, make_postgrey):
    """Byte for byte, over a series of requests, for two postgreys that know the same."""
    asked, direct = make_postgrey("asked"), make_postgrey("direct")
    server = serving(make_server, asked.socket)
    requests = list(series())
    expected = ask(direct.socket, *requests)
    with PolicyClient(server.socket_path) as client:
        # The seconds and the date that a PREPEND shows are those of the two clocks.
        replies = [client.ask(each) for each in requests]
    assert [_undated(each) for each in replies] == [_undated(each) for each in expected]
    assert {each.partition(" ")[0] for each in replies} == {"DUNNO", "DEFER_IF_PERMIT", "PREPEND"}


def _undated(reply):
    return reply.partition("; ")[0]


@needs_postgrey
def test_postgrey_restarts(make_server, make_postgrey):
    """Kept connections are gone: a request goes on without it, and later ones are asked as before."""
    postgrey = make_postgrey("grey")
    server = serving(make_server, postgrey.socket)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(mail(1)).startswith("DEFER_IF_PERMIT Greylisted")
        postgrey.stop()
        assert client.ask(mail(1)) == "DUNNO"
        eventually(lambda: "service failed" in server.said())
        postgrey.start()
        eventually(lambda: client.ask(mail(1)).startswith("DEFER_IF_PERMIT Greylisted"))
        eventually(lambda: "service replies again" in server.said())


@needs_postgrey
def test_postgrey_stands_still(make_server, make_postgrey):
    """Who needs it waits for the time limit at most, who does not need it does not wait, and later all is well."""
    postgrey = make_postgrey("grey")
    server = serving(make_server, postgrey.socket, "timeout=1s")
    with PolicyClient(server.socket_path) as client, PolicyClient(server.socket_path) as other:
        assert client.ask(mail(1)).startswith("DEFER_IF_PERMIT")
        pause(postgrey.process.pid)
        replies = []
        waits = threading.Thread(target=lambda: replies.append(client.ask(mail(1))))
        waits.start()
        assert [other.ask(request("vip@example.org")) for _ in range(20)] == ["DUNNO"] * 20
        assert not replies
        waits.join()
        assert replies == ["DUNNO"]
        os.kill(postgrey.process.pid, signal.SIGCONT)
        eventually(lambda: client.ask(mail(1)).startswith("DEFER_IF_PERMIT"))


@needs_postgrey
def test_a_reload_while_requests_wait(make_server, make_postgrey):
    """Each gets one reply, of the policy that it met, when the service goes on."""
    postgrey = make_postgrey("grey")
    server = make_server(GREYLISTING.format(socket=postgrey.socket, options="timeout=60s"))
    server.settings.write_text(server.settings.read_text().replace("[state]\n", "[state]\nbudget = 60\n"))
    server.start()
    clients = [PolicyClient(server.socket_path, timeout_s=60) for _ in range(8)]
    pause(postgrey.process.pid)
    replies = []
    waiting = [threading.Thread(target=lambda each=each: replies.append(each.ask(mail(1)))) for each in clients]
    for thread in waiting:
        thread.start()
    eventually(lambda: sum(each["counters"]["waiting"] for each in server.obey("status")["workers"]) == len(clients))
    server.write_policy("action default 450 4.7.1 another policy\n")
    server.command("reload")
    assert not replies
    os.kill(postgrey.process.pid, signal.SIGCONT)
    for thread in waiting:
        thread.join()
    assert [each.partition(",")[0] for each in replies] == ["DEFER_IF_PERMIT Greylisted"] * 8
    assert [client.ask(mail(1)) for client in clients] == ["450 4.7.1 another policy"] * 8
    for client in clients:
        client.close()


def test_a_second_forkpolicy_is_asked(make_server, folder):
    """One of our own servers, in its own directory: two ACLs that ask it count a message there once."""
    inner = make_server(
        "acl busy rate {sender} 2/1h\naction slow 450 4.7.1 wait {match.busy}\naccess busy slow\n", name="inner"
    )
    inner.start()
    outer = make_server(
        f"acl limit service unix:{inner.socket_path} 4*\n"
        f"acl again service unix:{inner.socket_path} DUNNO\n"
        "action slow {match.limit}\n"
        "action also WARN {match.again}\n"
        "access limit slow\naccess again also\n",
        name="outer",
    )
    outer.start()
    with PolicyClient(outer.socket_path) as client:
        replies = [client.ask(request(instance=f"{number}.1")) for number in range(3)]
    assert replies[:2] == ["WARN DUNNO"] * 2
    assert replies[2].startswith("450 4.7.1 wait ")


@needs_policyd_spf
def test_policyd_spf_replies_as_if_it_were_asked_directly(make_server, folder):
    """It prepends a header to the first recipient of a message, which it knows by its connection. It asks no DNS here:
    the client is this machine.
    """
    (folder / "spf.conf").write_text("debugLevel = 0\nTestOnly = 1\nskip_addresses = 127.0.0.0/8\n")
    policyd = Spawned(folder / "spf", POLICYD_SPF, str(folder / "spf.conf"))
    try:
        server = make_server(
            f"acl spf service unix:{policyd.path} PREPEND 5* DEFER_IF_PERMIT timeout=20s\n"
            "action pass_on {match.spf}\naccess spf pass_on\n"
        )
        server.settings.write_text(server.settings.read_text().replace("[state]\n", "[state]\nbudget = 30\n"))
        server.start()
        requests = [
            request(recipient=f"r{number}@example.com", instance=instance, client_address="127.0.0.1", helo_name="x")
            for number, instance in enumerate(["1.a", "1.b", "1.a", "1.b", "1.c", "1.a"])
        ]
        expected = ask(policyd.path, *requests)
        with PolicyClient(server.socket_path, timeout_s=30) as client:
            replies = [client.ask(each) for each in requests]
        # Postfix folds the word, and so do we.
        assert [each.lower() for each in replies] == [each.lower() for each in expected]
        assert [each.partition(" ")[0] for each in replies] == ["PREPEND"] * 2 + ["DUNNO"] * 2 + ["PREPEND", "DUNNO"]
    finally:
        policyd.stop()
