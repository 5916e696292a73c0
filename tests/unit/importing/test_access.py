"""Postfix's maps and lists become a policy that decides as they did; what stays in main.cf is said, with the reason."""

from __future__ import annotations

import pytest

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.errors import UsageError
from forkpolicy.importing.access import FORMAT
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs
from tests.fakes import TextFiles

OPEN = "smtpd_recipient_restrictions = "


def draft_of(main, **maps):
    """The draft of a main.cf with maps beside it; it has to load."""
    draft = Draft()
    texts = {"/etc/postfix/main.cf": main, **{f"/etc/postfix/{name}": text for name, text in maps.items()}}
    FORMAT.read(Inputs(("/etc/postfix/main.cf",), TextFiles(texts)), draft)
    return checked(draft)


def alone(restriction, text):
    """The draft of one map."""
    draft = Draft()
    check, _, kind = restriction.partition(" ")
    FORMAT.read(Inputs((f"{check}:{kind}:/m",), TextFiles({"/m": text})), draft)
    return checked(draft)


def rules(draft):
    """Statements without their comments."""
    return [line for line in draft.policy_text().splitlines() if line and line[0] != "#"]


def table(draft, name="m"):
    """The entries of a table, without their places."""
    return [line.partition("  #")[0] for line in draft.table_texts().get(name, "").splitlines()]


def left_out(draft):
    return [f"{each.what}: {each.reason}" for each in draft.left_out]


def notes(draft):
    return "\n".join(each.text for each in draft.notes)


def test_a_map_is_one_table_with_words_and_a_rule_for_each():
    """A map is one table with words and a rule for each."""
    text = "a@example.org REJECT no\n# why\nexample.net\tOK\nb@ dunno\n<> DUNNO\n"
    draft = alone("check_sender_access hash", text)
    assert table(draft) == [
        "a@example.org reject",
        "# why",
        "example.net ok",
        ".example.net ok",
        "b@ dunno",
        "<> dunno",
    ]
    assert rules(draft) == [
        "table m address tables/m",
        "acl m-reject sender table:m=reject",
        "action reject REJECT no",
        "access m-reject reject",
        "acl m-ok sender table:m=ok",
        "action ok OK",
        "access m-ok ok",
    ]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("192.0.2", "192.0.2.0/24"),
        ("10", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8", "2001:db8::/32"),
        ("2001", "2001::/16"),
        ("fd00", "fd00::/16"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_the_beginning_of_an_address_is_a_network(key, found):
    """The beginning of an address is a network."""
    assert table(alone("check_client_access hash", f"{key} REJECT\n")) == [f"{found} reject"]


@pytest.mark.parametrize(
    ("check", "key", "reason"),
    [
        ("sender", "@example.org", "access(5) has no @domain"),
        ("sender", ".example.org", "only example.org is looked up"),
        ("sender", "example.org.", "without a dot"),
        ("client", "192.0.2.0/24", "in a cidr: map only"),
        ("client", "[192.0.2.1]", "without brackets"),
        ("client", "2001:0db8::1", "as 2001:db8::1"),
        ("client", "::ffff:192.0.2.1", "as an IPv4 address"),
        ("client", "010.0.0.1", "neither an IPv4 address"),
        ("helo", "x@example.org", "a host is looked up"),
    ],
)
def test_a_key_that_postfix_never_finds_is_noted(check, key, reason):
    """A key that Postfix never finds is noted."""
    draft = alone(f"check_{check}_access hash", f"{key} REJECT\nx.example OK\n")
    assert reason in notes(draft)
    assert not draft.left_out
    assert not any("reject" in line for line in rules(draft))


def test_a_key_that_no_table_can_say_is_left_out():
    """A key that no table can say is left out."""
    draft = alone("check_client_access hash", "2001:db8:0 REJECT\nx.example OK\n")
    assert "with zeros in it" in left_out(draft)[0]


def test_names_of_clients_come_before_their_addresses():
    """Names of clients come before their addresses."""
    draft = alone("check_client_access hash", "example.org DUNNO\n192.0.2 REJECT\n")
    assert rules(draft)[-1] == "access !m m_2-reject reject"


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        ("hash", "a.example OK\na.example REJECT\n", "ok"),
        ("texthash", "a.example OK\nA.example REJECT\n", "twice"),
    ],
)
def test_duplicates_are_what_each_type_makes_of_them(kind, text, kept):
    """Duplicates are what each type makes of them."""
    draft = alone(f"check_sender_access {kind}", text)
    assert kept in (left_out(draft)[0] if draft.left_out else "".join(table(draft)))


def test_the_last_of_two_inline_counts():
    """The last of two inline counts."""
    draft = draft_of(OPEN + "check_sender_access inline:{ {a.example=OK}, {a.example=REJECT} }\n")
    assert table(draft, "sender") == ["a.example reject", ".a.example reject"]


