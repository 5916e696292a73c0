"""Addresses as they really arrive, through Postfix's own parsing: which of them are ours, and which only look so."""

from __future__ import annotations

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.server import Server
from tests.postfix.policies import COMPILED, SOURCES

OURS = {
    "quoted local part with a space": '"john doe"@example.com',
    "quoted local part with an at-sign": '"a@b"@example.com',
    "quoted local part with specials": r'"a\"b\\c,d"@example.com',
    "quoted for no reason": '"alice"@example.com',
    "a domain in the quoted local part": '"u@example.org"@example.com',
    "source route": "@relay.example.org:alice@example.com",
    "capitals": "ALICE@EXAMPLE.COM",
    "address extension": "alice+news@example.com",
    "equals sign": "bounce=user=example.org@example.com",
    "apostrophe and slash": "o'neil/x@example.com",
    "trailing dot": "alice@example.com.",
    "percent hack": "user%example.org@example.com",
    "bang": "host!user@example.com",
    "long local part": f"{'x' * 200}@example.com",
    "below a domain whose subdomains are listed": "alice@mail.example.net",
    "internationalised domain as an A-label": "alice@xn--bcher-kva.example",
}
NOT_OURS = {
    "the null sender": "",
    "below a domain whose subdomains are not listed": "alice@mail.example.com",
    "our domain in a quoted local part": '"alice@example.com"@example.org',
    "our domain in a percent hack": "alice%example.com@example.org",
    "our domain as the beginning of another": "alice@example.com.example.org",
    "our domain as the end of another": "alice@badexample.com",
    "an address literal": "alice@[192.0.2.1]",
    "a variable envelope return path": "list-alice=example.com@lists.example.org",
    "a rewritten sender": "SRS0=abcd=XY=example.com=alice@forwarder.example.org",
}


@pytest.fixture(scope="module")
def asked(postfix, directory):
    """Postfix with the founding policy behind it."""
    with Server(directory / "server", COMPILED, sources=SOURCES, socket_path=postfix.private / "policy"):
        yield postfix


def verdict(postfix, sender, recipient, parameters=""):
    """The reply to a client from outside at RCPT."""
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient("203.0.113.9")
        session.ehlo()
        reply = session.mail(sender, parameters)
        assert reply.code == 250, reply
        return session.rcpt(recipient).code


@pytest.mark.parametrize("kind", OURS)
def test_a_sender_of_ours_is_recognised(asked, kind):
    """However it is written, an address in one of our domains is "from us"."""
    assert verdict(asked, OURS[kind], "bob@example.com") == 554


@pytest.mark.parametrize("kind", NOT_OURS)
def test_a_sender_of_others_passes(asked, kind):
    """An address that only contains our domain somewhere is not "from us"."""
    assert verdict(asked, NOT_OURS[kind], "bob@example.com") == 250


@pytest.mark.parametrize("kind", OURS)
def test_a_recipient_of_ours_is_recognised(asked, kind):
    """The same holds for "to us"."""
    assert verdict(asked, "bob@example.com", OURS[kind]) == 554


@pytest.mark.parametrize("kind", [kind for kind in NOT_OURS if NOT_OURS[kind]])
def test_a_recipient_of_others_passes(asked, kind):
    """Mail to others is for the relay check to decide."""
    assert verdict(asked, "bob@example.com", NOT_OURS[kind]) == 250


@pytest.mark.parametrize("domain", ["b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example"])
def test_an_internationalised_domain_has_one_meaning(asked, domain):
    """U-label in any case and A-label are one domain, in the request as in the table."""
    assert verdict(asked, f"alice@{domain}", "bob@example.com", "SMTPUTF8") == 554


def test_a_local_part_in_utf8(asked):
    """A local part outside ASCII changes nothing."""
    assert verdict(asked, "\u00e4lice@example.com", "bob@example.com", "SMTPUTF8") == 554


def test_a_sender_without_a_domain_is_nobody(asked):
    """A bare word is not an address of ours, and it gets a reply."""
    assert verdict(asked, "alice", "bob@example.com") in (250, 504)
