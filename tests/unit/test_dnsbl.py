"""DNS lists: which answers are listings, who is asked about, and how an ACL's words are read. Zones are dicts here."""

from __future__ import annotations

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.policy.answers import Mode, NotAskedError
from forkpolicy.policy.evaluate import Answer as Evaluated
from forkpolicy.protocol.attributes import STATES
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.worker.sampling import Sampling
from forkpolicy.world.codes import is_counted, parse_codes
from forkpolicy.world.dns.answers import NODATA, NXDOMAIN, Answer, Status, failure
from forkpolicy.world.dnsbl import Listing, Lists, Zone, name_of_address, no_answer, together, zone_answer
from forkpolicy.world.list_lookup import ListLookup
from tests.fakes import diagnostics_of, policy_of, request_of

LISTED = zone_answer(Zone("a.example"), ["127.0.0.2"])
NOT, UNKNOWN = zone_answer(Zone("a.example"), []), no_answer("SERVFAIL")
CLIENT = "203.0.113.5"
REVERSED = "5.113.0.203"


def records(*addresses, text=()):
    return {"A": Answer(Status.OK, addresses), "TXT": Answer(Status.OK, tuple(text)) if text else NODATA}


class Names:
    """A resolver that knows everything: {name: {type: answer}}; `asked` has what it was asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def cached(self, name, rrtype):
        self.asked.append((name, rrtype))
        return self.answers.get(name, {}).get(rrtype, NXDOMAIN)

    def ask(self, *_):
        raise AssertionError("all is known")


class Server:
    """A policy whose DNS lists are at hand."""

    def __init__(self, text, answers=(), off=(), **more):
        self.policy = policy_of(text, **more)
        self.names = Names(dict(answers))
        self.errors = []
        self.lookup = ListLookup(self.names, lambda *error: self.errors.append(error))
        self.lookup.off = dict(off)
        self.mode = Mode(_no_store, self.lookup.known)
        self.policy.answer_with(self.mode)

    def values(self, **attributes):
        return wanted_values(request_of(**attributes), self.policy.wanted)

    def ask(self, **attributes):
        values = self.values(**attributes)
        return self.policy.text(self.policy.decide(values).rule, values)

    def look(self, acl="bad", **attributes):
        trace = self.policy.trace(self.values(**attributes), self.mode, all_rules=True)
        return next(looked for tried in trace.tried for looked, _ in tried.looked if looked.acl.name == acl)

    def holds(self, **attributes):
        """True, False, or None where it cannot be known."""
        return {Evaluated.HOLDS: True, Evaluated.NOT: False, Evaluated.UNKNOWN: None}[self.look(**attributes).answer]


def _no_store(_question):
    raise NotAskedError("no store")


def rbl(words, answers=(), **more):
    return Server(
        f"acl bad rbl {words}\naccess bad no\n".replace("access", "action no REJECT\naccess"), answers, **more
    )


def rhsbl(words, answers=()):
    return Server(f"acl bad rhsbl {words}\naction no REJECT\naccess bad no\n", answers)


@pytest.mark.parametrize(
    ("codes", "address", "counted"),
    [
        ("127.0.0.2", "127.0.0.2", True),
        ("127.0.0.2", "127.0.0.3", False),
        ("127.0.0.2-11", "127.0.0.11", True),
        ("127.0.0.2-11", "127.0.0.12", False),
        ("127.0.1.*", "127.0.1.0", True),
        ("127.0.*.1-3", "127.0.9.3", True),
        ("127.0.*.1-3", "127.0.9.0", False),
        ("127.0.0.2,127.0.1.4", "127.0.1.4", True),
        # Never, however wide the codes are.
        ("127.*.*.*", "127.0.0.1", False),
        ("127.*.*.*", "127.0.0.255", False),
        ("127.*.*.*", "127.255.255.254", False),
        ("127.*.*.*", "127.255.254.254", True),
    ],
)
def test_codes(codes, address, counted):
    """Numbers, ranges and all of an octet."""
    assert is_counted(address, parse_codes(codes)) is counted


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("127.0.0", "is not a valid code"),
        ("127.0.0.2.3", "is not a valid code"),
        ("", "is not a valid code"),
        ("127.0.0.2,", "is not a valid code"),
        ("127.0.0.256", "is not a number from 0 to 255"),
        ("127.0.0.x", "is not a number from 0 to 255"),
        ("127.0.0.2-", "is not a number from 0 to 255"),
        ("127.0.0.²", "is not a number from 0 to 255"),
        ("127.0.0.11-2", "did you mean 2-11?"),
        ("192.0.2.1", "begin with 127"),
        ("127.0.0.1", "is never a listing"),
        ("127.0.0.255", "is never a listing"),
        ("127.255.255.254", "is never a listing"),
    ],
)
def test_codes_that_are_none(codes, message):
    """Each with what is wrong."""
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse_codes(codes)


@pytest.mark.parametrize(
    ("addresses", "listing", "is_error"),
    [
        (["127.0.0.2"], Listing.LISTED, False),
        (["127.0.0.2", "127.0.0.4"], Listing.LISTED, False),
        (["127.0.0.99"], Listing.NOT, False),
        ([], Listing.NOT, False),
        (["127.255.255.254"], Listing.UNKNOWN, True),
        (["127.0.0.2", "127.255.255.255"], Listing.UNKNOWN, True),
        # dnswl.org, to those whom it does not answer.
        (["127.0.0.255"], Listing.UNKNOWN, True),
        # A list that closes; a domain that was sold.
        (["127.0.0.1"], Listing.UNKNOWN, False),
        (["93.184.216.34"], Listing.UNKNOWN, False),
        (["::1"], Listing.UNKNOWN, False),
    ],
)
def test_what_is_a_listing(addresses, listing, is_error):
    """What is never a listing makes neither the ACL nor its `!` hold."""
    found = zone_answer(Zone("a.example", parse_codes("127.0.0.2-11")), addresses)
    assert (found.listing, found.is_error) == (listing, is_error)


@pytest.mark.parametrize(
    ("needed", "found", "holds"),
    [
        (1, [LISTED, UNKNOWN], True),
        (1, [NOT, UNKNOWN], None),
        (1, [NOT, NOT], False),
        (2, [LISTED, LISTED, UNKNOWN], True),
        (2, [LISTED, UNKNOWN, NOT], None),
        (2, [NOT, NOT, UNKNOWN], False),
        (3, [LISTED, LISTED, NOT], False),
    ],
)
def test_how_many_zones(needed, found, holds):
    """N that list it are enough; those without an answer only matter where they could make N."""
    lists = Lists((Zone(f"{number}.example") for number in range(len(found))), needed)
    assert together(lists, found).holds is holds


def test_no_answer_is_waited_for_that_changes_nothing():
    """A list that is slow holds nobody up where the others have decided."""
    lists = Lists([Zone("a.example"), Zone("b.example")])
    assert together(lists, [None, LISTED]).holds is True
    assert together(lists, [None, NOT]) is None
    assert together(Lists(lists.zones, 2), [None, NOT]).holds is False


@pytest.mark.parametrize(
    ("packed", "name"),
    [
        (bytes([192, 0, 2, 99]), "99.2.0.192"),
        (
            bytes.fromhex("20010db8000000000000000000000001"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2",
        ),
    ],
)
def test_reversed_addresses(packed, name):
    """RFC 5782, 2.1 and 2.4."""
    assert name_of_address(packed) == name


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        *((address, False) for address in ("0.0.0.0", "0.255.255.255", "10.1.2.3", "100.64.0.1", "100.127.255.255")),
        *((address, False) for address in ("127.0.0.1", "127.0.0.2", "169.254.1.1", "172.16.0.1", "172.31.255.255")),
        *((address, False) for address in ("192.168.35.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fc00::1")),
        *((address, False) for address in ("fdff::1", "fe80::1", "fe80::1%eth0", "febf::1", "ff02::1")),
        *((address, False) for address in ("::ffff:10.1.2.3", "::ffff:127.0.0.1", "::ffff:a00:1", "unknown", "")),
        *((address, True) for address in ("1.0.0.0", "9.255.255.255", "100.63.255.255", "100.128.0.0", "128.0.0.1")),
        *((address, True) for address in ("172.15.0.1", "172.32.0.1", "192.167.1.1", "223.255.255.255", "192.0.2.1")),
        *((address, True) for address in ("203.0.113.5", "::ffff:203.0.113.5", "2001:db8::1", "::2", "fec0::1")),
    ],
)
def test_who_is_asked_about(address, asked):
    """Private addresses and those of no single machine are not; networks for documentation are. `!bad` holds then."""
    server = rbl("a.example")
    assert server.holds(client_address=address) is False
    assert bool(server.names.asked) is asked


def test_a_listed_client():
    """Mapped addresses are IPv4; a code that is not among those of the ACL is no listing."""
    answers = {f"{REVERSED}.a.example": records("127.0.0.4")}
    for words, holds in (("a.example", True), ("a.example=127.0.0.4", True), ("a.example=127.0.0.2", False)):
        assert rbl(words, answers).holds() is holds
    assert rbl("a.example", answers).ask(client_address=f"::ffff:{CLIENT}") == "REJECT"
    assert rbl("A.Example.", answers).holds() is True
    assert rbl("other.example", answers).ask() == "DUNNO"


@pytest.mark.parametrize(
    ("words", "zones"),
    [
        ("a.example=127.0.0.2-4,127.0.1.* b.example", {"a.example": 2, "b.example": 0}),
        (
            "a.example=127.0.0.2,127.0.1.*,b.ex=127.0.0.9,1.ex",
            {"a.example": 2, "b.ex": 1, "1.ex": 0},
        ),
        ("a.example,b.example", {"a.example": 0, "b.example": 0}),
        (">=2 a.example=*.*.*.*,127.0.0.3,*.0.0.4 b.example", {"a.example": 3, "b.example": 0}),
    ],
)
def test_commas_separate_codes_and_zones(words, zones):
    """As they separate values everywhere; what begins with a number or `*` is another code of the zone in front."""
    found = rbl(words).policy.model.zones
    assert {zone.name: len(zone.codes) for zone in found} == zones


def test_all_codes_of_a_zone_count():
    """Those behind a comma, too."""
    words = "a.example=127.0.0.2,127.0.0.4"
    for code, holds in (("127.0.0.2", True), ("127.0.0.3", False), ("127.0.0.4", True)):
        assert rbl(words, {f"{REVERSED}.a.example": records(code)}).holds() is holds


def test_a_sample_asks_nobody():
    """A worker looks closely at two requests a second: no list gets to know more of them."""
    server = Server("acl bad rbl a.example\naction no REJECT\naction yes OK\naccess bad no\naccess !bad yes\n")
    sampling = Sampling(server.policy)
    sampling.look_at(server.values())
    assert (sampling.sampled, server.names.asked) == (1, [])
    assert server.policy.trace(server.values()).outcome is server.policy.model.default_rule


def test_explain_says_what_each_zone_says():
    """Listings with their codes; why nobody knows."""
    answers = {f"{REVERSED}.a.example": records("127.0.0.4", "127.0.0.2")}
    looked = rbl(">=2 a.example b.example c.example", answers).look()
    assert looked.acl.asks.in_words(looked.given.question, looked.given.answer) == (
        f"{CLIENT}: a.example lists it (127.0.0.2 127.0.0.4); b.example does not list it; c.example does not list it"
    )
    answers[f"{REVERSED}.b.example"] = {"A": failure("SERVFAIL")}
    looked = rbl(">=2 a.example b.example c.example", answers, off={"c.example": "lists 127.0.0.1"}).look()
    assert looked.reason == "b.example: SERVFAIL; c.example: is off: lists 127.0.0.1"


def test_neither_holds_where_nobody_knows():
    """An outage of the DNS is not "not listed": `!listed` must not refuse everybody."""
    text = "action no REJECT\naction yes OK\nacl good rbl dnswl.example\naccess good yes\naccess !good no\n"
    for failed in ({"A": failure("timeout")}, records("127.0.0.255"), records("93.184.216.34")):
        assert Server(text, {f"{REVERSED}.dnswl.example": failed}).ask() == "DUNNO"
    assert Server(text).ask() == "REJECT"
    assert Server(text, off={"dnswl.example": "closed"}).ask() == "DUNNO"


def test_the_words_of_a_listing():
    """Those of the first zone that lists it, on one line. They are only asked for where an action puts them in."""
    text = "acl bad rbl a.example b.example\naction no REJECT 5.7.1 {match.bad}\naccess bad no\n"
    answers = {f"{REVERSED}.b.example": records("127.0.0.2", text=[b"spam\r\nfrom \xff here", b"second"])}
    assert Server(text, answers).ask() == "REJECT 5.7.1 spam from ? here"
    without = Server(text.replace("{match.bad}", "no"), answers)
    assert without.ask() == "REJECT 5.7.1 no"
    assert {rrtype for _, rrtype in without.names.asked} == {"A"}
    no_text = {f"{REVERSED}.a.example": records("127.0.0.2")}
    assert Server(text, no_text).ask() == "REJECT 5.7.1 "


@pytest.mark.parametrize(
    ("attribute", "value", "asked"),
    [
        ("sender", "anna@Spam.Example", "spam.example"),
        ("sender_domain", "anna@spam.example", "spam.example"),
        ("sender", "anna@spam.example.", "spam.example"),
        ("sender", "anna@bücher.example", "xn--bcher-kva.example"),
        ("helo_name", "Mail.Spam.example", "mail.spam.example"),
        ("helo_domain", "Mail.Spam.example", "spam.example"),
        ("helo_domain", "spam.example", None),
        ("client_name", "mail.spam.example", "mail.spam.example"),
        ("sender", "", None),
        ("sender", "anna", None),
        ("sender", "anna@localhost", None),
        ("sender", "anna@[192.0.2.1]", None),
        ("sender", "anna@192.0.2.1", None),
        ("sender", "anna@a..example", None),
        ("sender", "anna@a b.example", None),
        ("sender", f"anna@{'a' * 64}.example", None),
        ("sender", f"anna@{'a.' * 125}example", None),
        ("helo_name", "[IPv6:2001:db8::1]", None),
        ("helo_name", "2001:db8::1", None),
        ("client_name", "unknown", None),
    ],
)
def test_the_domain_that_is_asked_about(attribute, value, asked):
    """Of an address, or a name; A-labels. What cannot be a name is not asked about, and is not listed."""
    server = rhsbl(f"{{{attribute}}} dbl.example", {f"{asked}.dbl.example": records("127.0.1.2")})
    of = "helo_name" if attribute == "helo_domain" else attribute.removesuffix("_domain")
    assert server.holds(**{of: value}) is (asked is not None)
    assert {name for name, _ in server.names.asked} == ({f"{asked}.dbl.example"} if asked else set())


def test_when_each_is_known():
    """The client always is; a domain from the command on that has it, and never at VRFY and ETRN."""
    for state in STATES:
        assert rbl("a.example").holds(protocol_state=state) is False
        of_helo = rhsbl("{helo_name} a.example").holds(protocol_state=state)
        of_sender = rhsbl("{sender} a.example").holds(protocol_state=state)
        assert of_sender is (None if state in ("VRFY", "ETRN") else False)
        unsent = rhsbl("{sender} a.example").holds(protocol_state=state, sender="")
        assert unsent is (None if state in ("CONNECT", "EHLO", "HELO", "VRFY", "ETRN") else False)
        assert of_helo is (None if state in ("VRFY", "ETRN") else False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rbl", "rbl needs a value"),
        ("rbl >=2", "rbl needs a zone"),
        ("rbl zen", '"zen" is not a valid zone'),
        ("rbl 192.0.2.1", '"192.0.2.1" is not a valid zone'),
        ("rbl a..example", "is not a valid zone"),
        (f"rbl {'a.' * 95}example", "is not a valid zone"),
        ("rbl fail=skip a.example", '"fail=skip" is not a valid zone'),
        ("rbl a.example=127.0.0", '"127.0.0" is not a valid code'),
        ("rbl a.example=127.0.0.2,127.0.0.x", '"x" in "127.0.0.x" is not a number'),
        ("rbl a.example=127.0.0.2,127.0.0.300", "is not a number from 0 to 255"),
        ("rbl a.example,127.0.0.2", '"127.0.0.2" is not a valid zone'),
        ("rbl a.example A.example.=127.0.0.2", "a.example stands here twice"),
        ("rbl >=2 a.example", ">=2 of 1 zone never holds"),
        ("rbl >=3 a.example b.example", ">=3 of 2 zones never holds"),
        ("rbl >=0 a.example", "expected how many zones"),
        ("rbl >=2 >=2 a.example b.example", ">=2 stands here already"),
        ("rbl {sender} a.example", "rbl asks about the client's address"),
        ("rhsbl a.example", "expected rhsbl {ATTRIBUTE} ZONE"),
        ("rhsbl {sender}", "rhsbl needs a zone"),
        ("rhsbl {sender} {recipient} a.example", "one ACL asks about one attribute"),
        ("rhsbl {sendr} a.example", 'did you mean "{sender}"?'),
        ("rhsbl {size} a.example", '"size" is not an attribute with a domain'),
        ("rbl key=missing a.example", "the key of a zone: missing"),
        ("rbl key=two a.example", "two has no key of a zone"),
    ],
)
def test_mistakes(words, message):
    """Each is one diagnostic at its word."""
    text = f"acl bad {words}\naction no REJECT\naccess bad no\n"
    (found,) = diagnostics_of(text, files={"two": "hush hush\n"})
    assert message in found
    assert "hush" not in found


def test_several_statements_add_zones():
    """As apolicy has it."""
    text = "acl bad rbl a.example\nacl bad rbl b.example\naction no REJECT\naccess bad no\n"
    assert Server(text, {f"{REVERSED}.b.example": records("127.0.0.2")}).ask() == "REJECT"


def test_a_rule_that_an_earlier_one_shadows():
    """One of the zones is enough, so fewer zones in a later rule never decide."""
    warnings = []
    text = "acl all rbl a.example b.example\nacl one rbl a.example\naction no REJECT\n"
    policy = policy_of(f"{text}access all no\naccess one no\n", warnings=warnings)
    assert len(policy.model.rules) == 2
    assert [zone.name for zone in policy.model.zones] == ["a.example", "b.example"]


@pytest.mark.parametrize("action", ["FILTER smtp:{match.bad}", "REDIRECT {match.bad}", "PREPEND {match.bad}: x"])
def test_words_of_strangers_direct_no_mail(action):
    """Who runs the list would choose where mail goes."""
    (found,) = diagnostics_of(f"acl bad rbl a.example\naction x {action}\naccess bad x\n")
    assert "lets the server that is asked choose" in found


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("key=keys/dqs zen.dq.spamhaus.net", {"keys/dqs": "S3cretKey\n"}),
        ("key=/etc/dqs zen.dq.spamhaus.net", {"/etc/dqs": "S3cretKey"}),
        ("S3cretKey.zen.dq.spamhaus.net", {}),
        ("s3cretkey.zen.DQ.spamhaus.net.", {}),
        ("key=k S3cretKey.zen.dq.spamhaus.net", {"k": "other"}),
    ],
)
def test_the_key_of_a_zone_is_asked_with_and_never_shown(words, files):
    """Not in what explain shows, not in a reply, not in what a zone is called anywhere."""
    text = f"acl bad rbl {words}\naction no REJECT 5.7.1 {{match.bad}}\naccess bad no\n"
    name = f"{REVERSED}.s3cretkey.zen.dq.spamhaus.net"
    server = Server(text, {name: records("127.0.0.2", text=[b"see s3cretkey.zen and S3CRETKEY"])}, files=files)
    assert server.ask() == "REJECT 5.7.1 see ***.zen and ***"
    looked = server.look()
    shown = looked.acl.asks.in_words(looked.given.question, looked.given.answer)
    assert shown == f"{CLIENT}: zen.dq.spamhaus.net lists it (127.0.0.2)"
    assert "s3cretkey" not in f"{server.policy.model.zones}{looked.given.question}".lower()


def test_a_key_without_the_name_of_a_list():
    """A mistake, and a key all the same."""
    server = rbl("abcdefghijklmnop.dq.spamhaus.net")
    assert [(zone.name, zone.domain) for zone in server.policy.model.zones] == [
        ("dq.spamhaus.net", "abcdefghijklmnop.dq.spamhaus.net")
    ]


def test_a_key_is_for_the_zones_behind_it():
    """Free zones stand in front."""
    server = rbl("free.example key=k paid.example", files={"k": "hush"})
    assert [zone.domain for zone in server.policy.model.zones] == ["free.example", "hush.paid.example"]


def test_a_key_in_the_policy_is_masked_in_messages():
    """The line of a mistake is quoted."""
    with pytest.raises(ConfigError) as caught:
        policy_of("acl bad rbl S3cretKey.zen.dq.spamhaus.net=1 abcdefghijklmnop.mail.abusix.zone=2\n")
    assert str(caught.value).count("***.zen.dq.spamhaus.net") >= 1
    assert "S3cret" not in str(caught.value)
    assert "abcdefghijklmnop" not in str(caught.value)
