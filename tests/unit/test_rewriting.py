"""Addresses as Postfix will understand them: each form, with what is known of a Postfix and without.

tests/postfix/test_rewriting.py asks Postfix itself; the table of docs/addresses.md is checked here.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.errors import ConfigError
from forkpolicy.loading import load_everything, views_of
from forkpolicy.postfix.addresses import PLAIN, REMEMBERED_DOMAINS, Rewriting
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.settings import MailSettings, load_settings
from forkpolicy.tables.keys import fold_domain
from tests.fakes import ALWAYS, NEVER, decide, diagnostics_of, policy_of, request_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "addresses.md"
KNOWN = {
    "myorigin": "example.com",
    "local_domains": ("example.com", "mail.example.com", "localhost"),
    "local_addresses": ("192.0.2.25", "2001:db8::25"),
}
# What comes in, the recipient that it is.
FORMS = {
    "": "",
    "anna": "anna@example.com",
    "example.com!anna": "anna@example.com",
    "virtual.example!anna": "anna@virtual.example",
    "a!b!anna": "b!anna@a",
    "anna%example.com": "anna@example.com",
    "anna%a%b.example": "anna%a@b.example",
    "example.com!anna%example.org": "anna@example.org",
    "anna%example.com@localhost": "anna@example.com",
    "ANNA%EXAMPLE.COM@LOCALHOST.": "ANNA@EXAMPLE.COM",
    "anna%virtual.example@mail.example.com": "anna@virtual.example",
    "anna%virtual.example%localhost@[127.0.0.1]": "anna@virtual.example",
    "virtual.example!anna@localhost": "anna@virtual.example",
    "anna@virtual.example@localhost": "anna@virtual.example",
    "an na%virtual.example@localhost": "an na@virtual.example",
    "virtual.example!an na@localhost": "an na@virtual.example",
    "virtual.example!an na": "an na@virtual.example",
    'anna%"virtual.example"@localhost': "anna@virtual.example",
    "virtual.example !anna@localhost": "anna@virtual.example",
    "anna%\\\\virtual.example@localhost": "anna@virtual.example",
    'anna@"virtual.example"': "anna@virtual.example",
    "anna@localhost": "anna@example.com",
    "anna@localhost.localdomain": "anna@example.com",
    "anna@[127.0.0.1]": "anna@example.com",
    "anna@[127.8.9.1]": "anna@example.com",
    "anna@[127.0.0.1].": "anna@example.com",
    "anna@[127.0.0.01]": "anna@example.com",
    "anna@[0177.000.0.0001]": "anna@example.com",
    "anna@[192.0.02.031]": "anna@example.com",
    "anna@[127.0.0.08]": "anna@[127.0.0.08]",
    "anna@[127.1]": "anna@[127.1]",
    "anna@[0x7f.0.0.1]": "anna@[0x7f.0.0.1]",
    "anna@[127.0.0.1": "anna@example.com",
    "anna%[192.0.2.25@localhost": "anna@example.com",
    'anna@[127.0.0.1] "': "anna@example.com",
    "anna@[IPv6:::1]": "anna@example.com",
    "anna@[ipv6:2001:DB8::25]": "anna@example.com",
    "anna@[192.0.2.25]": "anna@example.com",
    "anna@[192.0.2.26]": "anna@[192.0.2.26]",
    "anna@[::1]": "anna@[::1]",
    "anna@[IPv6:::ffff:127.0.0.1]": "anna@[IPv6:::ffff:127.0.0.1]",
    "anna@[IPv6:127.0.0.1]": "anna@[IPv6:127.0.0.1]",
    "anna@[not an address]": "anna@[not an address]",
    "@relay.example,@[192.0.2.1]:anna@example.com": "anna@example.com",
    "@[IPv6:2001:db8::1]:anna@virtual.example": "anna@virtual.example",
    "@relay.example:anna": "anna@example.com",
    "anna@example.com.": "anna@example.com",
    "anna@example.com..": "anna@example.com..",
    "anna@mail": "anna@mail",
    "anna@mail.example.com": "anna@mail.example.com",
    "anna%example.com@example.org": "anna%example.com@example.org",
    "anna%example.org@example.com": "anna@example.org",
    "anna@localhost.example.org": "anna@localhost.example.org",
    "an na@virtual.example": "an na@virtual.example",
    # Nobody can deliver these; nothing may break on them, and none becomes the null sender.
    "@": "@",
    "anna@": "anna@",
    "!anna": "anna@",
    "@example.com": "@example.com",
    "@localhost": "@example.com",
    "@relay.example:": "@example.com",
}


@pytest.mark.parametrize("address", FORMS)
def test_what_becomes_of_a_recipient(address):
    """Routes dropped, `!` and `%` turned round, domains completed, own literals and localhost at myorigin."""
    assert Rewriting(**KNOWN).recipient(address) == FORMS[address]


STRASSE = """\
acl us sender table:ours strasse.example
acl to recipient {values}
action no REJECT no
access us to no
"""


@pytest.mark.parametrize(
    "values", ["strasse.example", "anna@strasse.example", "x@y .strasse.example strasse.example", "table:ours"]
)
@pytest.mark.parametrize("domain", ["straße.example", "STRAẞE.EXAMPLE.", "\u017ftrasse.example"])
def test_sharp_s_is_ss_to_postfix_and_to_a_policy(values, domain):
    """It delivers what comes for straße.example to strasse.example; the A-label of straße is another domain."""
    policy = policy_of(f"table ours domain x\n{STRASSE.format(values=values)}", {"ours": {"strasse.example": ""}})
    assert decide(policy, sender=f"boss@{domain}", recipient=f"anna@{domain}") == "REJECT no"
    assert decide(policy, sender=f"boss@{domain}", recipient="anna@xn--strae-oqa.example") == "DUNNO"


def test_a_local_domain_is_known_by_either_name():
    """Of mydestination too: what is in front of it is opened."""
    rewriting = Rewriting(**{**KNOWN, "local_domains": ("strasse.example",)})
    assert rewriting.recipient("anna%example.org@straße.example") == "anna@example.org"
    assert rewriting.sender("boss%example.org@straße.example") == "boss%example.org@straße.example"
    assert rewriting.views["recipient"].domain("anna%example.org@straße.example") == "example.org"


@pytest.mark.parametrize("address", FORMS)
def test_a_rewritten_address_stays(address):
    """Postfix may rewrite an address again: nothing comes of it."""
    seen = Rewriting(**KNOWN).recipient(address)
    assert Rewriting(**KNOWN).recipient(seen) in {seen, "b!anna@a"}


@pytest.mark.parametrize(
    ("address", "claimed"),
    [
        ("boss", "boss@example.com"),
        ("example.com!boss", "boss@example.com"),
        ("boss%example.com", "boss@example.com"),
        ("boss%mail.example.com@localhost", "boss@mail.example.com"),
        ("boss%example.org@example.com", "boss%example.org@example.com"),
        ("boss@example.org@example.com", "boss@example.org@example.com"),
        ("boss%example.org@localhost", "boss@example.org"),
        ("boss%example.org%mail.example.com@localhost", "boss@example.org"),
        ("boss%example.com@example.org", "boss%example.com@example.org"),
        ("boss@example.org", "boss@example.org"),
        ("", ""),
    ],
)
def test_a_sender_at_a_local_domain_stays_there(address, claimed):
    """What the mail shows is ours, wherever its local part would have answers sent."""
    assert Rewriting(**KNOWN).sender(address) == claimed


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("anna", "anna"),
        ("anna@localhost", "anna"),
        ("anna@[127.0.0.1]", "anna"),
        ("anna%example.com@localhost", "anna@example.com"),
        ("@[127.0.0.1]", "@[127.0.0.1]"),
        ("anna%example.org@example.com", "anna%example.org@example.com"),
    ],
)
def test_nothing_is_known_of_postfix(address, seen):
    """An address that only myorigin could complete has no domain; of names, localhost alone is local."""
    assert Rewriting().recipient(address) == Rewriting().sender(address) == seen


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("anna@shop", "anna@shop.example.com"),
        ("anna%shop", "anna@shop.example.com"),
        ("anna", "anna@mail.example.com"),
        ("anna@localhost", "anna@mail.example.com"),
        ("anna@localhost.example.com", "anna@mail.example.com"),
        ("anna@[192.0.2.1]", "anna@[192.0.2.1]"),
        ("anna@shop.", "anna@shop"),
    ],
)
def test_a_domain_without_a_dot_gets_mydomain(address, seen):
    """append_dot_mydomain: to the domains of clients, to myorigin and to localhost."""
    assert Rewriting(myorigin="mail", mydomain="example.com").recipient(address) == seen


def rows_of_the_page():
    """(what Postfix asks about, what the policy sees) of the table in the manual."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `<") and "nothing" not in line:
            _, asked, seen, _ = (cell.strip() for cell in line.strip("|").split("|"))
            yield re.findall("`([^`]+)`", asked)[0], re.findall("`([^`]+)`", seen)[0]


