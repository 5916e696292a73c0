"""Comparison of two attributes, and what an action may have put in."""

from __future__ import annotations

import pytest

from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.postfix.addresses import Rewriting
from tests.fakes import decide, diagnostics_of, policy_of

TABLES = "table d domain f\ntable k key f\ntable c cidr f\n"


@pytest.mark.parametrize(
    ("acl", "attributes", "holds"),
    [
        ("sender {sasl_username}", {"sasl_username": "A@EXAMPLE.COM."}, True),
        ("sender {recipient}", {"recipient": "a@example.com"}, True),
        ("sender {sasl_username}", {"sasl_username": "a"}, False),
        ("helo_name {client_name}", {"helo_name": "MAIL.example.org."}, True),
        ("client_address {server_address}", {"client_address": "2001:db8::1", "server_address": "2001:DB8:0::1"}, True),
        (
            "client_address {server_address}",
            {"client_address": "::ffff:192.0.2.1", "server_address": "192.0.2.1"},
            True,
        ),
        ("client_address {helo_name}", {"helo_name": "[203.0.113.5]"}, True),
        ("client_address {helo_name}", {"helo_name": "[203.0.113.6]"}, False),
        ("client_address {helo_name}", {"client_address": "unknown", "helo_name": "UNKNOWN"}, True),
        ("sender {sasl_username}", {"sender": "", "sasl_username": ""}, False),
    ],
)
def test_two_attributes_are_compared_as_their_type_folds(acl, attributes, holds):
    """Addresses as addresses whatever their spelling, names as names; two that are empty say nothing."""
    policy = policy_of(f"acl same {acl}\naction y OK\naccess same y\n")
    assert decide(policy, **attributes) == ("OK" if holds else "DUNNO")


@pytest.mark.parametrize(
    ("acl", "attributes", "holds"),
    [
        ("client_name {sender_domain}", {"sender": "a@MAIL.example.org."}, True),
        ("client_name {sender_domain}", {"sender": "a@example.org"}, False),
        ("client_name {sender_domain}", {"sender": "a@bücher.example", "client_name": "xn--bcher-kva.example"}, True),
        ("client_name {sender_domain}", {"sender": "", "client_name": ""}, False),
        ("client_name {helo_domain}", {"helo_name": "a.mail.example.org"}, True),
        ("client_name {helo_domain}", {"helo_name": "[192.0.2.1]", "client_name": ""}, False),
        ("sender {recipient_domain}", {"recipient": "b@Example.com."}, True),
        ("sender {recipient_domain}", {"recipient": "a@example.net"}, False),
        ("sender {recipient_domain}", {"sender": "a", "recipient": "b"}, False),
        ("sender {recipient_localpart}", {"recipient": "A@example.net"}, True),
        ("sender {recipient_localpart}", {"recipient": "a+b@example.net"}, False),
        ("sender {helo_domain}", {"sender": "a@example.org", "helo_name": "mail.Example.org"}, True),
        ("recipient {helo_name}", {"recipient": "b@example.org", "helo_name": "example.org"}, False),
        ("sasl_username {sender_localpart}", {"sasl_username": "A"}, True),
        ("sasl_username {sender_localpart}", {"sasl_username": "a", "sender": "A"}, True),
        ("sasl_username {sender_localpart}", {"sasl_username": "a@example.com"}, False),
        ("sasl_username {recipient_domain}", {"sasl_username": "Example.COM."}, True),
        ("policy_context {recipient_domain}", {"policy_context": "example.com"}, True),
    ],
)
def test_parts_are_compared(acl, attributes, holds):
    """Domains in their ASCII form, local parts case folded; an address by the part that stands in braces."""
    policy = policy_of(f"acl same {acl}\naction y OK\naccess same y\n")
    assert decide(policy, **attributes) == ("OK" if holds else "DUNNO")


def test_a_part_is_of_the_rewritten_address():
    """The one that Postfix will deliver to or reply to."""
    views = Rewriting(myorigin="example.com", local_domains=["example.com"]).views
    policy = policy_of("acl same sender {recipient_domain}\naction y OK\naccess same y\n", views=views)
    for recipient in ("b", "b%example.com@localhost", "example.com!b", "b@[127.0.0.1]"):
        assert decide(policy, recipient=recipient) == "OK"
    assert decide(policy, recipient="b%example.net@localhost") == "DUNNO"


@pytest.mark.parametrize(
    ("acl", "attributes", "holds"),
    [
        ("table:d {sender_domain}", {"sender": "a@BÜCHER.example."}, True),
        ("table:d {helo_domain}", {"helo_name": "www.bücher.example"}, True),
        ("table:d {helo_domain}", {"helo_name": "bücher.example"}, False),
        ("table:d {sender}", {"sender": "a@bücher.example"}, True),
        ("table:k {sender_localpart}", {"sender": "Anna@example.net"}, True),
        ("table:k {sender_domain} {recipient_localpart}", {"sender": "a@Example.net.", "recipient": "BERT@x.y"}, True),
        ("table:k {sender_domain} {recipient_localpart}", {"sender": "a@x.y", "recipient": "bert@x.y"}, False),
        ("table:c {client_address}", {"client_address": "::ffff:192.0.2.1"}, True),
    ],
)
def test_tables_are_asked_for_parts(acl, attributes, holds):
    """One alone for a kind that fits, several together for kind key."""
    rows = {
        "d": {"xn--bcher-kva.example": None},
        "k": {"anna": None, "example.net bert": None},
        "c": {"192.0.2.1": None},
    }
    policy = policy_of(f"{TABLES}acl x {acl}\naction y OK\naccess x y\n", rows)
    assert decide(policy, **attributes) == ("OK" if holds else "DUNNO")


def test_questions_about_different_parts_are_not_one():
    """`check` takes two ACLs for one where they ask a table for the same."""
    for first, second, is_one in (
        ("table:k {sender_domain}", "table:k {sender_localpart}", False),
        ("table:k {sender_domain}", "table:k {sender_domain}", True),
        ("table:d {sender_domain}", "table:d {sender}", True),
        ("table:d {sender_domain}", "table:d {helo_domain}", False),
        ("client_name {sender_domain}", "client_name {recipient_domain}", False),
    ):
        text = f"{TABLES}acl a {first}\nacl b {second}\naction y OK\naction n REJECT no\naccess a y\naccess b n\n"
        warnings = find_warnings(policy_of(text).model, {})
        assert any("never fires" in str(each) for each in warnings) is is_one


@pytest.mark.parametrize("reply", ["{sender}", "REJE{sender} no", "{match.x} no", "DEFER{helo_name}"])
def test_the_action_itself_is_written_out(reply):
    """What Postfix must do never comes from a request or a table; the message says so."""
    told = diagnostics_of(f"table t key f\nacl x sender table:t\naction y {reply}\n")
    assert any("the action itself is written out" in each for each in told), told
