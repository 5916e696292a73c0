"""The language: how requests are decided, and how mistakes are reported."""

from __future__ import annotations

import re

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.policy.load import load_policy
from forkpolicy.protocol.layout import wanted_values
from tests.fakes import ALWAYS, NEVER, DictTable, TextFiles, decide, diagnostics_of, policy_of, request_of

FOUNDING = """
acl wl client_address 192.0.2.0/24
action nice_users DUNNO
access wl nice_users

acl remitent sender @example.com
acl desti recipient @example.com
acl aut sasl_method (PLAIN|LOGIN)
action rej REJECT Auth required
access remitent desti !aut rej
"""

TABLES = """
table  local_networks  cidr    list
table  local_domains   domain  list
acl    from_inside     client_address  table:local_networks
acl    from_us         sender          table:local_domains
acl    to_us           recipient       table:local_domains
acl    signed_in       authenticated
action prove_it        REJECT 5.7.1 Authentication required to send as {sender_domain}
access !from_inside from_us to_us !signed_in prove_it
"""
ROWS = {"local_networks": {"192.0.2.9": None}, "local_domains": {"example.com": None, "example.net": None}}

REJECT = "REJECT Auth required"
PROVE_IT = "REJECT 5.7.1 Authentication required to send as example.com"


@pytest.mark.parametrize(
    ("attributes", "rejected"),
    [
        ({}, True),
        ({"client_address": "2001:db8:ffff::1"}, True),
        ({"sender": "nobody@example.com"}, True),
        ({"sender": "A@EXAMPLE.COM"}, True),
        ({"sender": "a@example.com."}, True),
        ({"sender": "user+tag@example.com"}, True),
        ({"sender": "a@b@example.com"}, True),
        ({"sender": "#x@example.com"}, True),
        ({"client_address": "unknown"}, True),
        ({"client_address": ""}, True),
        ({"sasl_method": "PLAIN", "sasl_username": "u"}, False),
        ({"sasl_method": "LOGIN", "sasl_username": "u"}, False),
        ({"client_address": "192.0.2.9"}, False),
        ({"client_address": "::ffff:192.0.2.9"}, False),
        ({"sender": ""}, False),
        ({"sender": "x@elsewhere.example"}, False),
        ({"recipient": "x@elsewhere.example"}, False),
        ({"sender": "x@example.com.evil.example"}, False),
        ({"sender": "x@notexample.com"}, False),
        ({"sender": "example.com"}, False),
        ({"sender": "postmaster"}, False),
        ({"sender": "\udce4@example.org"}, False),
        ({"protocol_state": "MAIL", "recipient": ""}, False),
        ({"protocol_state": "DATA", "recipient": ""}, False),
        ({"protocol_state": ""}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("text", "rows", "action"), [(FOUNDING, {}, REJECT), (TABLES, ROWS, PROVE_IT)], ids=["words", "tables"]
)
def test_the_founding_rule(text, rows, action, attributes, rejected):
    """From outside, as us, to us, not authenticated: rejected, whatever the address looks like; all else passes."""
    policy = policy_of(text, rows)
    said = decide(policy, **attributes)
    assert said.casefold().startswith(action.casefold()) if rejected else said == "DUNNO"


@pytest.mark.parametrize(
    ("acl", "attributes", "holds"),
    [
        ("sender @example.com", {"sender": "u@sub.example.com"}, False),
        ("sender .example.com", {"sender": "u@sub.example.com"}, True),
        ("sender .example.com", {"sender": "u@example.com"}, False),
        ("sender example.com", {"sender": "u@example.com"}, True),
        ("sender abuse@", {"sender": "Abuse@anywhere.example"}, True),
        ("sender u@example.com", {"sender": "u+ext@example.com"}, False),
        ("sender <>", {"sender": ""}, True),
        ("sender a@example.com,b@example.com", {"sender": "b@example.com"}, True),
        ("sender (sales|contact)@bar.com", {"sender": "xcontact@bar.com"}, True),
        ("sender /^news-[0-9]{1,3}@/", {"sender": "News-12@x.example"}, True),
        ("sender @bücher.example", {"sender": "u@xn--bcher-kva.example"}, True),
        ("sender @xn--bcher-kva.example", {"sender": "u@BÜCHER.example"}, True),
        ("sender @bücher.example", {"sender": "u@bu\u0308cher.example"}, True),
        ("client_name mail.example.com", {"client_name": "MAIL.example.com."}, True),
        ("client_name .example.com", {"client_name": "example.com"}, False),
        ("helo_name mail.example.com", {"helo_name": "mail)example"}, False),
        ("client_address 192.0.2.0/255.255.255.0", {"client_address": "192.0.2.77"}, True),
        ("client_address 192.0.2.1-192.0.2.9", {"client_address": "192.0.2.9"}, True),
        ("client_address [2001:db8::]/32", {"client_address": "2001:0db8:0::1"}, True),
        ("client_address fe80::/10", {"client_address": "fe80::1%eth0"}, True),
        ("client_address ::/0", {"client_address": "192.0.2.1"}, False),
        ("server_address 127.0.0.1", {"server_address": "127.0.0.1"}, True),
        ("sasl_username Alice", {"sasl_username": "alice"}, True),
        ("policy_context submission", {"policy_context": "Submission"}, True),
        ("stress yes", {}, False),
        ("mail_version >3.8", {"mail_version": "3.8.1"}, True),
        ("mail_version >3.8", {"mail_version": "3.10.0"}, True),
        ("mail_version >3.8", {"mail_version": "3.8.0"}, False),
        ("mail_version >=3.9", {"mail_version": "3.9-20240101"}, True),
        ("mail_version <3.10", {"mail_version": "3.9.9"}, True),
        ("mail_version <=3.10", {"mail_version": "3.10.1"}, False),
        ("mail_version =3.8.0", {"mail_version": "3.8"}, True),
        ("mail_version =3.8 =3.10", {"mail_version": "3.10"}, True),
        ("mail_version <9", {"mail_version": "unknown"}, False),
        ("compatibility_level >=3.6", {"compatibility_level": "3.6"}, True),
        ("compatibility_level >=3.6", {"compatibility_level": "2"}, False),
        ("compatibility_level <3.6", {"compatibility_level": ""}, False),
        ("compatibility_level =0", {"compatibility_level": "0"}, True),
        ("tls_later yes", {"tls_later": "YES"}, True),
        ("size 10M", {"size": "10485761"}, True),
        ("size 10M", {"size": "10485760"}, False),
        ("size 10M", {"size": "9" * 30}, True),
        ("size <=1k", {"size": "1024"}, True),
        ("size 1k-2k", {"size": "2049"}, False),
        ("client_port <1024", {"client_port": "unknown"}, False),
        ("authenticated", {"sasl_username": "u"}, True),
        ("encrypted", {"encryption_protocol": "TLSv1.3"}, True),
        ("null_sender", {"sender": ""}, True),
        ("protocol_state rcpt", {}, True),
        ("helo_name {client_name}", {"helo_name": "Mail.Example.ORG."}, True),
        ("helo_name {client_name}", {"helo_name": "", "client_name": ""}, False),
    ],
    ids=str,
)
def test_an_acl_holds_for_what_it_says(acl, attributes, holds):
    """Each type compares as documented: folded, whole, label by label; expressions are searched for."""
    assert decide(policy_of(f"acl x {acl}\naction y OK\naccess x y\n"), **attributes) == ("OK" if holds else "DUNNO")


@pytest.mark.parametrize(
    ("acl", "attributes"),
    [
        ("recipient b@example.com", {"protocol_state": "MAIL", "recipient": ""}),
        ("recipient b@example.com", {"protocol_state": "DATA", "recipient": ""}),
        ("sender <>", {"protocol_state": "CONNECT", "sender": ""}),
        ("size >1", {"size": "0"}),
        ("authenticated", {"protocol_state": "EHLO"}),
        ("tls_later yes", {}),
    ],
)
def test_what_cannot_be_known_fires_neither_plain_nor_negated(acl, attributes):
    """`!` leaves "cannot be known" as it is: a negated ACL on a missing recipient does not match everything."""
    policy = policy_of(f"acl x {acl}\naction a OK\naction b HOLD\naccess x a\naccess !x b\n")
    assert decide(policy, **attributes) == "DUNNO"


def test_the_first_line_that_fires_decides_and_default_is_redefinable():
    """First match; a line without an action uses `default`; so does the end, wherever `default` is declared."""
    text = "acl a sender @example.com\nacl b sender @example.net\naction ok OK\naccess a ok\naccess b\naccess a\n"
    assert decide(policy_of(text)) == "OK"
    closed = policy_of(text + "action default REJECT closed\n")
    assert decide(closed, sender="x@example.net") == "REJECT closed"
    assert decide(closed, sender="x@elsewhere.example") == "REJECT closed"


def test_values_add_up_over_statements():
    """Several `acl` lines with one name and one type add their values, also after the first use."""
    text = "acl net client_address 192.0.2.0/24\naction y OK\naccess net y\n"
    text += "acl net client_address 198.51.100.1-198.51.100.9\n"
    assert decide(policy_of(text), client_address="198.51.100.5") == "OK"


BROKEN = "table t cidr x\nacl inside client_address table:t\nacl us sender @example.com\naction r REJECT\n"


@pytest.mark.parametrize(
    ("lines", "attributes", "said"),
    [
        ("access !inside us r", {}, "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"),
        ("access us inside r", {}, "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"),
        ("access !inside us r", {"sender": "x@elsewhere.example"}, "DUNNO"),
        ("access inside us r", {"sender": "x@elsewhere.example"}, "DUNNO"),
        ("access us r\naccess inside r", {}, "REJECT"),
    ],
)
def test_what_fails_is_never_does_not_hold(lines, attributes, said):
    """A table that cannot be read: passed over if the rest of the line does not hold anyway, else `on_error`."""
    failures = []
    policy = policy_of(BROKEN + lines + "\n", {"t": None})
    policy.on_failure = failures.append
    assert decide(policy, **attributes) == said
    assert bool(failures) is said.startswith("DEFER")
    assert all("acl inside: table t is damaged" in failure for failure in failures)


def test_one_value_that_holds_is_enough_beside_a_failing_table():
    """What a plain value says does not need the table."""
    policy = policy_of(
        "table t cidr x\nacl in client_address table:t 203.0.113.0/24\naction y OK\naccess in y\n", {"t": None}
    )
    assert decide(policy) == "OK"


def test_a_line_may_be_longer_than_python_nests():
    """Two hundred ACLs in one line are one line."""
    acls = "".join(f"acl a{number} sender @example.com\n" for number in range(200))
    line = "access " + " ".join(f"a{number}" for number in range(200)) + " y\n"
    policy = policy_of(f"{acls}action y OK\n{line}")
    assert decide(policy) == "OK"
    assert decide(policy, sender="x@example.net") == "DUNNO"


@pytest.mark.parametrize(
    ("text", "attributes", "said"),
    [
        ("no {sender}", {"sender": "a\nb@example.com"}, "REJECT no a?b@example.com"),
        ("no {sender_domain} {recipient_localpart}", {}, "REJECT no example.com b"),
        ("no {sender_domain}", {"sender": "postmaster"}, "REJECT no "),
        ("no {helo_domain}", {"helo_name": "Mail.Example.org"}, "REJECT no example.org"),
        ("no {helo_domain}", {"helo_name": "[192.0.2.1]"}, "REJECT no "),
        ("{{{helo_name}}}", {"helo_name": "\udcff"}, "REJECT {?}"),
        ("no {sender}", {"sender": "x" * 900}, "REJECT no " + "x" * 200),
    ],
)
def test_templates_put_in_cleaned_text(text, attributes, said):
    """What is put in is printable, valid UTF-8 and at most 200 characters; double braces are braces."""
    assert decide(policy_of(f"acl x protocol_state RCPT\naction y REJECT {text}\naccess x y\n"), **attributes) == said


def test_a_template_puts_in_the_value_of_the_entry_that_matched():
    """{match.ACL} is the second column of the table entry that the ACL found."""
    policy = policy_of(
        "table vip key x\nacl v sasl_username table:vip\naction y REJECT limit {match.v}\naccess v y\n",
        {"vip": {"alice": "gold"}},
    )
    assert decide(policy, sasl_username="ALICE") == "REJECT limit gold"


def test_the_value_of_an_entry_may_be_longer_than_an_attribute():
    """400 characters: it is the operator's text, or what another program says."""
    policy = policy_of(
        "table why key x\nacl v sasl_username table:why\naction y REJECT {match.v}\naccess v y\n",
        {"why": {"alice": "x" * 390, "bob": "x" * 500}},
    )
    assert decide(policy, sasl_username="alice") == "REJECT " + "x" * 390
    assert decide(policy, sasl_username="bob") == "REJECT " + "x" * 400


def test_log_and_score_go_on():
    """`log` notes and goes on, `score` adds and goes on, ACL type `score` asks."""
    policy = policy_of(
        "acl us sender @example.com\nacl bad score >=5\naction try log would hit {sender}\naction plus score +2.5\n"
        "action r REJECT score\naccess us try\naccess us plus\naccess bad r\naccess us plus\naccess bad r\n"
    )
    assert decide(policy) == "REJECT score"
    assert decide(policy, sender="x@elsewhere.example") == "DUNNO"


def test_a_score_that_nothing_adds_to_is_0():
    """The compiled policy decides it, too, and leaves nothing to the exact evaluation."""
    policy = policy_of(
        "acl low score <1\nacl high score >=1\naction r REJECT score\naction y OK\naccess high r\naccess low y\n"
    )
    assert decide(policy) == "OK"


def test_pairs_ask_one_table_with_several_attributes():
    """(sender, client) exceptions are one line each in a key table."""
    policy = policy_of(
        "table ok key x\nacl pair table:ok {sender} {client_address}\naction y OK\naccess pair y\n",
        {"ok": {"news@example.org 192.0.2.7": None}},
    )
    assert decide(policy, sender="News@example.org", client_address="192.0.2.7") == "OK"
    assert decide(policy, sender="news@example.org", client_address="192.0.2.8") == "DUNNO"


@pytest.mark.parametrize(
    ("values", "at", "holds"),
    [
        ("day Monday", "2026-11-23T12:00", True),
        ("day sat", "2026-11-28T00:00", True),
        ("day Tuesday-Friday", "2026-11-25T12:00", True),
        ("day fri-mon", "2026-11-25T12:00", False),
        ("day mtwhf", "2026-11-26T12:00", True),
        ("day as", "2026-11-26T12:00", False),
        ("time 08:00-17:00", "2026-11-25T16:59", True),
        ("time 08:00-17:00", "2026-11-25T17:00", False),
        ("time 22:00-06:00", "2026-11-25T05:59", True),
        ("time 22:00-06:00", "2026-11-25T12:00", False),
        ("time 09:00-10:00 tz=Europe/Madrid", "2026-11-25T08:30", True),
        ("time 09:00-10:00 tz=Europe/Madrid", "2026-07-25T07:30", True),
        ("date 2026-12-24", "2026-12-24T00:00", True),
        ("date 2026-12-24", "2026-12-24T23:59", True),
        ("date 2026-12-24", "2026-12-25T00:00", False),
        ("date 2026-12-24", "2025-12-24T12:00", False),
        ("date 2026-12-24..2027-01-06", "2026-12-23T23:59", False),
        ("date 2026-12-24..2027-01-06", "2026-12-24T00:00", True),
        ("date 2026-12-24..2027-01-06", "2027-01-06T23:59", True),
        ("date 2026-12-24..2027-01-06", "2027-01-07T00:00", False),
        ("date 12-24..01-06", "2031-12-24T00:00", True),
        ("date 12-24..01-06", "2032-01-06T23:59", True),
        ("date 12-24..01-06", "2032-01-07T00:00", False),
        ("date 12-24..01-06", "2031-12-23T23:59", False),
        ("date 08-01..08-31", "2026-08-31T23:59", True),
        ("date 08-01..08-31", "2026-09-01T00:00", False),
        ("date 05-01,10-12 12-25", "2026-10-12T12:00", True),
        ("date 02-15..02-29", "2028-02-29T12:00", True),
        ("date 02-15..02-29", "2027-03-01T12:00", False),
        ("date 2028-02-29", "2028-02-29T12:00", True),
        ("date 2026-12-24 tz=Europe/Madrid", "2026-12-23T23:30", True),
        ("date 2026-12-24 tz=Europe/Madrid", "2026-12-24T23:30", False),
    ],
)
def test_days_dates_and_times(values, at, holds):
    """Ranges over the week's end, midnight and new year, both ends of dates included, zones with their summer time."""
    from datetime import datetime

    now = datetime.fromisoformat(at + "+00:00").timestamp()
    zoned = values if "tz=" in values else f"{values} tz=UTC"
    policy = policy_of(f"acl x {zoned}\naction y OK\naccess x y\n", clock=lambda: now)
    assert decide(policy) == ("OK" if holds else "DUNNO")


MISTAKES = [
    ("acess a", "1:1", 'unknown statement "acess"', 'did you mean "access"?'),
    ("acl x sender", "1:7", "sender needs a value", ""),
    ("acl x authenticated yes", "1:21", "authenticated takes no value", ""),
    ("acl x client_address 192.0.2.5/24", "1:22", "host bits set", "192.0.2.0/24"),
    ("acl x client_address 192.0.2.0/0.0.0.255", "1:22", "wildcard mask", "/24"),
    ("acl x client_address 198.51.100.9-192.0.2.1", "1:22", "reversed", ""),
    ("acl x client_address 010.0.0.1", "1:22", "leading zeros", "10.0.0.1"),
    ("acl x client_address local_nets.txt", "1:22", "neither an address nor a network", ""),
    ("acl x client_address /no/such/file", "1:22", "cannot be read: no such file", ""),
    ("acl x sender ((", "1:14", "not a regular expression", ""),
    ("acl x sender /(?=a)b/", "1:14", "look-around", ""),
    ("acl x sender a@ex..com", "1:14", "empty label", ""),
    ("acl x sender @", "1:14", "no name", ""),
    ("acl x helo_name a@b.example", "1:17", "is a mail address", ""),
    ("acl x size ten", "1:12", "not a comparison", ""),
    ("acl x size 9-2", "1:12", "reversed", ""),
    ("acl x date 2026-02-30", "1:12", "no calendar has the day 2026-02-30", ""),
    ("acl x date 2027-02-29", "1:12", "no calendar has the day 2027-02-29", ""),
    ("acl x date 12-24..02-30", "1:12", "no calendar has the day 02-30", ""),
    ("acl x date 24-12", "1:12", "the month comes first, did you mean 12-24?", ""),
    ("acl x date 2026-24-12", "1:12", "the month comes first, did you mean 2026-12-24?", ""),
    ("acl x date 02-29", "1:12", "leap years only: write 02-28 or 03-01, or a range such as 02-28..02-29", ""),
    ("acl x date 2027-01-06..2026-12-24", "1:12", "is reversed: did you mean 2026-12-24..2027-01-06?", ""),
    ("acl x date 2026-12-24..01-06", "1:12", "has a year at one end only", ""),
    ("acl x date 12-24..2027-01-06", "1:12", "has a year at one end only", ""),
    ("acl x date 24.12.2026", "1:12", "did you mean 2026-12-24?", ""),
    ("acl x date 2026/12/4", "1:12", "did you mean 2026-12-04?", ""),
    ("acl x date 2026-12-24..", "1:12", '"2026-12-24.." is not a date: expected 2026-12-24, 2026-12-24..2027', ""),
    ("acl x date Christmas", "1:12", '"Christmas" is not a date: expected', ""),
    ("acl x date 12-24 tz=Mars/Olympus", "1:18", "not a time zone", ""),
    ("acl x date tz=UTC", "1:12", "date needs a value such as 2026-12-24..2027-01-06 next to tz=", ""),
    ("acl x date 12-24 tz=UTC tz=UTC", "1:25", "one ACL has one tz=", ""),
    ("acl x date", "1:7", "date needs a value", ""),
    ("acl x day Blursday", "1:11", "not a day", ""),
    ("acl x time 25:00-26:00", "1:12", "no such time", ""),
    ("acl x time 8-17", "1:12", "not a span of time", ""),
    ("acl x time 08:00-09:00 tz=Mars/Olympus", "1:24", "not a time zone", ""),
    ("acl x protocol_state RCPTT", "1:22", 'did you mean "RCPT"', ""),
    ("acl x sender table:nets", "1:14", 'unknown table "nets"', "declare it before"),
    ("table nets cidr f\nacl x sender table:net", "2:14", 'unknown table "net"', 'did you mean "table:nets"?'),
    ("table nets cidr f\nacl x sender table:nets", "2:14", "is of kind cidr", ""),
    ("table t domain f\nacl x client_address table:t", "2:22", "is of kind domain: client_address needs cidr", ""),
    ("acl x sender table:t\ntable t domain f", "1:14", "declared later", ""),
    ("table t domain f\ntable t domain f", "2:7", "declared already", ""),
    ("table t domian f", "1:9", "unknown kind", 'did you mean "domain"?'),
    ("table t domain", "1:9", "expected table NAME KIND [may-shrink] SOURCE", ""),
    ("table t domain may-shrink", "1:16", "expected table NAME KIND [may-shrink] SOURCE", ""),
    ("table t domain mayshrink f", "1:16", '"mayshrink" is not a source', 'did you mean "may-shrink"?'),
    ("table t domain --allow-shrink f", "1:16", '"--allow-shrink" is not a source', 'did you mean "may-shrink"?'),
    ("table t domain f May-Shrink", "1:18", "expected may-shrink once, directly behind the kind", ""),
    ("acl x sender @a.example\nacl x recipient @a.example", "2:7", "is of type sender since line 1", ""),
    ("acl x{ sender @a.example", "1:5", "is not a name", ""),
    ("acl x#c sender @a.example", "1:5", "is not a name", "line of its own"),
    ("action a", "1:8", "expected action NAME REPLY", ""),
    ("action a REDIRECT nobody", "1:10", "REDIRECT needs a mail address", ""),
    ("acl x day th", "1:11", "write thu for the day, ht for Thursday and Tuesday", ""),
    ("acl x day mon,sa", "1:15", "write sat for the day, as for Saturday and Sunday", ""),
    ("acl x sendr a@b.example", "1:7", 'unknown type of ACL "sendr"', 'did you mean "sender"?'),
    ("acl x autenticated", "1:7", "unknown type of ACL", 'did you mean "authenticated"?'),
    ("acl x mail_version 3.8", "1:20", "does not say how to compare: write =3.8", ""),
    ("acl x mail_version >3.x", "1:20", "not a comparison of versions", ""),
    ("acl x compatibility_level >=<3", "1:27", "does not say how to compare", ""),
    ("acl x compatibility_level >=", "1:27", "not a comparison of versions", ""),
    ("action a log", "1:10", "a log without a text", ""),
    ("action a FOO", "1:10", "not an action of access(5)", ""),
    ("action a 550", "1:10", "bare number", ""),
    ("action a REJECT {sendr}", "1:10", 'did you mean "{sender}"?', ""),
    ("action a REJECT {oops", "1:10", 'a "{" alone', ""),
    ("action a REJECT {match.nobody}", "1:10", 'unknown acl "nobody"', ""),
    ("action a score many", "1:10", "score needs a number", ""),
    ("action a OK\naction a OK", "2:8", "declared already", ""),
    ("acl a sender @a.example\naction a OK", "2:8", "is an acl already", ""),
    ("action a OK\nacl a sender @a.example", "2:5", "is an action already", ""),
    ("access nobody", "1:8", 'unknown acl or action "nobody"', ""),
    ("acl x sender @a.example\naccess x DUNNO", "2:10", "unknown acl or action", '"action NAME DUNNO ..."'),
    ("acl x sender @a.example\naccess x reject 5.7.1 no", "2:10", "unknown acl", '"action NAME REJECT ..."'),
    ("acl internal_net sender @a.example\naccess intern_net", "2:8", "unknown", 'did you mean "internal_net"?'),
    ("acl x sender @a.example\naccess ! x", "2:8", 'a "!" alone', ""),
    ("acl x sender @a.example\naccess !!x", "2:8", 'a double "!"', ""),
    ("action y OK\naccess y", "2:8", "without an ACL", "default"),
    ("action y OK\naccess !y", "2:8", "only ACLs take", ""),
    ("action y OK\nacl x sender @a.example\naccess y x", "3:8", "stands at the end", ""),
    ("access x\nacl x sender @a.example", "1:8", "declared later", ""),
    ("include nowhere.conf", "1:9", "cannot be read", ""),
    ("include policy.conf", "1:9", "includes itself", ""),
    ("  access x", "1:3", "continues the one before", ""),
    ("acl pair table:t {sender}", "1:10", 'unknown table "t"', ""),
    ("table t key f\nacl pair table:t sender", "2:18", "attributes in braces", ""),
    ("table t cidr f\nacl pair table:t {sender}", "2:10", "{sender} needs domain or address or key", ""),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), MISTAKES, ids=[row[0][:40] for row in MISTAKES])
def test_a_mistake_is_told_with_its_place(text, place, message, hint):
    """file:line:column, what is wrong, and the line with a caret; where one can guess, what was meant."""
    told = diagnostics_of(text)
    assert any(each.startswith(f"policy.conf:{place}: ") and message in each and hint in each for each in told), told
    assert any(re.search(r"\n    .*\n +\^", each) for each in told)


def test_all_mistakes_are_told_in_one_run():
    """Nobody has to run it ten times to hear of ten mistakes."""
    firsts = [row[0].split("\n")[0] for row in MISTAKES[:20]]
    text = "\n".join(first.replace("acl x", f"acl x{number}") for number, first in enumerate(firsts))
    told = diagnostics_of(text)
    assert {int(each.split(":")[1]) for each in told} == set(range(1, 21))


def test_statements_fold_case_continue_and_allow_comments():
    """Words and types fold case; a blank at the beginning continues; comments and CR LF do not matter."""
    text = "\ufeff# c\r\n; c\r\nACL x Sender\r\n# between\r\n  @example.com\r\nAction y\r\n\tOK\r\nACCESS x y"
    assert decide(policy_of(text)) == "OK"


def test_values_may_stand_in_a_file():
    """An absolute path is a file with one value a line: patterns, expressions, comments."""
    values = "# people\nu@example.com # a comment\n/^a@example/\n\n.sub.example\n"
    policy = policy_of("acl x sender /lists/people\naction y OK\naccess x y\n", files={"/lists/people": values})
    assert decide(policy) == "OK"
    assert decide(policy, sender="b@x.sub.example") == "OK"
    assert decide(policy, sender="b@example.com") == "DUNNO"
    told = diagnostics_of("acl x sender /lists/p", files={"/lists/p": "a@b.example\nbad..name\ntwo words\n"})
    assert [each.split(": ")[0] for each in told] == ["/lists/p:2:1", "/lists/p:3:5"]


def test_included_files_are_read_in_place(tmp_path):
    """Includes are relative to the file that names them, globs are sorted, and lines keep their own file."""
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "10.conf").write_text("access x y\n")
    (tmp_path / "rules.d" / "20.conf").write_text("access x z\n")
    main = tmp_path / "policy.conf"
    main.write_text("acl x sender @example.com\naction y OK\naction z HOLD\ninclude rules.d/*.conf\n")
    policy, _ = load_policy(str(main), lambda each: DictTable(each.name, each.kind, {}))
    rule = policy.decide(wanted_values(request_of(), policy.wanted)).rule
    assert rule.where == f"{tmp_path}/rules.d/10.conf:1"