@pytest.mark.parametrize(("asked", "seen"), list(rows_of_the_page()))
def test_the_page_of_the_manual_is_true(asked, seen):
    """Each row of the table of docs/addresses.md."""
    assert Rewriting(**KNOWN).recipient(asked) == seen


addresses = st.text(st.sampled_from('ab.@!%:"\\[]() +_\u00fc\udce4'), max_size=30)
domains = st.sampled_from(
    ["example.com", "EXAMPLE.com", "localhost.example.org", "a.b.c", "b\u00fccher.example", "x.y\u3002"]
)


@given(st.one_of(addresses, st.builds("{}@{}".format, addresses, domains)))
def test_the_fast_way_is_the_careful_way(address):
    """Whatever PLAIN lets through unchanged, the steps of Postfix leave unchanged; and nothing raises."""
    rewriting = Rewriting(myorigin="a.b", mydomain="b", local_domains=("example.com", "a.b.c", "x.y"))
    careful = rewriting._at_origin(rewriting._resolved(rewriting._rewritten(address)))
    if PLAIN(address):
        assert careful == address
    assert bool(rewriting.recipient(address)) is bool(rewriting.sender(address)) is bool(address)


@pytest.mark.parametrize("unit", ["%localhost", "@localhost", "%[127.0.0.1]", "%", "@", '"', "(", "["])
def test_nesting_without_end(unit):
    """More turns than anybody needs: it is still at a local domain, and counts as local."""
    seen = Rewriting(**KNOWN).recipient(f"anna{unit * 500}@localhost")
    assert seen.endswith(("@example.com", "@"))


