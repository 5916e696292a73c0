"""`country` and `asn`: what a table of networks says about the client, in rules, replies and keys."""

from __future__ import annotations

import pytest

from forkpolicy.policy.checks.find import find_warnings
from tests import databases
from tests.compiling import Compiler
from tests.fakes import decide, diagnostics_of, policy_of
from tests.unit.test_remembering import Server

COUNTRIES = {"192.0.2.1": "CN", "192.0.2.2": "ru", "2001:db8::1": "ES", "203.0.113.9": None}
NETWORKS = {"192.0.2.1": "64500", "192.0.2.2": "AS64501", "192.0.2.3": "00064502", "192.0.2.4": "many"}
TABLES = {"countries": COUNTRIES, "networks": NETWORKS}
DECLARED = "table countries cidr x\ntable networks cidr x\n"


def policy(text):
    return policy_of(DECLARED + text, TABLES)


def replies(text, *addresses):
    """The second words of the replies to clients with these addresses."""
    loaded = policy(text)
    return [decide(loaded, client_address=address).partition(" ")[2] for address in addresses]


def test_a_country_holds_for_its_clients():
    """Folded on both sides, IPv4 in IPv6 too; who has no entry, or one without a value, is in no country."""
    rule = "acl abroad country table:countries cn RU\naction r REJECT {match.abroad}\naccess abroad r\n"
    assert replies(rule, "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1") == ["CN", "ru", "CN"]
    assert replies(rule, "2001:db8::1", "203.0.113.9", "198.51.100.1", "unknown", "") == [""] * 5


def test_everybody_but():
    """`!` holds for who is elsewhere, and for who has no entry."""
    rule = "acl home country table:countries ES\naction r REJECT no\naccess !home r\n"
    assert replies(rule, "2001:db8::1", "192.0.2.1", "198.51.100.1") == ["", "no", "no"]


def test_a_number_holds_with_and_without_its_letters():
    """In the policy and in the table; what is not a number equals none."""
    rule = "acl bad asn table:networks AS64500 64501 as064502\naction r REJECT {match.bad}\naccess bad r\n"
    addresses = [f"192.0.2.{number}" for number in range(1, 6)]
    assert replies(rule, *addresses) == ["64500", "AS64501", "00064502", "", ""]


def test_several_statements_add_up():
    """Each with its table."""
    rule = (
        "table more cidr x\nacl bad country table:countries CN\nacl bad country table:more RU ES\n"
        "action r REJECT {match.bad}\naccess bad r\n"
    )
    loaded = policy_of(DECLARED + rule, {**TABLES, "more": {"198.51.100.1": "ES"}})
    found = [decide(loaded, client_address=each) for each in ("192.0.2.1", "192.0.2.2", "198.51.100.1")]
    assert found == ["REJECT CN", "DUNNO", "REJECT ES"]


def test_a_table_that_cannot_be_read_is_not_another_country():
    """It fails, negated or not."""
    text = "table t cidr x\nacl home country table:t ES\naction r REJECT no\naccess !home r\n"
    assert decide(policy_of(text, {"t": None})).startswith("DEFER_IF_PERMIT 4.3.0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acl a country table:countries CHN", '"CHN" is not a country code: expected two letters (ISO 3166), as in CN'),
        ("acl a country table:countries C1", '"C1" is not a country code'),
        ("acl a country table:countries CN !RU", '"!RU" is not a country code'),
        ("acl a country CN", "country needs a table of networks first: country table:NAME CN RU"),
        ("acl a country", "country needs a value"),
        ("acl a country table:countries", "country needs values behind its table, such as CN RU"),
        ("acl a country table:contries CN", 'unknown table "contries"'),
        ("table d domain x\nacl a country table:d CN", 'table "d" is of kind domain: country needs cidr'),
        ("acl a asn table:networks CN", '"CN" is not the number of an autonomous system: expected 1 to 4294967295'),
        ("acl a asn table:networks AS4294967296", '"AS4294967296" is not the number'),
        ("acl a asn table:networks 0", '"0" is not the number'),
        (f"acl a asn table:networks {'9' * 5000}", "is not the number of an autonomous system"),
        ("acl a asn table:networks 1.10", '"1.10" is not the number'),
        ("acl a asn 64500", "asn needs a table of networks first: asn table:NAME AS64500 64501"),
    ],
)
def test_mistakes(text, message):
    """With what was expected, at their word."""
    (diagnostic,) = diagnostics_of(f"{DECLARED}{text}\naction r REJECT\naccess a r\n")
    assert message in diagnostic


