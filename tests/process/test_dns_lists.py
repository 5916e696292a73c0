"""DNS lists in real servers, asked at a name server of the test: who is listed, what a wrong list does, and that no key
of a paid list is seen anywhere.
"""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.names.behaviours import fails, late, listed, never, nxdomain
from loadtest.servers.names.server import NameServer
from tests.process.conftest import request
from tests.process.waiting import eventually

pytest.importorskip("pycares", reason="DNS lists need forkpolicy[dns]")

CLIENT, REVERSED = "203.0.113.5", "5.113.0.203"
POLICY = """
acl bad rbl bl.example=127.0.0.2-11
action no REJECT 5.7.1 listed
access bad no
"""
SECRET = "s3cretkey"
RIGHT = {"2.0.0.127.bl.example": listed()}


@pytest.fixture
def names():
    """A name server with a right list that lists nobody."""
    with NameServer(RIGHT) as server:
        yield server


@pytest.fixture
def make(make_server, names):
    """A function that starts servers which ask it; files of theirs by name."""

    def make(policy=POLICY, dns="", workers=2, files=(), servers=None, **more):
        server = make_server(policy, workers=workers, **more)
        with server.settings.open("a") as settings:
            settings.write(f'[dns]\nservers = ["{servers or names.address}"]\n{dns}\n')
        for name, text in dict(files).items():
            server.write_source(name, text)
        server.start()
        return server

    return make


def ask(server, **attributes):
    """The action for one request."""
    with PolicyClient(server.socket_path) as client:
        return client.ask(request(**attributes))


def zone(server, name="bl.example"):
    """What `status` says of a list."""
    return next(each for each in server.status()["zones"] if each["zone"] == name)


def once_tested(server, name="bl.example"):
    """Wait until a test of it has shown something."""
    return eventually(lambda: zone(server, name) if "test_age_s" in zone(server, name) else None)


def lines(server, event):
    """The lines of the log about an event."""
    return [line for line in server.log.read_text().splitlines() if f'event="{event}"' in line]


def test_a_listed_client_is_refused(make, names):
    """And asked about once while the answer is kept, by each worker; who is not listed passes, and so does one whose
    list cannot be known.
    """
    names.behaviours |= {f"{REVERSED}.bl.example": listed(), "6.113.0.203.bl.example": fails(2)}
    server = make(workers=1)
    assert ask(server) == "REJECT 5.7.1 listed"
    assert ask(server) == "REJECT 5.7.1 listed"
    assert ask(server, client_address="203.0.113.7") == "DUNNO"
    assert ask(server, client_address="203.0.113.6") == "DUNNO"
    assert ask(server, client_address="10.1.2.3") == "DUNNO"
    assert names.asked[f"{REVERSED}.bl.example", "A"] == 1
    assert not names.asked[f"{REVERSED}.bl.example", "TXT"]
    assert not names.asked["3.2.1.10.bl.example", "A"]

    expected = {"bl.example listed": 1, "bl.example not-listed": 1, "bl.example failed": 1}
    eventually(lambda: server.status()["lists"] == expected)


def test_who_waits_holds_up_nobody(make, names):
    """A list that answers late, and one that never does: others get their replies meanwhile, in the same worker."""
    names.zones["bl.example"] = late(1.5, listed())
    names.behaviours |= {"1.0.0.127.bl.example": nxdomain()}
    server = make(workers=1, dns="timeout = 2.0")
    waiting = []
    asker = threading.Thread(target=lambda: waiting.append((ask(server), time.monotonic())))
    started = time.monotonic()
    asker.start()
    eventually(lambda: names.asked[f"{REVERSED}.bl.example", "A"])
    with PolicyClient(server.socket_path) as client:
        for _ in range(100):
            assert client.ask(request(client_address="10.1.2.3")) == "DUNNO"
    others_done = time.monotonic()
    asker.join()
    ((reply, at),) = waiting
    assert reply == "REJECT 5.7.1 listed"
    assert others_done < at
    assert at - started >= 1.5


def test_a_list_without_an_answer_cannot_be_known(make, names):
    """The reply comes when both tries are over, and the failure is kept for some seconds."""
    names.zones["bl.example"] = never()
    server = make(workers=1, dns="timeout = 0.2")
    assert ask(server) == "DUNNO"
    assert eventually(lambda: zone(server)["undecided"]).startswith("no answer")
    assert zone(server)["off"] == ""
    assert len(lines(server, "DNS list not tested")) == 1