def test_a_source_route_without_a_domain_behind_it():
    """`<@relay.example:anna>` is anna at myorigin. Since policies see rewritten addresses, ACLs of domains alone saw a
    domain `relay.example:anna`, so that mail to it passed as mail to others.
    """
    for view in Rewriting(myorigin="example.com").views.values():
        assert view("@relay.example:anna") == "anna@example.com"
        assert view.domain("@relay.example:anna") == "example.com"


@given(st.one_of(addresses, st.builds("{}@{}".format, addresses, domains)))
def test_a_domain_alone_is_that_of_the_whole_address(address):
    """Asked for the first time or known, with or without what stands in front of it."""
    views = Rewriting(myorigin="a.b", mydomain="b", local_domains=("example.com", "a.b.c", "x.y")).views
    for view in views.values():
        seen = view(address)
        expected = seen.rpartition("@")[2] if "@" in seen else ""
        # Its domain may be known by a common address; what stands in front of it counts all the same.
        view.domain(f"anna@{address.partition('@')[2]}")
        assert view.domain(address) == view.domain(address)
        assert fold_domain(view.known_domain(address.partition("@")[2]) or view.domain(address)) == fold_domain(
            expected
        )


@pytest.mark.parametrize("local", ["anna%example.org", "example.org!anna", "anna@example.org", ""])
@pytest.mark.parametrize("domain", ["example.com", "Example.COM"])
def test_a_domain_of_ours_does_not_hide_a_route(domain, local):
    """However often its plain addresses came before: what is routed through it has the domain that mail goes to."""
    rewriting = Rewriting(**KNOWN)
    for view in (rewriting.views["sender"], rewriting.views["recipient"]):
        for _ in range(2):
            assert view.domain(f"anna@{domain}") == domain
        address = f"{local}@{domain}"
        assert view.domain(address) == view(address).rpartition("@")[2]
    assert rewriting.views["recipient"].domain(f"anna%example.org@{domain}") == "example.org"