def test_a_code_that_is_of_no_country_is_a_warning():
    """Great Britain and Greece have other codes than people write."""
    loaded = policy("acl a country table:countries UK el\naction r REJECT no\naccess a r\n")
    said = [(f"{each.place}: {each.severity}", each.message) for each in find_warnings(loaded.model, {})]
    assert said == [
        ("policy.conf:3:31: warning", "ISO 3166 has no country UK: did you mean GB?"),
        ("policy.conf:3:34: warning", "ISO 3166 has no country el: did you mean GR?"),
    ]


@pytest.mark.parametrize(
    ("second", "rules", "message"),
    [
        ("country table:countries CN RU", "access b r\naccess a r\n", "never fires"),
        ("client_address table:countries", "access b r\naccess a r\n", "never fires"),
        ("country table:countries ES", "access a b r\n", "a and b have no value in common"),
        ("country table:countries cn", "access a !b r\n", "needs the same to hold and not to hold"),
        ("country table:more CN", "access b r\naccess a r\n", ""),
        ("country table:more ES", "access a b r\n", ""),
        ("asn table:countries 7", "access b r\naccess a r\n", ""),
    ],
)
def test_rules_that_never_fire(second, rules, message):
    """A country is in one table; nobody is in two countries of it."""
    text = f"table more cidr x\nacl a country table:countries CN\nacl b {second}\naction r REJECT no\n{rules}"
    warnings = [str(each) for each in find_warnings(policy(text).model, {})]
    assert any(message in each for each in warnings) if message else not any("fire" in each for each in warnings)


def test_countries_of_an_account():
    """`{match.ACL}` of the table's entry is a part of a key: folded, and nothing is counted where there is no entry."""
    server = Server(
        f"{DECLARED}acl place client_address table:countries\nacl some country table:countries CN ES\n"
        "acl many distinct {sasl_username} {match.place} >1/1h\nacl few rate {match.some} 9/1h count=requests\n"
        "access few slow\naccess many slow\n",
        TABLES,
    )

    def ask(*addresses):
        return [server.ask(client_address=each, sasl_username="anna", sasl_method="PLAIN") for each in addresses]

    assert ask("192.0.2.1", "192.0.2.1", "198.51.100.1", "203.0.113.9") == ["DUNNO"] * 4
    assert ask("192.0.2.2", "2001:db8::1") == ["450 4.7.1 slow"] * 2
    # Of the other ACL, the countries that it holds for.
    assert {key.split(b"\0")[2] for key in server.records if b"few" in key} == {b"cn", b"es"}


def test_a_compiled_database(tmp_path, capsys):
    """From the file to the rule; the value that `holds` looks at is that of the entry."""
    compiler = Compiler(tmp_path, capsys)
    compiler.policy("table t cidr mmdb:x.mmdb")
    databases.write(tmp_path / "x.mmdb", {"192.0.2.0/24": databases.country("CN"), "2001:db8::/32": {"country": {}}})
    assert compiler.run().err == ""
    table = compiler.open("cidr")
    raw = table.find("192.0.2.9")
    assert raw is not None
    assert table.value(raw) == table.entry(raw).value == "CN"
    table.close()


@pytest.mark.parametrize(
    ("policy", "warning"),
    [
        ("acl a country table:t CN", "its value is not a country code (two letters), so no acl of type country holds"),
        ("acl a asn table:t 64500", "its value is not the number of an autonomous system, so no acl of type asn holds"),
        ("acl a client_address table:t", ""),
    ],
)
@pytest.mark.parametrize("source", ["list", "csv:list.csv:1:2"])
def test_values_that_are_none_are_a_warning_of_the_compile(tmp_path, capsys, policy, warning, source):
    """One for a source, with the first line: most often it is the wrong table. No value at all is meant so."""
    compiler = Compiler(tmp_path, capsys)
    compiler.policy(f"table t cidr {source}", policy)
    entries = ["192.0.2.1 CN", "192.0.2.2 64500", "192.0.2.3 AS7", "192.0.2.4 ZZZ", "192.0.2.5 ru", "192.0.2.6"]
    compiler.source("list", "\n".join(entries))
    compiler.source("list.csv", "\n".join(f"{each} ".replace(" ", ",", 1).strip() for each in entries))
    outcome = compiler.run()
    assert outcome.status == 0
    times = "(3 times, here first)"
    assert outcome.err.count("warning") == bool(warning)
    assert (warning in outcome.err, times in outcome.err) == (True, bool(warning))
    assert (":2: warning" in outcome.err) is ("country" in policy)
