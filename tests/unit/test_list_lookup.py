"""DNS lists asked at a name server on loopback that does what hostile and broken ones do: no answer but a listing makes
an ACL hold, and none but "no such name" and other codes make its `!` hold.
"""

from __future__ import annotations

import contextlib

import pytest

from forkpolicy.commands.shared.world import World
from forkpolicy.dns_settings import DnsSettings
from forkpolicy.world.codes import parse_codes
from forkpolicy.world.dns.loop import SelectorLoop
from forkpolicy.world.dns.resolver import Resolver
from forkpolicy.world.dnsbl import Dnsbl, Lists, Zone
from forkpolicy.world.list_lookup import ListLookup
from forkpolicy.world.zone_tests import STRIPPED
from loadtest.servers.names.behaviours import fails, has, late, listed, malformed, never, nxdomain, sends, truncated
from loadtest.servers.names.messages import REFUSED, SERVFAIL, Record
from loadtest.servers.names.server import NameServer

pytest.importorskip("pycares", reason="DNS lists need forkpolicy[dns]")

CODES = parse_codes("127.0.0.2-11")
NAME = "5.113.0.203"
NONE = has(Record("MX", (10, "mail.example"), 300))


def question(*names, needed=1, wants_text=False):
    return Dnsbl(NAME, "203.0.113.5", Lists([Zone(name, CODES) for name in names], needed), wants_text)


@contextlib.contextmanager
def lookup(server):
    """A lookup, and what waits for its answer."""
    loop = SelectorLoop()
    resolver = Resolver(loop, [server.address], 0.2)
    errors = []
    found = ListLookup(resolver, lambda *error: errors.append(error))

    def ask(*names, **more):
        answers = []
        asked = question(*names, **more)
        known = found.known(asked)
        if known is not None:
            return known
        found.begin(asked, answers.append)
        assert not answers, "called back inside begin()"
        assert loop.run_until(lambda: bool(answers), 10)
        assert len(answers) == 1
        return answers[0]

    found.wait, found.errors = ask, errors
    yield found
    resolver.close()
    loop.close()


@pytest.mark.parametrize(
    ("behaviour", "holds"),
    [
        (listed("127.0.0.2"), True),
        (listed("127.0.0.11"), True),
        (has(Record("A", "127.0.0.99", 300), Record("A", "127.0.0.3", 300)), True),
        (sends(Record("CNAME", "other.example", 300), Record("A", "127.0.0.2", 300, "other.example")), True),
        (truncated(listed()), True),
        (nxdomain(), False),
        (NONE, False),
        (listed("127.0.0.99"), False),
        (listed("127.0.0.1"), None),
        (listed("127.0.0.255"), None),
        (listed("127.255.255.252"), None),
        (listed("127.255.255.254"), None),
        (listed("127.255.255.255"), None),
        (listed("93.184.216.34"), None),
        (sends(Record("A", "127.0.0.2", 300, "other.example")), None),
        (sends(Record("CNAME", "bl.example", 300, "bl.example")), None),
        (fails(SERVFAIL), None),
        (fails(REFUSED), None),
        (malformed(), None),
        (truncated(never()), None),
        (never(), None),
        (late(1, listed()), None),
    ],
)
def test_what_an_answer_means(behaviour, holds):
    """Each case of a hostile or broken name server."""
    with NameServer({f"{NAME}.bl.example": behaviour}) as server, lookup(server) as lists:
        assert lists.wait("bl.example").holds is holds


def test_all_zones_are_asked_at_once_and_the_slow_ones_are_not_waited_for():
    """Two of four are enough; the third listing comes too late, the fourth never."""
    zones = {"a.example": late(0.1, listed()), "b.example": late(0.1, listed()), "c.example": never()}
    with NameServer(zones=zones) as server, lookup(server) as lists:
        answer = lists.wait("a.example", "b.example", "c.example", "d.example", needed=2)
        assert answer.holds is True
        assert {zone for zone, _ in answer.found} >= {"a.example", "b.example"}
        assert "c.example" not in dict(answer.found)
        # What comes later is kept, and asked for no more.
        assert lists.known(question("a.example", "b.example", needed=2)).holds is True


def test_the_words_are_those_of_the_first_zone_that_lists():
    """In the order of the ACL; asked for once, and only where they are wanted."""
    zones = {"a.example": nxdomain(), "b.example": listed(text="b says so"), "c.example": listed(text="c says so")}
    with NameServer(zones=zones) as server, lookup(server) as lists:
        assert lists.wait("a.example", "b.example", "c.example", needed=2).text == ""
        assert server.asked[f"{NAME}.b.example", "TXT"] == 0
        assert lists.wait("a.example", "b.example", "c.example", needed=2, wants_text=True).text == "b says so"
        assert lists.known(question("b.example", wants_text=True)).text == "b says so"
        assert server.asked[f"{NAME}.b.example", "TXT"] == 1
        assert server.asked[f"{NAME}.c.example", "TXT"] == 0


