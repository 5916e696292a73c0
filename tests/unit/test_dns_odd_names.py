"""Names that c-ares does not ask for: any octet may be in a label, and the answer is that of the name as it is."""

from __future__ import annotations

import socket
import time

import pytest

from forkpolicy.errors import WorldError
from forkpolicy.world.dns.odd_names import ask
from forkpolicy.world.dns.records import WaitingLookup
from loadtest.servers.names.behaviours import (
    fails,
    has,
    in_turn,
    late,
    malformed,
    malformed_first,
    never,
    not_mine_first,
    nxdomain,
    sends,
    truncated,
)
from loadtest.servers.names.messages import REFUSED, SERVFAIL, Record
from loadtest.servers.names.server import NameServer
from tests.resolving import asking

LISTED = has(Record("A", "127.0.0.2"))
NAME = "srs0=hh=tt=example.org=anna._spf.example.com"


def answer_to(behaviour, name=NAME, rrtype="A", **options):
    with NameServer({name: behaviour}, **options) as server:
        return ask(name, rrtype, [server.address], 0.2, socket)


@pytest.mark.parametrize(
    "label", ["a b", "a=b", "a\\b", 'a"b', "a\0b", "a\x7f", "a;(b)", "a@b", "!#$%&'+?^`{|}~", "a\\032b", "\\", "$", "@"]
)
def test_any_label_is_asked_for_as_it_is(label):
    """And the answer is for that name."""
    answer = answer_to(LISTED, f"{label}.example.com")
    assert answer.records == ("127.0.0.2",)


@pytest.mark.parametrize(
    ("rrtype", "data", "record"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:db8::1", "2001:db8::1"),
        ("MX", "10 a=b.example.com", (10, "a=b.example.com")),
        ("MX", "0 .", (0, "")),
        ("PTR", "a b.example.com", "a b.example.com"),
        ("TXT", b"v=spf1 " + b"a" * 600 + b"\xff", b"v=spf1 " + b"a" * 600 + b"\xff"),
    ],
)
def test_records_of_all_types(rrtype, data, record):
    """As the resolver has them."""
    assert answer_to(has(Record(rrtype, data)), rrtype=rrtype).records == (record,)


def test_an_alias_leads_on():
    """Also from and to names that are odd themselves."""
    chain = sends(Record("CNAME", "x=y.example.com"), Record("A", "192.0.2.9", name="x=y.example.com"))
    assert answer_to(chain).records == ("192.0.2.9",)


@pytest.mark.parametrize(
    ("behaviour", "status"), [(nxdomain(), "nxdomain"), (has(), "nodata"), (has(Record("TXT", "x")), "nodata")]
)
def test_nothing_there(behaviour, status):
    """No such name, and no such records, are answers."""
    answer = answer_to(behaviour)
    assert (answer.status.value, answer.records) == (status, ())


@pytest.mark.parametrize(
    "behaviour",
    [
        not_mine_first(LISTED),
        malformed_first(LISTED),
        in_turn(never(), LISTED),
        in_turn(fails(SERVFAIL), LISTED),
        late(0.1, LISTED),
        truncated(has(*(Record("A", f"127.0.{n}.2") for n in range(250)))),
    ],
)
def test_the_right_answer_is_waited_for(behaviour):
    """Over replies to others, malformed ones, a lost one, a truncated one, a failure."""
    answer = answer_to(behaviour)
    assert not answer.failed
    assert len(answer.records) in (1, 250)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (never(), "no answer in 0.4 s"),
        (late(1, LISTED), "no answer in 0.4 s"),
        (malformed(), "no answer in 0.4 s"),
        (fails(SERVFAIL), "SERVFAIL"),
        (fails(REFUSED), "REFUSED"),
        (sends(Record("A", "192.0.2.1", name="another.example.com")), "the answer was for another name"),
    ],
)
def test_failures_are_answers(behaviour, reason):
    """Within two time-outs."""
    started_s = time.monotonic()
    answer = answer_to(behaviour)
    assert answer.failed
    assert answer.reason == reason
    assert time.monotonic() - started_s < 2


def test_no_tcp():
    """A truncated answer without TCP is none."""
    assert answer_to(truncated(LISTED), tcp=False).reason.startswith("ConnectionRefusedError")


def test_the_second_server_is_the_second_try():
    """One that is not there costs one try."""
    with NameServer({NAME: LISTED}, tcp=False) as server, NameServer({NAME: never()}) as dead:
        assert ask(NAME, "A", [dead.address, server.address], 0.2, socket).records == ("127.0.0.2",)


def test_a_server_with_an_ipv6_address():
    """In brackets, as the resolver writes it."""
    with NameServer({NAME: LISTED}, address="::1") as server:
        assert ask(NAME, "A", [f"[::1]:{server.port}"], 0.2, socket).records == ("127.0.0.2",)


def test_a_look_up_takes_every_name():
    """Usual names by the resolver, odd ones by themselves, both from its cache the second time, and both counted."""
    names = {"usual.example.com": LISTED, NAME: LISTED, "bad=name.example.com": fails(SERVFAIL)}
    with NameServer(names) as server, asking(server.address, timeout_s=0.2) as asked:
        lookup = WaitingLookup(asked.resolver, asked.ask, socket)
        for _ in range(2):
            assert lookup("usual.example.com", "A") == lookup(NAME, "A") == ("127.0.0.2",)
            assert lookup("missing=name.example.com", "A") == lookup("missing.example.com", "A") == ()
            with pytest.raises(WorldError, match=r"bad=name\.example\.com A: SERVFAIL"):
                lookup("bad=name.example.com", "A")
        assert server.asked == {
            ("usual.example.com", "A"): 1,
            (NAME, "A"): 1,
            ("missing=name.example.com", "A"): 1,
            ("missing.example.com", "A"): 1,
            ("bad=name.example.com", "A"): 2,
        }
        assert asked.resolver.counts == {"ok": 2, "nxdomain": 2, "failed": 1}
