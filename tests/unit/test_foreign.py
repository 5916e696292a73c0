"""Comments, operators and patterns of other languages in a policy: mistakes with the right spelling, never values."""

from __future__ import annotations

import pytest

from tests.fakes import decide, diagnostics_of, policy_of

DECLARED = "acl x sender @example.com\naction y OK\n"


@pytest.mark.parametrize("mark", "#;")
@pytest.mark.parametrize(
    "statement",
    [
        "acl vip sasl_username anna {} the boss",
        "acl vip sasl_username anna {}the boss",
        "acl vip sasl_username anna,{}x",
        "acl vip sender a@b.example {}",
        "acl vip authenticated {} signed in",
        "acl vip size 10M {}big",
        "acl vip {} the boss",
        "table t domain list {} ours",
        "table t domain list {}ours",
        "action r REJECT no {} the boss wants it so",
        "action r log seen {} once",
        "action r {} nothing",
        "access x y {} because",
        "access x y {}because",
        "access x {}y",
        "include other.conf {} more",
        "include {}other.conf",
    ],
)
def test_a_comment_behind_a_statement_is_a_mistake(statement, mark):
    """Its words never become values, sources, names, or text that clients read."""
    line = statement.format(mark)
    told = diagnostics_of(f"{DECLARED}{line}\n", files={"other.conf": ""})
    column = line.index(mark) + 1
    assert [each for each in told if each.startswith(f"policy.conf:3:{column}: ")], told
    assert "a comment stands on a line of its own" in "".join(told)


def test_a_comment_behind_a_continued_line_is_told_in_its_line():
    """The place is that of the mark, also where the statement began above."""
    told = diagnostics_of("acl x sender a@example.com\n  b@example.com # and b\n")
    assert told[0].startswith("policy.conf:2:17: ")


@pytest.mark.parametrize("text", ["ticket #1234", "ticket ;1234", "see a#b; or c"])
def test_a_hash_in_the_text_of_an_action_is_text(text):
    """A number sign or a semicolon at the edge of a word of a reply is part of it."""
    assert decide(policy_of(f"{DECLARED}action z REJECT {text}\naccess x z\n")) == f"REJECT {text}"


FOREIGN = [
    ("policy_context =submission", "write submission"),
    ("policy_context == submission", "write the value"),
    ("protocol_state =RCPT", "write RCPT"),
    ("helo_name !=mail.example.com", "write !NAME in the rule"),
    ("sasl_username ~^anna", "write /^anna/"),
    ("sasl_username =~/^anna/", "write /^anna/"),
    ("ccert_fingerprint >5", "write 5"),
    ("sender !@example.com", "acl NAME sender @example.com, write !NAME"),
    ("sender !/^news/", "write !NAME"),
    ("client_address !192.0.2.1", "write !NAME"),
    ("helo_name $myhostname", "what postconf shows"),
    ("helo_name ${myhostname}", "what postconf shows"),
    ("helo_name mail.$mydomain", "what postconf shows"),
    ("recipient @$mydomain", "what postconf shows"),
    ("sender *.example.com", '".example.com", or as an expression /^.*\\.example\\.com$/'),
    ("sender *@example.com", '"@example.com", or as an expression /^.*@example\\.com$/'),
    ("sender *@*.example.com", '".example.com"'),
    ("sender abuse@*", '"abuse@"'),
    ("sender news*@example.com", "/^news.*@example\\.com$/"),
    ("sender news-?@example.com", "/^news-.@example\\.com$/"),
    ("sender *", ".example.com"),
    ("client_name mail?.example.com", "/^mail.\\.example\\.com$/"),
    ("client_name *.example.com", '".example.com"'),
    ("sasl_username a*", "/^a.*$/"),
    ("client_address 192.0.2.*", "192.0.2.0/24"),
    ("sender %@example.com", "@example.com"),
    ('sasl_username "anna"', "write anna"),
    ("sender 'a@example.com'", "write a@example.com"),
    ('sender "user one"@example.com', "/^user.one@/"),
    ("sender hash:/etc/postfix/access", "table NAME KIND hash:/etc/postfix/access"),
    ("sender regexp:/etc/postfix/access", "table:NAME"),
    ("sender a@example.com || b@example.com", "one that holds is enough"),
    ("sasl_username anna && bert", "all ACLs of one rule must hold"),
]


@pytest.mark.parametrize(("acl", "told"), FOREIGN, ids=[row[0] for row in FOREIGN])
def test_what_another_language_would_read_otherwise_is_a_mistake(acl, told):
    """Each is reported with what to write instead."""
    found = diagnostics_of(f"acl x {acl}\n")
    assert found
    assert told in found[0]


def test_the_same_holds_in_a_file_of_values():
    """A wildcard in a value file is reported with that file's line."""
    told = diagnostics_of("acl x sender /lists/p", files={"/lists/p": "a@b.example\n*@example.com\n"})
    assert [each.split(": ")[0] for each in told] == ["/lists/p:2:1"]


@pytest.mark.parametrize(
    ("acl", "attributes"),
    [
        ("sender .*@example\\.com", {}),
        ("sender (a|b)*@example.com", {}),
        ("sender [ab]?@example.com", {}),
        ("sender a\\w*@example.com", {"sender": "anna@example.com"}),
        ("sender [*?]@example.com", {"sender": "*@example.com"}),
        ("sender a\\*@example.com", {"sender": "a*@example.com"}),
        ("sender com$", {}),
        ("sender ^a", {}),
        ("sender /a*@/", {}),
        ("sender /$|x/", {}),
        ("sender /!/", {"sender": "!a@example.com"}),
        ("sender <>", {"sender": ""}),
        ("sasl_username /^=/", {"sasl_username": "=a"}),
        ("sender [$a]@example.com", {}),
        ("ccert_subject a:b", {"ccert_subject": "a:b"}),
        ("sender a@example.net,/^a,?@/,b@example.net", {}),
        ("sender /^z,/,/^a@/", {}),
        ("sender /^[/,]?a@/,b@example.net", {}),
        ("sender a@example.net,,a@example.com,", {}),
        ("sender (a){1,2}@example.com,x@example.net", {}),
    ],
)
def test_expressions_and_plain_values_stay_what_they_are(acl, attributes):
    """What an expression may contain is not a wildcard, a parameter or an operator."""
    assert decide(policy_of(f"acl x {acl}\naction y OK\naccess x y\n"), **attributes) == "OK"
