"""SPF of one message, with a look-up in a dictionary: whose record is asked for, its result, and the header."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_network
from random import Random
from threading import Barrier
from time import perf_counter

import pytest

from forkpolicy.errors import WorldError
from forkpolicy.world.received_spf import MAX_BYTES
from forkpolicy.world.spf import RESULTS, Spf, check

HERE = "mx.example.net"


class Dns:
    """Records by name and type; `failing` are the names that nobody answers. `asked`: what was looked up."""

    def __init__(self, records, failing=()):
        self.records, self.failing, self.asked = records, failing, []

    def __call__(self, name, rrtype):
        self.asked.append((name, rrtype))
        if name in self.failing:
            raise WorldError(f"{name} {rrtype}: no answer")
        return self.records.get((name, rrtype), [])


def text(record):
    return [record]


RECORDS = {
    ("example.com", "TXT"): [b"another", b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"],
    ("mx.example.com", "TXT"): text(b"v=spf1 a -all"),
    ("mx.example.com", "A"): ["192.0.2.7"],
    ("soft.example", "TXT"): text(b"v=spf1 ~all"),
    ("neutral.example", "TXT"): text(b"v=spf1 ?all"),
    ("broken.example", "TXT"): text(b"v=spf1 ip4:elephant -all"),
    ("explains.example", "TXT"): text(b"v=spf1 -all exp=why.explains.example"),
    ("exists.example", "TXT"): text(b"v=spf1 exists:%{l}.at.exists.example -all"),
    ("anna.at.exists.example", "A"): ["127.0.0.2"],
    ("name.example", "TXT"): text(b"v=spf1 exists:%{h}.name.example -all"),
    ("mx.example.com.name.example", "A"): ["127.0.0.2"],
    ("slow.example", "TXT"): text(b"v=spf1 a:dead.example -all"),
}


def checked(client="192.0.2.1", sender="anna@example.com", helo="mx.example.com", records=RECORDS, failing=()):
    dns = Dns(records, failing)
    return check(Spf(client, sender, helo), dns, HERE), dns.asked


@pytest.mark.parametrize(
    ("sender", "result"),
    [
        ("anna@example.com", "pass"),
        ("anna@soft.example", "softfail"),
        ("anna@neutral.example", "neutral"),
        ("anna@missing.example", "none"),
        ("anna@broken.example", "permerror"),
        ("anna@slow.example", "temperror"),
    ],
)
def test_results(sender, result):
    """A message has one of the results, and its header begins with it."""
    answer, _ = checked(sender=sender, failing=("dead.example",))
    assert answer.result == result
    assert answer.header.startswith(f"{result} ({HERE}: ")
    assert answer.result in RESULTS


@pytest.mark.parametrize(
    ("client", "result"),
    [("192.0.2.1", "pass"), ("198.51.100.1", "fail"), ("2001:db8::5", "pass"), ("2001:db9::5", "fail")],
)
def test_clients_of_both_families(client, result):
    """Addresses of both families are compared with the terms of theirs."""
    assert checked(client)[0].result == result


def test_networks_are_compared_as_ipaddress_does():
    """Random clients near the edges of random networks of both families, every length."""
    random = Random(7208)
    for _ in range(1000):
        kind, width = random.choice([("ip4", 32), ("ip6", 128)])
        make = IPv4Address if kind == "ip4" else IPv6Address
        # Not an IPv4 client in IPv6's clothes.
        network = random.getrandbits(width) | 1 << (width - 1)
        bits = random.randrange(width + 1)
        client = network ^ (random.getrandbits(width) >> random.randrange(max(bits - 2, 0), min(bits + 3, width)))
        term = f"{make(network)}/{bits}"
        expected = "pass" if make(client) in ip_network(term, strict=False) else "fail"
        records = {("net.example", "TXT"): [f"v=spf1 {kind}:{term} -all".encode()]}
        assert checked(str(make(client)), "a@net.example", records=records)[0].result == expected, (term, client)


def test_a_mapped_address_is_ipv4():
    """An IPv4 client on an IPv6 socket is the IPv4 client."""
    assert checked("::ffff:192.0.2.1")[0].result == "pass"


@pytest.mark.parametrize("client", ["unknown", "", "list", "192.0.2", "mx.example.com"])
def test_a_client_without_an_address_has_no_result(client):
    """Nobody knows whether it may send: not even "none"."""
    for sender in ("anna@example.com", "anna"):
        with pytest.raises(WorldError, match="the client has no address"):
            checked(client, sender)


def test_the_null_sender_is_judged_by_the_name_that_the_client_gives_itself():
    """As postmaster of that name."""
    answer, asked = checked("192.0.2.7", "", "mx.example.com")
    assert answer.result == "pass"
    assert asked[0] == ("mx.example.com", "TXT")
    assert "identity=helo" in answer.header
    assert "envelope-from" not in answer.header


@pytest.mark.parametrize(
    "helo", ["", "[192.0.2.7]", "[IPv6:2001:db8::1]", "localhost", "192.0.2.7", ".com", "mx.bücher"]
)
def test_a_name_that_cannot_have_a_record_is_not_asked_for(helo):
    """No DNS question for literals, addresses, and names of one label."""
    answer, asked = checked("192.0.2.7", "", helo)
    assert (answer.result, asked) == ("none", [])


def test_a_sender_without_a_domain_is_not_the_null_sender():
    """It has no record, whatever the client calls itself."""
    answer, asked = checked("192.0.2.7", "anna")
    assert (answer.result, asked) == ("none", [])


def test_the_domain_is_behind_the_last_at():
    """`"x@y"@example.com` is an address at example.com: who writes one does not get around its record."""
    assert checked("198.51.100.1", "x@y@example.com")[0].result == "fail"


def test_macros_may_ask_for_sender_and_helo():
    """So equal clients and domains may have other results."""
    assert checked(sender="anna@exists.example")[0].result == "pass"
    assert checked(sender="bert@exists.example")[0].result == "fail"
    assert checked(sender="anna@name.example")[0].result == "pass"
    assert checked(sender="anna@name.example", helo="other.example.com")[0].result == "fail"


@pytest.mark.parametrize(
    "local", ["änna", "an na", "a\x00b", "a" * 64, "a..b", "a" * 3000, "\\", '"', "%{s}", "anna-" * 200]
)
def test_odd_local_parts_find_nothing(local):
    """Whatever a client makes of its local part, the record decides; names that cannot be are not asked for."""
    answer, asked = checked(sender=f"{local}@exists.example")
    assert answer.result == "fail"
    assert all(name.isascii() and len(name) <= 253 for name, _ in asked)


def test_the_words_of_the_domain_are_not_asked_for():
    """An explanation costs a question, and nobody reads it."""
    answer, asked = checked(sender="anna@explains.example")
    assert (answer.result, asked) == ("fail", [("explains.example", "TXT")])


def includes(count):
    """A record of `count` includes, each of a domain that does not decide."""
    names = [f"i{number}.example" for number in range(count)]
    top = b"v=spf1 " + b" ".join(f"include:{name}".encode() for name in names) + b" +all"
    return {("many.example", "TXT"): text(top)} | {(name, "TXT"): text(b"v=spf1 ?all") for name in names}


@pytest.mark.parametrize(("count", "result"), [(10, "pass"), (11, "permerror")])
def test_ten_look_ups(count, result):
    """The eleventh is one too many."""
    answer, asked = checked(sender="anna@many.example", records=includes(count))
    assert answer.result == result
    assert len(asked) == 11


@pytest.mark.parametrize(("count", "result"), [(2, "pass"), (3, "permerror")])
def test_two_void_look_ups(count, result):
    """The third that finds nothing is one too many."""
    record = b"v=spf1 " + b" ".join(b"a:n%d.example" % number for number in range(count)) + b" +all"
    answer, _ = checked(sender="anna@void.example", records={("void.example", "TXT"): text(record)})
    assert answer.result == result


V4_ONLY = {("many.example", "MX"): [(10, f"mx{n}.many.example") for n in range(4)]} | {
    (f"mx{n}.many.example", "A"): [f"192.0.2.{n}"] for n in range(4)
}


@pytest.mark.parametrize(
    ("terms", "result"),
    [
        (b"mx ip6:2001:db8::/32", "pass"),
        (b"mx mx ip6:2001:db8::/32", "pass"),
        (b"mx mx mx ip6:2001:db8::/32", "permerror"),
        (b"mx a:n.example ip6:2001:db8::/32", "pass"),
        (b"mx a:n.example a:m.example ip6:2001:db8::/32", "permerror"),
    ],
)
def test_a_term_is_void_once(terms, result):
    """However many mail hosts of a domain have no address of the client's family: terms are limited, not questions."""
    records = {**V4_ONLY, ("many.example", "TXT"): [b"v=spf1 %s -all" % terms]}
    assert checked("2001:db8::5", "anna@many.example", records=records)[0].result == result