@pytest.mark.parametrize("result", ["FOO bar", "250 text", "4.7.1 later", "HANGUP", "550 " + "x" * 500, "REJECT a # b"])
def test_a_result_that_no_policy_replies_keeps_the_map_in_main_cf(result):
    """A result that no policy replies keeps the map in main.cf."""
    draft = draft_of(OPEN + "check_sender_access hash:/etc/postfix/m\n", m=f"a.example {result}\n")
    assert len(draft.left_out) == 1
    assert (
        draft.files["main.cf.new"].split() == draft_of_text(OPEN + "check_sender_access hash:/etc/postfix/m\n").split()
    )


def draft_of_text(text):
    return text


@pytest.mark.parametrize("result", ["FILTER nowhere", "REDIRECT nobody", "PREPEND nothing", "BCC nobody"])
def test_what_postfix_ignores_does_nothing(result):
    """What Postfix ignores does nothing."""
    draft = alone("check_sender_access hash", f"a.example {result}\nb.example OK\n")
    assert "Postfix ignores" in notes(draft)
    assert [line for line in rules(draft) if line.startswith("access")] == ["access m-ok ok"]


def test_many_texts_are_a_second_table():
    """Many texts are a second table."""
    draft = alone(
        "check_sender_access hash", "".join(f"d{number}.example REJECT no {number}\n" for number in range(40))
    )
    assert len([line for line in rules(draft) if line.startswith("access")]) == 1
    assert table(draft, "m-reject-text")[0] == "d0.example no 0"
    assert "action m-reject-text_2 REJECT {match.m-reject-text-found}" in rules(draft)


MAIN = """\
smtpd_restriction_classes = insiders
insiders = check_sender_access inline:{example.com=OK}, reject
smtpd_recipient_restrictions =
    permit_mynetworks,
    # ours
    check_client_access inline:{192.0.2=OK}
    check_sender_access inline:{a.example=HOLD}
    check_sender_access inline:{b.example=REJECT}
    warn_if_reject check_helo_access inline:{c.example=REJECT}, reject_unauth_destination
    check_recipient_access inline:{boss@example.com=insiders}
"""


def test_runs_of_a_list_become_questions_at_their_places():
    """What goes on ends its run, and so does warn_if_reject."""
    lines = draft_of(MAIN).files["main.cf.new"].splitlines()
    at = lines.index("smtpd_recipient_restrictions =")
    asked = "check_policy_service { unix:private/policy, policy_context=recipient"
    assert lines[at + 1 :] == [
        "    permit_mynetworks,",
        f"    {asked} }},",
        f"    {asked}-2 }},",
        f"    warn_if_reject {asked}-3 }},",
        "    reject_unauth_destination,",
        f"    {asked}-4 }}",
        "    # ours",
    ]


def test_a_class_as_a_result_is_rules_behind_its_entry():
    """A class as a result is rules behind its entry."""
    shown = [line for line in rules(draft_of(MAIN)) if "recipient-class" in line and line.startswith("access")]
    assert shown == [
        "access at_recipient-4 recipient-class sender_3-ok !routed ok",
        "access at_recipient-4 recipient-class reject",
    ]


def test_a_class_with_a_restriction_of_postfix_stays():
    """A class with a restriction of Postfix stays."""
    text = "smtpd_restriction_classes = strict\nstrict = reject_unknown_sender_domain\n"
    draft = draft_of(text + OPEN + "check_recipient_access inline:{a.example=strict}\n")
    assert "reject_unknown_sender_domain in a restriction class is Postfix's to know" in left_out(draft)[0]


def test_classes_without_end_stay():
    """Classes without end stay."""
    text = "smtpd_restriction_classes = a, b\na = b\nb = a\n"
    assert "without end" in left_out(draft_of(text + OPEN + "check_recipient_access inline:{a.example=a}\n"))[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/^a$1/ REJECT not $1\n", "a part of a pattern"),
        ("/(?=a)/ REJECT\n", "not a regular expression"),
        ("/a/q REJECT\n", 'the flag "q"'),
        ("/a REJECT\n", 'no second "/"'),
        ("endif\n", "endif without an if"),
        ("if /a/\n/b/ OK\n", "without its endif"),
        ("/A/i REJECT\n", "compares addresses in lower case"),
        ("a REJECT\n", "expected /expression/"),
        ("/a/ FOO\n", "neither an action"),
    ],
)
def test_patterns_without_an_equal_keep_the_map_in_main_cf(text, reason):
    """Patterns without an equal keep the map in main.cf."""
    assert reason in left_out(alone("check_sender_access pcre", text))[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/[\\.]x/ OK\n", r"/[\\.]x/"),
        ("|^a/b| OK\n", r"/^a\/b/"),
        ("/a\\/b/ OK\n", r"/a\/b/"),
        ("/^x/i OK\n", "/^x/"),
        ("/^<>$/ OK\n", "/^<>$/ <>"),
    ],
)
def test_expressions_of_regexp_maps(text, value):
    """Expressions of regexp maps."""
    assert rules(alone("check_sender_access regexp", text))[0] == f"acl m-1 sender {value}"


