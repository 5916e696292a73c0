"""Where `forkpolicy init` puts the policy into a list of restrictions, and what a service is for."""

from __future__ import annotations

import pytest

from forkpolicy.commands.init.placing import call_of, with_call
from forkpolicy.commands.init.services import Role, _role
from forkpolicy.postfix.lists import split_list
from forkpolicy.postfix.parameters import Smtpd

CALL = call_of("unix:private/policy")
FULL = "reject_non_fqdn_sender, reject_non_fqdn_recipient"
FIRST = "permit_mynetworks, permit_sasl_authenticated"
VALUES = {
    "closing": f"{FIRST}, reject_unauth_destination",
    "smtpd_client_restrictions": "",
    "smtpd_sender_restrictions": "",
}


def smtpd(name="smtp/inet", **own):
    """A service with parameters of its own."""
    return Smtpd(name, {**VALUES, **own}, frozenset(own), chrooted=True)


PLACES = {
    "": f"{FIRST}, {FULL}, {CALL}",
    FIRST: f"{FIRST}, {FULL}, {CALL}",
    f"{FIRST}, reject_unauth_destination": f"{FIRST}, reject_unauth_destination, {FULL}, {CALL}",
    "permit_mynetworks reject_unauth_destination\tpermit": (
        f"permit_mynetworks reject_unauth_destination, {FULL}, {CALL}, permit"
    ),
    "PERMIT_MYNETWORKS, Reject_Unauth_Destination": f"PERMIT_MYNETWORKS, Reject_Unauth_Destination, {FULL}, {CALL}",
    # The word of a map is not a word of the list.
    "check_client_access inline:{x=reject_unauth_destination}, permit": (
        f"{CALL}, check_client_access inline:{{x=reject_unauth_destination}}, permit"
    ),
    # What is already there is not added.
    f"permit_mynetworks, {FULL}, reject_unauth_destination": (
        f"permit_mynetworks, {FULL}, reject_unauth_destination, {CALL}"
    ),
    # No request would reach what stands behind the end.
    "permit_mynetworks, permit, reject_unauth_destination": (
        f"permit_mynetworks, {FULL}, {CALL}, permit, reject_unauth_destination"
    ),
    "reject_rbl_client zen.example.org": f"{CALL}, reject_rbl_client zen.example.org",
    "$closing, permit": f"$closing, {FULL}, {CALL}, permit",
    "${closing} $nothing reject": f"${{closing}}, {FULL}, {CALL}, $nothing reject",
    # A word that occurs again, within another one.
    "permit_mynetworks, permit_mynetworks_x, reject_unauth_destination": (
        f"permit_mynetworks, permit_mynetworks_x, reject_unauth_destination, {FULL}, {CALL}"
    ),
}


@pytest.mark.parametrize(("raw", "expected"), PLACES.items(), ids=[each or "empty" for each in PLACES])
def test_the_place_in_a_list(raw, expected):
    """Behind what closes the relay, else behind permissions that the rule repeats; every word of the list stays."""
    found = with_call(raw, smtpd(), "unix:private/policy")
    assert found == expected
    kept = iter(split_list(found))
    assert all(word in kept for word in split_list(raw))


def test_addresses_that_an_earlier_list_refuses():
    """They are not refused again."""
    service = smtpd(smtpd_sender_restrictions=f"permit_mynetworks, {FULL}")
    assert with_call(FIRST, service, "unix:private/policy") == f"{FIRST}, {CALL}"


SERVICES = [
    ("smtp/inet", {}, Role.OUTSIDE),
    ("smtpd/pass", {}, Role.OUTSIDE),
    ("192.0.2.25:smtp/inet", {"smtpd_recipient_restrictions": "reject_unauth_destination"}, Role.OUTSIDE),
    ("submission/inet", {}, Role.SUBMISSION),
    ("192.0.2.25:587/inet", {}, Role.SUBMISSION),
    ("2525/inet", {"smtpd_relay_restrictions": "permit_sasl_authenticated,reject"}, Role.SUBMISSION),
    ("127.0.0.1:10025/inet", {}, Role.INSIDE),
    ("[::1]:10025/inet", {}, Role.INSIDE),
    ("localhost:10025/inet", {}, Role.INSIDE),
    ("10025/inet", {"smtpd_recipient_restrictions": "permit_mynetworks, reject"}, Role.INSIDE),
    ("10025/inet", {"smtpd_recipient_restrictions": "permit_mynetworks, permit"}, Role.OUTSIDE),
    ("127.0.0.1:25/inet", {"smtpd_upstream_proxy_protocol": "haproxy"}, Role.OUTSIDE),
]


@pytest.mark.parametrize(("name", "own", "role"), SERVICES)
def test_who_talks_to_a_service(name, own, role):
    """By its name, and by lists of its own that let nobody in but clients that are trusted."""
    assert _role(smtpd(name, **own)) is role
