"""`check --postfix` on addresses: what [mail], main.cf and the tables of local domains do not agree about."""

from __future__ import annotations

import json
import os

import pytest

from forkpolicy.commands.check import check
from tests.compiling import Compiler
from tests.owners import worker_lines

POLICY = """\
table local_domains domain local-domains
acl from_us sender table:local_domains
acl to_us recipient table:local_domains
action no REJECT
access from_us to_us no
"""
FULL = "reject_non_fqdn_sender, reject_non_fqdn_recipient"
MAIN = """\
compatibility_level = 3.6
myhostname = mail.example.com
mydomain = example.com
myorigin = {etc}/mailname
mydestination = $myhostname, example.com, localhost.$mydomain, localhost
inet_interfaces = 127.0.0.1
proxy_interfaces = 192.0.2.25
append_dot_mydomain = no
"""
MAIL = """\
myorigin = "mail.example.com"
local_domains = ["mail.example.com", "example.com", "localhost.example.com", "localhost"]
local_addresses = ["192.0.2.25"]
"""


@pytest.fixture
def said(tmp_path, capsys):
    """A function: (message, hint) of what check says of addresses, for changes to what agrees."""

    def check_it(main="", mail=MAIL, front=FULL, domains="example.com\nmail.example.com\n", policy=POLICY):
        compiler = Compiler(tmp_path, capsys)
        compiler.policy(policy)
        compiler.source("local-domains", domains)
        server = f'listen = ["unix:/var/spool/postfix/private/policy"]\ncontrol = "unix:control"\n{worker_lines()}'
        compiler.settings.write_text(f'policy = "policy.conf"\ntables = "tables"\n[mail]\n{mail}[server]\n{server}')
        if "table" in policy:
            assert compiler.run().status == 0
        service = "check_policy_service { unix:private/policy, timeout=10s, { default_action = DUNNO } }"
        lists = f"smtpd_recipient_restrictions = {front} {service}, reject_unauth_destination\n"
        (tmp_path / "main.cf").write_text(MAIN.format(etc=tmp_path) + lists + main)
        (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\n")
        (tmp_path / "mailname").write_text("mail.example.com\n")
        for name in ("main.cf", "master.cf"):
            os.utime(tmp_path / name, (0, 0))
        capsys.readouterr()
        check(str(compiler.settings), as_json=True, postfix=str(tmp_path))
        diagnostics = json.loads(capsys.readouterr().out)["diagnostics"]
        # Documentation's own domains are what these tests are made of.
        return [(each["message"], each["hint"]) for each in diagnostics if "documentation" not in each["message"]]

    return check_it


def test_what_agrees_is_left_alone(said):
    """As check itself tells to write it."""
    assert said() == []


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"mail": ""}, 'myorigin is "mail.example.com" in Postfix', '[mail] myorigin = "mail.example.com"'),
        (
            {"mail": ""},
            "local_domains has nothing",
            '[mail] local_domains = ["mail.example.com", "example.com", "localhost.example.com", "localhost"]',
        ),
        ({"mail": ""}, "local_addresses lacks 1 of them", '[mail] local_addresses = ["192.0.2.25"]'),
        ({"main": "proxy_interfaces = 192.0.2.25, 198.51.100.7\n"}, "[198.51.100.7]", '["192.0.2.25", "198.51.100.7"]'),
        ({"main": "append_dot_mydomain = yes\n"}, 'mydomain is "example.com" in Postfix', 'mydomain = "example.com"'),
        ({"mail": MAIL + 'mydomain = "example.com"\n'}, "append_dot_mydomain is no", '[mail] mydomain = "-"'),
        ({"main": "myorigin = $mydomain\n"}, 'myorigin is "example.com"', 'myorigin = "example.com"'),
        ({"main": "allow_percent_hack = no\n"}, "allow_percent_hack = no in Postfix", "write allow_percent_hack = yes"),
        ({"main": "swap_bangpath = no\n"}, "swap_bangpath = no in Postfix", "swap_bangpath = yes"),
        ({"main": "resolve_numeric_domain = yes\n"}, "resolve_numeric_domain = yes", "resolve_numeric_domain = no"),
        ({"mail": 'rewriting = "none"\n'}, "addresses as the client sent them", '[mail] rewriting = "postfix"'),
        ({"front": ""}, "reject_non_fqdn_sender and reject_non_fqdn_recipient not before", f"write {FULL}"),
        ({"front": "reject_non_fqdn_sender,"}, "reject_non_fqdn_recipient not before", "reject_non_fqdn_recipient"),
        ({"domains": "example.com\n"}, 'has mail.example.com, and table "local_domains" does not', "table's source"),
        ({"main": "virtual_mailbox_domains = shop.example\n"}, "virtual_mailbox_domains has shop.example", "postconf:"),
        ({"main": "virtual_alias_domains = shop.example\n"}, "virtual_alias_domains has shop.example", "postconf:"),
        ({"main": "relay_domains = shop.example\n"}, "relay_domains has shop.example", "backup MX"),
    ],
)
def test_what_does_not_agree(said, changes, message, hint):
    """Each finding says what Postfix has, and what to write."""
    found = said(**changes)
    assert any(
        message in said_message and hint.replace(",", "") in said_hint.replace(",", "")
        for said_message, said_hint in found
    ), found


@pytest.mark.parametrize(
    "parameter", ["smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions"]
)
def test_an_earlier_list_is_in_front_too(said, parameter):
    """With smtpd_delay_reject, lists of earlier commands are asked at RCPT first."""
    assert said(front="", main=f"{parameter} = permit_mynetworks, {FULL}, reject_unauth_destination\n") == []


def test_a_policy_that_asks_about_no_address_is_left_alone(said):
    """Whatever Postfix makes of addresses."""
    plain = "acl ours client_address 192.0.2.0/24\naction no REJECT\naccess !ours no\n"
    assert said(mail="", front="", policy=plain) == []


def test_a_domain_that_postfix_folds_needs_both_of_its_names(said):
    """Postfix takes straße.example for strasse.example, another domain in IDNA 2008: a table and `local_domains` with
    the first alone do not know mail to the second. Since `[mail]` exists check did not report it.
    """
    main = "mydestination = $myhostname, example.com, localhost.$mydomain, localhost, straße.example\n"
    mail = MAIL.replace('"localhost"]', '"localhost", "straße.example"]')
    domains = "example.com\nmail.example.com\nstraße.example\n"
    (_, of_settings), (in_table, of_table) = said(main=main, mail=mail, domains=domains)
    assert of_settings.endswith('"straße.example", "strasse.example"]')
    assert in_table.startswith("mydestination has straße.example, for which Postfix also takes mail to strasse.example")
    assert of_table == "add strasse.example to the table's source"
    both = mail.replace('"straße.example"]', '"straße.example", "strasse.example"]')
    assert said(main=main, mail=both, domains=f"{domains}strasse.example\n") == []


def test_this_machines_own_addresses(said):
    """inet_interfaces = all, the default: what the kernel knows."""
    found = said(main="inet_interfaces = all\n")
    assert all("local_addresses" in hint for _, hint in found), found