def test_a_policy_that_is_not_utf8_is_told_with_its_line():
    """Latin-1 in a policy is a mistake with a line, not a traceback."""
    with pytest.raises(ConfigError, match=r"policy\.conf:2: byte 0xe9 is not UTF-8"):
        load_policy("policy.conf", lambda _: None, files=TextFiles({"policy.conf": b"# x\n# caf\xe9\n"}))


def test_silent_keeps_an_acl_out_of_the_log():
    """The word may stand anywhere among the values."""
    policy = policy_of("acl x sender silent @example.com\naction y OK\naccess x y\n")
    assert policy.model.acls["x"].silent
    assert decide(policy) == "OK"


def test_extensions_match_with_a_delimiter_only():
    """user@example.com also means user+ext@example.com when Postfix splits there."""
    text = "acl x recipient b@example.com\naction y OK\naccess x y\n"
    assert decide(policy_of(text, delimiter="+"), recipient="b+news@example.com") == "OK"
    assert decide(policy_of(text), recipient="b+news@example.com") == "DUNNO"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(.*)*x", "^(a|aa)+$"])
def test_expressions_are_linear_in_the_text(pattern):
    """A pattern that explodes in a backtracking engine decides 50,000 characters within the time of a blink."""
    import time

    policy = policy_of(f"acl x helo_name {pattern}\naction y OK\naccess x y\n")
    start = time.process_time()
    decide(policy, helo_name="a" * 50_000 + "!")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("costs_us", [ALWAYS, NEVER], ids=["indexed", "generated"])
@pytest.mark.parametrize("holds", [True, False])
def test_a_log_line_before_a_failure_is_noted_once(costs_us, holds):
    """What the fast way has noted when a later ACL fails is not noted again by the exact way, whichever way it goes."""
    policy = policy_of(
        "table broken address broken\nacl us sender @example.com\nacl in recipient table:broken\n"
        "acl signed_in authenticated\naction seen log seen\naction no 450 4.7.1 no\n"
        f"access us seen\naccess us in {'' if holds else 'signed_in '}no\n",
        {"broken": None},
        index_costs_us=costs_us,
    )
    values = wanted_values(request_of(), policy.wanted)
    for _ in range(2):
        assert policy.decide(values).rule is (policy.model.error_rule if holds else policy.model.default_rule)
        assert [each.rule for each in policy.take_noted()] == [policy.model.rules[0]]
