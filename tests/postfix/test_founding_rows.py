"""The founding use case, row by row, through SMTP: forged mail from us to us is refused, everything else passes."""

from __future__ import annotations

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.server import Server
from tests.postfix.policies import APOLICY, COMPILED, SOURCES

OUTSIDE, OUTSIDE_6 = "203.0.113.9", "2001:db8:bad::9"
INSIDE, INSIDE_6 = "192.0.2.7", "2001:db8:1::7"
US, ALSO_US, ELSEWHERE = "alice@example.com", "bob@example.com", "someone@example.org"

# client, AUTH method, sender, recipient, refused
ROWS = {
    "forged over IPv4": (OUTSIDE, "", US, ALSO_US, True),
    "forged over IPv6": (OUTSIDE_6, "", US, ALSO_US, True),
    "forged, to oneself": (OUTSIDE, "", US, US, True),
    "forged, an invented mailbox": (OUTSIDE, "", "ceo@example.com", ALSO_US, True),
    "forged, in capitals": (OUTSIDE, "", "ALICE@EXAMPLE.COM", "Bob@Example.Com", True),
    "forged, just outside the network": ("192.0.3.0", "", US, ALSO_US, True),
    "forged, just outside the IPv6 network": ("2001:db8:2::", "", US, ALSO_US, True),
    "road warrior, AUTH PLAIN": (OUTSIDE, "PLAIN", US, ALSO_US, False),
    "road warrior, AUTH LOGIN": (OUTSIDE, "LOGIN", US, ALSO_US, False),
    "road warrior over IPv6": (OUTSIDE_6, "PLAIN", US, ALSO_US, False),
    "inside client": (INSIDE, "", US, ALSO_US, False),
    "inside client over IPv6": (INSIDE_6, "", US, ALSO_US, False),
    "inside client as a mapped address": ("::ffff:192.0.2.7", "", US, ALSO_US, False),
    "mail from elsewhere": (OUTSIDE, "", ELSEWHERE, US, False),
    "mail from elsewhere over IPv6": (OUTSIDE_6, "", ELSEWHERE, US, False),
    "a look-alike domain": (OUTSIDE, "", "u@example.com.evil.example", US, False),
    "another look-alike domain": (OUTSIDE, "", "u@notexample.com", US, False),
    "a bounce": (OUTSIDE, "", "", US, False),
    "a bounce over IPv6": (OUTSIDE_6, "", "", US, False),
    "ours to elsewhere, left to the relay check": (OUTSIDE, "", US, ELSEWHERE, False),
}


@pytest.fixture(scope="module", params=["compiled tables", "apolicy spelling"])
def asked(request, postfix, directory):
    """Postfix with one of the two spellings behind it, and the text of its refusal."""
    compiled = request.param == "compiled tables"
    socket_path = postfix.private / "policy"
    with Server(
        directory / request.param.replace(" ", "-"),
        COMPILED if compiled else APOLICY,
        sources=SOURCES if compiled else None,
        socket_path=socket_path,
    ):
        yield postfix, "Authentication required to send as example.com" if compiled else "Auth required"


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_founding_use_case(asked, row):
    """Mail from us to us, from outside and without AUTH, is refused with the policy's words; no other mail is."""
    postfix, words = asked
    client, method, sender, recipient, refused = ROWS[row]
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        assert session.xclient(client, name="[UNAVAILABLE]").code == 220
        session.ehlo()
        if method:
            assert session.auth(method, "alice@example.com").code == 235
        assert session.mail(sender).code == 250
        reply = session.rcpt(recipient)
        assert reply.code == (554 if refused else 250), reply
        assert (words.lower() in reply.text.lower()) == refused, reply


def test_a_failed_auth_is_no_auth(asked):
    """Who tries to sign in with a wrong password and goes on is refused as before."""
    postfix, _ = asked
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient(OUTSIDE)
        session.ehlo()
        assert session.auth("PLAIN", "alice", "wrong").code == 535
        session.mail(US)
        assert session.rcpt(ALSO_US).code == 554


def test_a_whole_mail_is_taken_after_it_passed(asked):
    """Mail that passes is queued: the policy's DUNNO leaves Postfix's own way alone."""
    postfix, _ = asked
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient(OUTSIDE)
        session.ehlo()
        session.mail(ELSEWHERE)
        session.rcpt(US)
        reply = session.data()
        assert reply.code == 250, reply
        assert "queued as" in reply.text