@pytest.mark.parametrize("pattern", [r"^\d", "a+?b", "a**", "(?:a)"])
def test_what_is_no_posix_stays(pattern):
    """What is no POSIX stays."""
    assert alone("check_sender_access regexp", f"/{pattern}/ OK\n").left_out


def test_a_pattern_that_may_match_an_address_keeps_a_map_about_clients():
    """A pattern that may match an address keeps a map about clients."""
    assert "may match the address" in left_out(alone("check_client_access pcre", "/^[0-9]/ REJECT\n"))[0]
    assert not alone("check_client_access pcre", "/^(dsl|ppp)[0-9]*-/ REJECT\n/^unknown$/ OK\n").left_out


def test_networks_behind_a_wider_one_never_decide():
    """Networks behind a wider one never decide."""
    draft = alone("check_client_access cidr", "192.0.2.1 OK\n192.0.2.0/24 REJECT\n192.0.2.2 OK\n0.0.0.0/0 DEFER\n")
    assert table(draft) == ["192.0.2.1 ok", "192.0.2.0/24 reject"]
    assert "/m:2 contains it" in notes(draft)
    assert rules(draft)[-1] == "access !m m-0.0.0.0_0 defer"


def test_networks_with_two_texts_have_two_words():
    """Networks with two texts have two words."""
    draft = alone("check_client_access cidr", "192.0.2.0/24 450 4.7.1 one\n192.0.3.0/24 450 4.7.1 two\n")
    assert table(draft) == ["192.0.2.0/24 450", "192.0.3.0/24 450-2"]


def test_exclusions_are_flattened():
    """Exclusions are flattened."""
    draft = alone("check_client_access cidr", "if 192.0.2.0/24\n!192.0.2.128/25 OK\nendif\n192.0.0.0/16 REJECT\n")
    assert table(draft)[:2] == ["192.0.2.0/25 ok", "192.0.0.0/23 reject"]
    assert "192.0.2.128/25 reject" in table(draft)


def test_parameters_are_expanded_where_they_stand():
    """Parameters are expanded where they stand."""
    text = "kind = hash\nmore = check_sender_access ${kind}:/etc/postfix/m\nflag =\n"
    draft = draft_of(text + OPEN + "$more ${flag?reject}${flag:permit}\n", m="a.example OK\n")
    assert draft.files["main.cf.new"].splitlines()[-3:] == [
        "smtpd_recipient_restrictions =",
        "    check_policy_service { unix:private/policy, policy_context=recipient },",
        "    ${flag?reject}${flag:permit}",
    ]


def test_an_unknown_parameter_keeps_its_list():
    """An unknown parameter keeps its list."""
    assert "the value of $other is not in this file" in left_out(draft_of(OPEN + "check_sender_access $other\n"))[0]


def test_a_map_that_cannot_be_read_stays():
    """A map that cannot be read stays."""
    draft = draft_of(OPEN + "check_sender_access hash:/etc/postfix/gone, check_sender_access ldap:/etc/postfix/x\n")
    assert ["cannot be read" in left_out(draft)[0], "ldap:" in left_out(draft)[1]] == [True, True]


def test_a_file_that_is_neither_is_a_mistake_of_usage():
    """A file that is neither is a mistake of usage."""
    with pytest.raises(UsageError, match="check_sender_access:hash:/m"):
        FORMAT.read(Inputs(("/m",), TextFiles({"/m": "a.example OK\n"})), Draft())


@pytest.mark.parametrize("word", ["hash:/m", "check_sendr_access:hash:/m"])
def test_a_map_without_its_restriction_is_a_mistake_of_usage(word):
    """It is no file that is missing: the message has the form, and the restrictions that there are."""
    assert not FORMAT.is_file(word)
    with pytest.raises(UsageError, match=f"^{word} is not a map with what it is asked about.* check_helo_access"):
        FORMAT.read(Inputs((word,), TextFiles({})), Draft())


def test_the_settings_that_addresses_need_are_named():
    """The settings that addresses need are named."""
    text = "recipient_delimiter = +\nmyorigin = example.com\nmydestination = a.example, hash:/x\n"
    header = draft_of(text + OPEN + "permit\n").header
    assert [line.strip() for line in header if "=" in line][:3] == [
        'recipient_delimiter = "+"',
        'myorigin = "example.com"',
        'local_domains = ["a.example"]',
    ]
