"""Expressions next to Postfix's maps, and addresses in Latin-1 as a Postfix without SMTPUTF8 passes them on."""

from __future__ import annotations

import subprocess

import pytest

from loadtest.clients.smtp import SmtpClient
from tests.fakes import decide, diagnostics_of, policy_of

MAIN_CF = {"smtputf8_enable": "no"}
POLICY = """\
acl from_us sender /^.+@example\\.com$/
acl oslo recipient /^[^@]+\\.bø@/ /^sør@/
acl helo helo_name /^h.t\\.example$/
action ours REJECT 5.7.1 ours
action north REJECT 5.7.1 north
action hat REJECT 5.7.1 hat
access from_us ours
access oslo north
access helo hat
"""
UMLAUT = b"\xe4".decode("utf-8", "surrogateescape")
O_SLASH = b"\xd8".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("helo", "sender", "recipient", "told"),
    [
        ("client.example.org", "boss@example.com", "a@example.org", "ours"),
        ("client.example.org", f"b{UMLAUT}rbel@example.com", "a@example.org", "ours"),
        ("client.example.org", UMLAUT, "a@example.org", ""),
        ("client.example.org", "a@example.net", f"kari.b{O_SLASH}@example.org", "north"),
        ("client.example.org", "a@example.net", f"S{O_SLASH}R@example.org", "north"),
        ("client.example.org", "a@example.net", "sør@example.org", "north"),
        (f"h{UMLAUT}t.example", "a@example.net", "a@example.org", "hat"),
    ],
    ids=["ascii", "sender", "no domain", "class", "literal in another case", "utf-8", "helo"],
)
def test_a_latin_1_address_meets_expressions_through_postfix(serve, postfix, helo, sender, recipient, told):
    """What Postfix passes on as it came is text in which each byte is a character."""
    serve(POLICY)
    with SmtpClient(postfix.port) as session:
        session.ehlo(helo)
        reply = session.mail(sender)
        assert reply.code == 250, reply
        reply = session.rcpt(recipient)
    assert (f"rejected: {told}" in reply.text) is bool(told), reply
    assert (reply.code == 554) is bool(told), reply


def regexp_map_finds(directory, expression, text):
    (directory / "main.cf").write_text("compatibility_level = 3.6\n")
    (directory / "map").write_text(f"/{expression}/ HIT\n")
    asked = ["postmap", "-c", str(directory), "-q", text, f"regexp:{directory}/map"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "HIT\n"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (r"\bnews\b", "a news b"),
        ("a{0,3}b@", "aab@x.example"),
        ("^news$", "NEWS"),
        ("[[:alpha:]]z", "az"),
        (r"\w5", "x5"),
        ("a{2}", "aa"),
        ("(a|ab)(c|bcd)(d*)$", "abcd"),
        (r"a\.b", "a.b"),
        ("[]x]", "]"),
    ],
)
def test_what_both_read_alike_is_found_by_both(expression, text, tmp_path):
    """The manual's spellings fire here as they do in a regexp: table."""
    assert regexp_map_finds(tmp_path, expression, text)
    policy = policy_of(f"acl x sasl_username /{expression}/\naction y OK\naccess x y\n")
    assert decide(policy, sasl_username=text) == "OK"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (r"\<news\>", "a news b"),
        (r"\`news", "news"),
        (r"news\'", "news"),
        ("a{,3}b", "aab"),
        ("[[=a=]]z", "az"),
        ("[[.-.]]z", "-z"),
        ("a++", "aa"),
        (r"(a)\1", "aa"),
    ],
)
def test_what_only_postfix_maps_know_is_a_mistake_here(expression, text, tmp_path):
    """It fires in a regexp: table; here it is refused instead of never firing."""
    assert regexp_map_finds(tmp_path, expression, text)
    assert diagnostics_of(f"acl x sasl_username /{expression}/\n")
