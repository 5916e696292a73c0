"""Who vouches for a sender is what the scanner says in a header of its own, and nothing that a sender wrote."""

from __future__ import annotations

import pytest

from forkpolicy.gateway.store.letter import read_letter

RESULT = "X-Spamd-Result: default: False [9.10 / 15.00];"


@pytest.mark.parametrize(
    ("auth", "sender", "passes"),
    [
        ("spf", "ann@example.org", True),
        ("none", "ann@example.org", False),
        ("dkim=example.org", "ann@example.org", True),
        ("dkim=example.org", "ann@News.Example.ORG", True),
        ("dkim=example.com dkim=xn--bcher-kva.example", "ann@b\u00fccher.example", True),
        ("dkim=example.org", "ann@anexample.org", False),
        ("dkim=news.example.org", "ann@example.org", False),
        ("dkim=org", "ann@example.org", False),
        ("spf", "", False),
        ("xspf dkim", "ann@example.org", False),
    ],
)
def test_who_vouches(auth, sender, passes):
    """SPF for the client, or a signature of the sender's domain or of one above it."""
    head = f"{RESULT}\r\nX-Spamd-Auth: {auth}\r\n\r\n"
    assert read_letter(head.encode(), sender).spam_auth == ("pass" if passes else "")


@pytest.mark.parametrize(
    "head",
    [
        f"{RESULT} HAS_REPLYTO(0.00)[a]; R_SPF_ALLOW(-0.20)[b@example.org]",
        f"{RESULT} R_DKIM_ALLOW(-0.20)[evil.example:s=x,example.org:s=y]",
        f"{RESULT}\r\nX-Spamd-Auth: spf\r\nX-Spamd-Auth: none",
        "X-Spamd-Auth: spf",
    ],
)
def test_words_of_a_sender_vouch_for_nobody(head):
    """Symbols among the options of another one, two headers, one without a result."""
    assert read_letter(f"{head}\r\n\r\n".encode(), "ann@example.org").spam_auth == ""
