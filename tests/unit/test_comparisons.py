"""Comparison of two attributes, and what an action may have put in."""

from __future__ import annotations

import pytest

from tests.fakes import decide, diagnostics_of, policy_of


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


@pytest.mark.parametrize("reply", ["{sender}", "REJE{sender} no", "{match.x} no", "DEFER{helo_name}"])
def test_the_action_itself_is_written_out(reply):
    """What Postfix must do never comes from a request or a table; the message says so."""
    told = diagnostics_of(f"table t key f\nacl x sender table:t\naction y {reply}\n")
    assert any("the action itself is written out" in each for each in told), told