@pytest.mark.parametrize(("count", "result"), [(10, "pass"), (11, "permerror")])
def test_ten_mail_hosts(count, result):
    """The eleventh is one too many."""
    names = [f"mx{n}.big.example" for n in range(count)]
    records = {("big.example", "TXT"): [b"v=spf1 mx -all"], ("big.example", "MX"): [(10, name) for name in names]}
    records |= {(name, "A"): ["192.0.2.1"] for name in names}
    assert checked(sender="anna@big.example", records=records)[0].result == result


def test_look_ups_have_20_seconds(monkeypatch):
    """All of them together: a name server may not hold a check for ten times its time limit."""
    now_s = [1000.0]
    monkeypatch.setattr("forkpolicy.world.pyspf.monotonic", lambda: now_s[0])
    dns = Dns(includes(10))

    def slowly(name, rrtype):
        now_s[0] += 5
        return dns(name, rrtype)

    answer = check(Spf("192.0.2.1", "anna@many.example", "mx.example.com"), slowly, HERE)
    assert answer.result == "temperror"
    assert len(dns.asked) == 4
    assert answer.problem == "the check takes longer than 20 s"


def terms(size, term):
    return b"v=spf1 " + b" ".join([term] * (size // (len(term) + 1))) + b" -all"


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (terms(4000, b"ip4:198.51.100.0/24"), "fail"),
        (terms(5000, b"ip4:198.51.100.0/24"), "permerror"),
        (b"v=spf1 a:x." + b"a" * 60_000 + b"! -all", "permerror"),
        (b"v=spf1 exists:%{d" + b"." * 60_000 + b"}.example -all", "permerror"),
        (b"v=spf1 exists:%{d" + b"1" * 6000 + b"}.example -all", "permerror"),
        (b"v=spf1 exists:" + b".%{d}" * 10_000 + b".example -all", "permerror"),
        (b"v=spf1 \xff -all", "permerror"),
        (b"v=spf1 \x00 -all", "permerror"),
    ],
)
def test_a_hostile_record_takes_no_time(record, result):
    """Its author gets an error, and others their answers: unguarded, one of these takes 60 s."""
    began_s = perf_counter()
    answer, _ = checked("192.0.2.1", "anna@hostile.example", records={("hostile.example", "TXT"): text(record)})
    assert answer.result == result
    assert perf_counter() - began_s < 1