def test_a_listing_without_words_holds_all_the_same():
    """Also where their question fails."""
    zones = {"a.example": has(Record("A", "127.0.0.2", 300))}
    with NameServer(zones=zones) as server, lookup(server) as lists:
        assert lists.wait("a.example", wants_text=True)[::2] == (True, "")


def test_questions_are_counted_and_error_codes_reported():
    """Each question once, however often its answer is used."""
    zones = {"a.example": listed(), "b.example": nxdomain(), "c.example": listed("127.255.255.254")}
    zones["d.example"] = fails(SERVFAIL)
    with NameServer(zones=zones) as server, lookup(server) as lists:
        for _ in range(3):
            for zone in zones:
                lists.wait(zone)
        expected = {("a.example", "listed"): 1, ("b.example", "not-listed"): 1, ("c.example", "error"): 1}
        assert lists.asked == {**expected, ("d.example", "failed"): 1}
        assert lists.errors == [("c.example", "answers with the error code 127.255.255.254")]


def test_a_zone_that_is_off_is_not_asked():
    """The others are."""
    with NameServer(zones={"b.example": listed()}) as server, lookup(server) as lists:
        lists.off = {"a.example": "lists 127.0.0.1"}
        assert lists.wait("a.example", "b.example").holds is True
        assert lists.wait("a.example").holds is None
        assert lists.wait("a.example", "b.example", needed=2).reason == "a.example: is off: lists 127.0.0.1"
        assert not server.asked[f"{NAME}.a.example", "A"]


@pytest.mark.parametrize(
    ("behaviours", "wrong", "note", "undecided"),
    [
        ({"2.0.0.127": listed(), "1.0.0.127": nxdomain()}, "", "", ""),
        ({"2.0.0.127": listed(), "1.0.0.127": listed()}, "lists 127.0.0.1 (127.0.0.2)", "", ""),
        ({"2.0.0.127": listed(), "1.0.0.127": listed("93.184.216.34")}, "lists 127.0.0.1 (93.184.216.34)", "", ""),
        ({"2.0.0.127": listed("127.255.255.254"), "1.0.0.127": nxdomain()}, "error code 127.255.255.254", "", ""),
        ({"2.0.0.127": listed("127.0.0.255"), "1.0.0.127": listed("127.0.0.255")}, "error code 127.0.0.255", "", ""),
        ({"2.0.0.127": nxdomain(), "1.0.0.127": nxdomain()}, "", "does not list 127.0.0.2", ""),
        ({"2.0.0.127": has(Record("TXT", "listed", 300)), "1.0.0.127": nxdomain()}, "", STRIPPED, ""),
        ({"2.0.0.127": NONE, "1.0.0.127": nxdomain()}, "", "does not list 127.0.0.2", ""),
        ({"2.0.0.127": listed(), "1.0.0.127": fails(SERVFAIL)}, "", "", "SERVFAIL"),
        ({"2.0.0.127": fails(REFUSED), "1.0.0.127": nxdomain()}, "", "", "REFUSED"),
        ({"2.0.0.127": never(), "1.0.0.127": never()}, "", "", "no answer"),
        ({"2.0.0.127": fails(SERVFAIL), "1.0.0.127": listed()}, "lists 127.0.0.1", "", ""),
    ],
)
def test_the_test_of_a_list(behaviours, wrong, note, undecided):
    """RFC 5782, section 5: what must be there, what must not, and what says nothing."""
    with NameServer({f"{name}.bl.example": each for name, each in behaviours.items()}) as server:
        names = World(DnsSettings(servers=(server.address,), timeout=0.2))
        (found,) = names.test([Zone("bl.example"), Zone("bl.example", CODES)])
        names.close()
    for part, text in ((found.wrong, wrong), (found.note, note), (found.undecided, undecided)):
        assert bool(part) is bool(text)
        assert text in part


def test_the_test_of_a_list_of_domains():
    """TEST and INVALID; several lists at once, each with its result."""
    right = {"test.a.example": listed("127.0.1.2"), "test.b.example": listed(), "invalid.b.example": listed()}
    with NameServer(right) as server:
        names = World(DnsSettings(servers=(server.address,), timeout=0.2))
        first, second = names.test([Zone("a.example", of_names=True), Zone("b.example", of_names=True)])
        names.close()
    assert (first.zone, first.wrong, first.note) == ("a.example", "", "")
    assert second.wrong.startswith("lists INVALID")