def test_domains_are_remembered_within_bounds():
    """So many and no more, whatever clients send, and none that is longer than a name may be."""
    view = Rewriting(**KNOWN).views["sender"]
    long = f"{'x.' * 127}example.net"
    for domain in ("first.example.net", long):
        assert view.domain(f"anna@{domain}") == domain
    assert view.known_domain("first.example.net") == "first.example.net"
    assert view.known_domain(long) is None
    for number in range(REMEMBERED_DOMAINS):
        view.domain(f"anna@n{number}.example.net")
    assert view.known_domain(f"n{number}.example.net")
    assert view.known_domain("first.example.net") is None
    # Clients choose how they spell a domain of ours.
    for letters in itertools.product(*zip("mail.example.com", "MAIL.EXAMPLE.COM", strict=True)):
        view.domain(f"anna@{''.join(letters)}")
    assert len(view._ours) <= REMEMBERED_DOMAINS


# Through a policy

FOUNDING = """\
acl from_us sender @example.com
acl to_us recipient @example.com
action prove_it REJECT not as {sender_domain} {sender_localpart} ({sender} {recipient})
access from_us to_us prove_it
"""
VIEWS = Rewriting(**KNOWN).views


def test_parts_are_rewritten_and_whole_addresses_as_they_came():
    """{sender_domain} is what the rule found, {sender} what the client wrote."""
    policy = policy_of(FOUNDING, views=VIEWS)
    text = decide(policy, sender="example.com!boss", recipient="anna@[127.0.0.1]")
    assert text == "REJECT not as example.com boss (example.com!boss anna@[127.0.0.1])"


@pytest.mark.parametrize("costs_us", [ALWAYS, NEVER], ids=["indexed", "generated"])
@pytest.mark.parametrize(
    "acl",
    [
        "sender boss@example.com",
        "sender boss@",
        "sender .com",
        "sender example.com",
        r"sender /^boss@example\.com$/",
        "sender table:domains",
        "sender table:addresses",
        "table:pairs {sender} {recipient}",
        "sender {recipient}",
        "sasl_username {sender}",
        "recipient {sender}",
    ],
)
def test_every_kind_of_value_sees_the_rewritten_address(acl, costs_us):
    """Patterns, expressions, tables, pairs and comparisons, in either evaluator."""
    text = "table domains domain x\ntable addresses key x\ntable pairs key x\n"
    tables = {
        "domains": {"example.com": None},
        "addresses": {"boss@example.com": "vip"},
        "pairs": {"boss@example.com boss@example.com": "both"},
    }
    text += f"acl it {acl}\naction no REJECT\naccess it no\n"
    policy = policy_of(text, tables, views=VIEWS, index_costs_us=costs_us)
    as_they_come = policy_of(text, tables, index_costs_us=costs_us)
    odd = {"sender": "boss%example.com", "recipient": "boss@[192.0.2.25]", "sasl_username": "boss@example.com"}
    assert decide(policy, **odd) == "REJECT"
    assert decide(as_they_come, **odd) == "DUNNO"


def test_the_value_of_an_entry_is_that_of_the_rewritten_address():
    """{match.ACL} asks what the ACL asked."""
    text = "table vips key x\nacl vip sender table:vips\naction hello REJECT {match.vip}\naccess vip hello\n"
    policy = policy_of(text, {"vips": {"boss@example.com": "the boss"}}, views=VIEWS)
    assert decide(policy, sender="boss") == "REJECT the boss"


@pytest.mark.parametrize(
    ("attributes", "reply"),
    [
        ({"recipient": "anna"}, "REJECT"),
        ({"recipient": "anna@"}, "REJECT"),
        ({"recipient": "anna@[127.0.0.1]"}, "REJECT"),
        ({"recipient": "anna@example.org"}, "DUNNO"),
        ({"sender": "", "recipient": "anna@example.org"}, "DUNNO"),
        ({"sender": "boss", "recipient": "anna@example.org"}, "REJECT"),
        ({"sender": "boss", "recipient": "", "protocol_state": "MAIL"}, "DUNNO"),
    ],
)
def test_unqualified(attributes, reply):
    """Holds for an address that gets no domain, never for the null sender, and cannot be known before its time."""
    text = "acl bare unqualified sender recipient\naction no REJECT\naccess bare no\n"
    assert decide(policy_of(text, views=Rewriting().views), **attributes) == reply