@pytest.mark.parametrize(
    ("failing", "result"),
    [([], "pass"), (["dead.example.com"], "pass"), (["b.ptr.example"], "fail"), (["1.2.0.192.in-addr.arpa"], "fail")],
)
def test_a_name_of_the_client_that_the_dns_fails_for_is_skipped(failing, result):
    """Whoever owns an address may give it names that nobody answers for; they do not end the check (RFC 7208 5.5)."""
    records = {
        ("ptr.example", "TXT"): [b"v=spf1 ptr -all"],
        ("1.2.0.192.in-addr.arpa", "PTR"): ["dead.example.com", "b.ptr.example"],
        ("b.ptr.example", "A"): ["192.0.2.1"],
        ("dead.example.com", "A"): ["192.0.2.1"],
    }
    assert checked(sender="anna@ptr.example", records=records, failing=failing)[0].result == result


def test_checks_at_once_do_not_share_their_records():
    """Each asks its own look-up: here in threads that are all in the middle of one."""
    together = Barrier(8)

    def one(number):
        def lookup(_name, _rrtype):
            together.wait(10)
            return text(b"v=spf1 +all" if number % 2 else b"v=spf1 -all")

        return check(Spf("192.0.2.1", "anna@example.com", ""), lookup, HERE).result

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == ["fail", "pass"] * 4


def test_the_header_has_what_was_checked():
    """As RFC 7208 9.1 writes it."""
    assert checked()[0].header == (
        "pass (mx.example.net: domain of anna@example.com designates 192.0.2.1 as permitted sender) "
        'client-ip=192.0.2.1; envelope-from="anna@example.com"; helo=mx.example.com; receiver=mx.example.net; '
        'identity=mailfrom; mechanism="ip4:192.0.2.0/24"'
    )
    assert checked(sender="anna@broken.example")[0].header.endswith('; problem="Invalid IP4 address: ip4:elephant"')


def test_what_a_client_says_stays_within_its_quotes():
    """It neither ends a value nor the comment, and no control character gets out."""
    sender = 'x") y="z(\\\x07\n@example.com'
    header = checked(sender=sender, helo="a b;c")[0].header
    assert r'envelope-from="x\") y=\"z(\\??@example.com"' in header
    assert 'helo="a b;c"' in header
    assert r"domain of x\"" not in header
    assert r'domain of x"\) y="z\(\\??@example.com designates' in header


@pytest.mark.parametrize("size", [0, 64, 120, 200, 300, 380, 3000])
@pytest.mark.parametrize("char", ["a", "ä", '"'])
def test_a_header_loses_whole_parts(size, char):
    """Whatever its length, it is a header of 400 bytes with the result and the client."""
    header = checked(sender=f"{char * size}@soft.example", helo="mx." + "b" * 60 + ".example")[0].header
    assert len(header.encode()) <= MAX_BYTES
    assert header.startswith("softfail ")
    assert "client-ip=192.0.2.1; " in header
    assert "identity=mailfrom" in header
    assert header.count('"') % 2 == 0 or char == '"'


def test_this_host_is_the_receiver_unless_another_is_given(monkeypatch):
    """Without a question to the DNS."""
    monkeypatch.setattr("forkpolicy.world.spf._this_host", lambda: "own.example.org")
    assert "receiver=own.example.org" in check(Spf("192.0.2.1", "anna@example.com", ""), Dns(RECORDS)).header
