"""The resolver and the name servers that sites have: rbldnsd and Knot with zones, unbound in front of them."""

from __future__ import annotations

import ipaddress

from forkpolicy.world.dns.answers import NODATA, NXDOMAIN
from loadtest.servers.names.behaviours import fails, has, late, malformed, malformed_first, sends, truncated
from loadtest.servers.names.messages import SERVFAIL, Record
from loadtest.servers.names.server import NameServer
from tests.dns_servers import knot, rbldnsd, unbound
from tests.resolving import asking

LIST = {
    "list.example": ("ip4set", [":127.0.0.4:see http://list.example/?$", "127.0.0.2", "192.0.2.0/24"]),
    "list6.example": ("ip6trie", [":127.0.0.2:listed", "2001:db8::/32"]),
}
LONG = "v=spf1 " + " ".join(f"ip4:192.0.2.{number}" for number in range(255)) + " -all"
STRINGS = " ".join(f'"{LONG[start : start + 200]}"' for start in range(0, len(LONG), 200))
HOSTS = [(10, "mx.example.com"), (20, "mx2.example.net")]
ZONE = f"""$ORIGIN example.com.
$TTL 300
@ SOA ns hostmaster 1 60 60 600 120
@ NS ns
ns A 127.0.0.1
@ MX 10 mx
@ MX 20 mx2.example.net.
@ TXT {STRINGS}
mx A 192.0.2.1
mx AAAA 2001:db8::1
www CNAME web
web CNAME mx
gone CNAME nowhere
host PTR mx
"""


def reversed_name(address, zone):
    """As RFC 5782 has it."""
    suffix = ".in-addr.arpa" if ":" not in address else ".ip6.arpa"
    return ipaddress.ip_address(address).reverse_pointer.removesuffix(suffix) + "." + zone


def test_dns_lists_of_rbldnsd(tmp_path):
    """Listed, with its text, and not listed; IPv4 and IPv6; straight and through unbound."""
    with rbldnsd(LIST) as port, unbound(tmp_path, dict.fromkeys(LIST, port)) as resolver:
        for asked in (port, resolver):
            with asking(f"127.0.0.1:{asked}") as client:
                listed = reversed_name("192.0.2.7", "list.example")
                assert client.ask(listed).records == ("127.0.0.4",)
                assert client.ask(listed, "TXT").records == (b"see http://list.example/?192.0.2.7",)
                assert client.ask(reversed_name("127.0.0.1", "list.example")) == NXDOMAIN
                assert client.ask(reversed_name("2001:db8::7", "list6.example")).records == ("127.0.0.2",)
                assert client.ask(reversed_name("2001:db9::7", "list6.example")) == NXDOMAIN


def test_every_type_of_record_of_knot(tmp_path):
    """What SPF asks for: 4 KB of text by TCP, hosts of mail, aliases."""
    with knot(tmp_path, "example.com", ZONE) as port, unbound(tmp_path, {"example.com": port}) as resolver:
        for asked in (port, resolver):
            with asking(f"127.0.0.1:{asked}") as client:
                assert client.ask("example.com", "TXT").records == (LONG.encode(),)
                assert sorted(client.ask("example.com", "MX").records) == [
                    (10, "mx.example.com"),
                    (20, "mx2.example.net"),
                ]
                assert client.ask("mx.example.com", "AAAA").records == ("2001:db8::1",)
                assert client.ask("www.example.com", "A").records == ("192.0.2.1",)
                assert client.ask("host.example.com", "PTR").records == ("mx.example.com",)
                assert client.ask("mx.example.com", "TXT") == NODATA
                assert client.ask("www.example.com", "TXT") == NODATA
                assert client.ask("none.example.com", "A") == NXDOMAIN
                assert client.ask("gone.example.com", "A") == NXDOMAIN


def test_a_hostile_server_behind_unbound(tmp_path):
    """It leaves names unknown, and no others."""
    behaviours = {
        "good.example": has(Record("A", "127.0.0.2")),
        "slow.example": late(0.5, has(Record("A", "127.0.0.2"))),
        "long.example": truncated(has(Record("A", "127.0.0.2"))),
        "once.example": malformed_first(has(Record("A", "127.0.0.2"))),
        "malformed.example": malformed(),
        "failing.example": fails(SERVFAIL),
        "other.example": sends(Record("A", "127.0.0.2", name="another.example")),
        "circle.example": sends(Record("CNAME", "b.example")),
        "b.example": sends(Record("CNAME", "circle.example")),
    }
    with (
        NameServer(behaviours) as hostile,
        unbound(tmp_path, {"example": hostile.port}) as resolver,
        asking(f"127.0.0.1:{resolver}", timeout_s=3) as client,
    ):
        answers = {name: client.begin(name) for name in behaviours}
        client.wait()
    known = {name for name, (answer,) in answers.items() if answer.records == ("127.0.0.2",)}
    assert known == {"good.example", "slow.example", "long.example", "once.example"}
    assert all(answer.failed or answer == NODATA for name, (answer,) in answers.items() if name not in known)


def test_unbound_hides_addresses_that_it_takes_for_private(tmp_path):
    """A site that set `private-address: 127.0.0.0/8` has an empty answer for every listing; the text is still there."""
    with rbldnsd(LIST) as port:
        stubs = dict.fromkeys(LIST, port)
        name = reversed_name("192.0.2.7", "list.example")
        private = " private-address: 127.0.0.0/8\n"
        with unbound(tmp_path, stubs, more=private) as resolver, asking(f"127.0.0.1:{resolver}") as client:
            assert client.ask(name) == NODATA
            assert client.ask(name, "TXT").records