def test_with_myorigin_nothing_is_unqualified():
    """Postfix completes it, and so does the policy."""
    text = "acl bare unqualified recipient\naction no REJECT\naccess bare no\n"
    assert decide(policy_of(text, views=VIEWS), recipient="anna") == "DUNNO"
    assert decide(policy_of(text), recipient="anna") == "REJECT"


def test_unqualified_is_asked_about_addresses_of_the_envelope():
    """Another value is a mistake with what is expected, and so is none."""
    assert "expected sender or recipient" in diagnostics_of("acl x unqualified helo_name\naccess x\n")[0]
    assert "unqualified needs a value" in diagnostics_of("acl x unqualified\naccess x\n")[0]


def test_the_trace_names_what_was_rewritten():
    """Only what the policy sees other than it came."""
    policy = policy_of(FOUNDING, views=VIEWS)
    values = wanted_values(request_of(sender="boss", recipient="anna@example.com"), policy.wanted)
    assert policy.trace(values).rewritten == {"sender": "boss@example.com"}


# Settings


def mail_settings(tmp_path, text):
    """[mail] of a file with these lines."""
    path = tmp_path / "forkpolicy.toml"
    path.write_text(f"[mail]\n{text}\n")
    return load_settings(path).mail


def test_the_settings_make_the_views(tmp_path):
    """Every setting of [mail] has its part."""
    origin = 'myorigin = "mail"\nmydomain = "example.com"\n'
    mail = mail_settings(tmp_path, f'{origin}local_domains = ["shop.example"]\nlocal_addresses = ["192.0.2.25"]')
    seen = views_of(mail)["recipient"]
    assert seen("anna") == seen("anna@[192.0.2.25]") == "anna@mail.example.com"
    assert seen("anna%example.org@shop.example") == "anna@example.org"


def test_rewriting_none_leaves_addresses_as_they_came():
    """No view at all, for a Postfix that leaves addresses alone, too."""
    assert views_of(MailSettings(rewriting="none", myorigin="example.com")) == {}
    assert set(views_of(MailSettings())) == {"sender", "recipient", "sasl_sender"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('rewriting = "sendmail"', 'expected one of postfix, none, got "sendmail"'),
        ('myorigin = "/etc/mailname"', "expected a domain such as"),
        ('myorigin = "$mydomain"', "without $names"),
        ('mydomain = ""', 'or "-"'),
        ('local_domains = "example.com"', "expected a list of texts"),
        ('local_domains = ["hash:/etc/postfix/domains"]', 'expected domains such as "mail.example.com"'),
        ('local_domains = ["a@example.com"]', "expected domains"),
        ('local_addresses = ["192.0.2.0/24"]', "expected an address"),
        ('local_addresses = ["mail.example.com"]', "expected an address"),
    ],
)
def test_a_setting_that_cannot_be(tmp_path, line, words):
    """Each mistake says what was expected."""
    with pytest.raises(ConfigError) as refused:
        mail_settings(tmp_path, line)
    assert words in str(refused.value.diagnostics[0])


def test_the_shadow_sees_addresses_the_same_way(tmp_path):
    """A policy on trial is asked about what the real one is asked about."""
    (tmp_path / "policy.conf").write_text(FOUNDING)
    (tmp_path / "shadow.conf").write_text(FOUNDING)
    (tmp_path / "forkpolicy.toml").write_text('shadow = "shadow.conf"\n[mail]\nmyorigin = "example.com"\n')
    loaded = load_everything(tmp_path / "forkpolicy.toml")
    for policy in (loaded.policy, loaded.shadow.policy):
        values = wanted_values(request_of(sender="boss", recipient="anna"), policy.wanted)
        assert policy.decide(values).rule.action.verb == "REJECT"