def test_a_list_that_lists_the_world_is_off_until_it_is_right(make, names):
    """Within one test, in all workers, with one line each; new workers and reloads keep that."""
    server = make(dns='test_every = "1s"', workers=3)
    once_tested(server)
    names.zones["bl.example"] = listed()
    eventually(lambda: zone(server)["off"])
    assert zone(server)["off"] == "lists 127.0.0.1 (127.0.0.2), and so everything"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(PolicyClient(server.socket_path)) for _ in range(12)]
        assert {each.ask(request(client_address="203.0.113.9")) for each in clients} == {"DUNNO"}
        server.command("reload")
        server.command("scale", "4")
        eventually(lambda: sum(each["ready"] for each in server.status()["workers"]) == 4)
        assert {each.ask(request(client_address="203.0.113.10")) for each in clients} == {"DUNNO"}
        assert not names.asked["10.113.0.203.bl.example", "A"]
        del names.zones["bl.example"]
        eventually(lambda: not zone(server)["off"])
        names.behaviours[f"{REVERSED}.bl.example"] = listed()
        eventually(lambda: {each.ask(request()) for each in clients} == {"REJECT 5.7.1 listed"})
    assert (len(lines(server, "DNS list off")), len(lines(server, "DNS list on"))) == (1, 1)


def test_an_error_code_in_an_answer_switches_it_off(make, names):
    """Whoever sees it first; others are not asked any more. The test at the start was right."""
    server = make(workers=2)
    once_tested(server)
    names.zones["bl.example"] = listed("127.255.255.254")
    assert ask(server) == "DUNNO"
    eventually(lambda: zone(server)["off"])
    assert "127.255.255.254" in zone(server)["off"]
    before = sum(names.asked.values())
    for number in range(20):
        assert ask(server, client_address=f"203.0.113.{100 + number}") == "DUNNO"
    assert sum(names.asked.values()) <= before + 1
    assert len(lines(server, "DNS list off")) == 1


def test_a_list_without_its_test_entry_is_only_warned_of(make, names):
    """Many never had one."""
    names.behaviours = {f"{REVERSED}.bl.example": listed()}
    server = make()
    assert "does not list 127.0.0.2" in once_tested(server)["note"]
    assert ask(server) == "REJECT 5.7.1 listed"
    assert len(lines(server, "DNS list doubtful")) == 1


def test_one_worker_tests(make, names):
    """However many there are; one more test comes with a list that a reload has brought."""
    server = make(workers=4)
    once_tested(server)
    assert names.asked["1.0.0.127.bl.example", "A"] == names.asked["2.0.0.127.bl.example", "A"] == 1
    server.write_policy(POLICY.replace("bad rbl", "bad rbl other.example"))
    server.command("reload")
    once_tested(server, "other.example")
    assert names.asked["1.0.0.127.other.example", "A"] == 1
    assert {each["zone"] for each in server.status()["zones"]} == {"other.example", "bl.example"}


def test_the_key_of_a_paid_list_is_seen_nowhere(make, names):
    """In no line of the log, no reply, no status, no metric and no explanation, whatever the list does."""
    policy = """
acl bad rbl key=dqs.key zen.paid.example
acl worse rbl S3cretKey.zen.dq.spamhaus.net
action no REJECT 5.7.1 {match.bad}
action never REJECT 5.7.1 {match.worse}
access bad no
access worse never
"""
    names.behaviours = {f"{REVERSED}.{SECRET}.zen.paid.example": listed(text=f"see {SECRET}.zen.paid.example")}
    server = make(policy, files={"dqs.key": f"{SECRET}\n"}, decisions="all", dns='test_every = "1s"')
    assert ask(server) == "REJECT 5.7.1 see ***.zen.paid.example"
    assert ask(server, client_address="203.0.113.6") == "DUNNO"
    names.zones = {"paid.example": listed("127.255.255.254"), "spamhaus.net": fails(5)}
    assert ask(server, client_address="203.0.113.7") == "DUNNO"
    eventually(lambda: zone(server, "zen.paid.example")["off"])
    eventually(lambda: zone(server, "zen.dq.spamhaus.net")["undecided"])
    shown = [server.log.read_text(), str(server.status()), str(server.command("status")), str(server.command("check"))]
    shown.append(str(server.command("explain", f"client_address={CLIENT}")))
    assert SECRET not in "".join(shown).lower()
    assert "zen.paid.example" in shown[0]
