"""What a policy says of held mail: the attributes of the gateway's store; nothing is asked or counted there."""

from __future__ import annotations

import pytest

from tests.fakes import decide, diagnostics_of, policy_of
from tests.unit.test_remembering import Server

CLIENT = {"client_address": "192.0.2.1"}


@pytest.mark.parametrize(
    ("value", "attributes", "holds"),
    [
        (">=8.5", {"spam_score": "8.5"}, True),
        (">=8.5", {"spam_score": "8.4"}, False),
        ("8", {"spam_score": "9.1"}, True),
        ("<0", {"spam_score": "-1.2"}, True),
        ("=6", {"spam_score": "6"}, True),
        (">=0", {"spam_score": "many"}, False),
        (">=0", {}, False),
    ],
)
def test_scores_of_the_scanner_have_decimals(value, attributes, holds):
    """They are compared as numbers; without one the ACL is not known, and no rule fires by it or its opposite."""
    text = f"acl high spam_score {value}\naction hold HOLD\naction pass OK\naccess high hold\naccess !high pass\n"
    expected = "HOLD" if holds else "OK" if attributes else "DUNNO"
    assert decide(policy_of(text), **attributes) == expected


@pytest.mark.parametrize("name", ["held_cause", "spam_score", "spam_auth"])
def test_the_attributes_of_the_store_are_known_names(name):
    """`check` warns of names that no Postfix sends, but not of these."""
    values = ">8" if name == "spam_score" else "spam"
    assert not diagnostics_of(f"acl some {name} {values}\naction no REJECT\naccess some no\n")


def test_a_misspelt_attribute_of_the_store_is_named():
    """As one of Postfix is."""
    found = diagnostics_of("acl some spam_scor >8\naction no REJECT\naccess some no\n")
    assert 'did you mean "spam_score"?' in str(found[0])


def test_nothing_counts_of_held_mail():
    """The limit of a client is reached by mail that came in, not by questions of the store; there it is not known."""
    server = Server("acl busy rate {client_address} 2/1h\naccess busy slow\naccess !busy no\n")
    for each in range(5):
        assert server.ask(**CLIENT, instance=f"held.{each}", policy_context="held-spam") == "DUNNO"
    assert server.ask(**CLIENT, instance="a") == "REJECT"
    assert server.used(**CLIENT) == [1]


def test_no_list_changes_by_held_mail():
    """A rule that remembers fires, and remembers nothing."""
    server = Server("action catch remember traps {client_address} 1d\nacl trapped listed traps {client_address}\n"
                    "acl all client_address 0.0.0.0/0\naccess all catch\naccess trapped no\n")  # fmt: skip
    assert server.ask(**CLIENT, policy_context="held-policy") == "DUNNO"
    assert not server.records
    assert server.ask(**CLIENT) == "REJECT"


def test_explain_says_why_it_is_not_known():
    """The reason names the context."""
    server = Server("acl busy rate {client_address} 2/1h\naccess busy slow\n")
    given = server.peek("busy", **CLIENT, policy_context="held-spam").given
    assert given.holds is None
    assert "held" in given.reason
