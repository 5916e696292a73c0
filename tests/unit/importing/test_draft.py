"""A draft becomes a policy that loads: names are made valid, equal things written once, nothing unused is left."""

from __future__ import annotations

import pytest

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.expressions import literal_value, regex_value
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.table_text import TableEntry
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.policy.nodes import Place, Word

HERE = Origin("rules.cf", 14)


def test_a_rule_stands_behind_its_origin_and_what_it_needs():
    """A rule stands behind its origin and what it needs."""
    draft = Draft(["Imported."])
    draft.comment("spammers")
    bad = draft.acl("bad sender!", "sender", ["spam@example.org"])
    no = draft.action("no", "REJECT go away")
    draft.access([bad], no, HERE)
    assert draft.policy_text() == (
        "# Imported.\n\n# spammers\n# rules.cf:14\nacl bad_sender sender spam@example.org\n"
        "action no REJECT go away\naccess bad_sender no\n"
    )
    checked(draft)


def test_a_place_is_written_once_for_a_rule_and_its_table():
    """A place is written once for a rule and the table that comes from it."""
    draft = Draft()
    draft.access([draft.acl("a", "sender", [f"table:{draft.table('t', 'key', [], HERE)}"])], None, HERE)
    assert draft.policy_text().count(f"# {HERE}\n") == 1


def test_equal_acls_and_actions_are_written_once():
    """Equal ACLs and actions are written once."""
    draft = Draft()
    for line in (1, 2):
        acl = draft.acl(f"rule{line}", "client_address", ["192.0.2.0/24"])
        draft.access([acl], draft.action(f"act{line}", "DUNNO"), Origin("rules.cf", line))
    text = draft.policy_text()
    assert text.count("acl ") == 1
    assert text.count("action ") == 1
    assert text.count("access rule1 act1") == 2


def test_acls_that_count_are_never_shared():
    """Two rules with equal limits count apart."""
    draft = Draft()
    acls = [draft.acl(f"limit{each}", "rate", ["{sender}", "10/1h"]) for each in (1, 2)]
    assert acls == ["limit1", "limit2"]


def test_an_action_may_be_what_a_service_replies():
    """An action may be what a service replies."""
    draft = Draft()
    acl = draft.acl("grey", "service", ["inet:127.0.0.1:10023", "REJECT"])
    draft.access([acl], draft.action("pass_on", f"{{match.{acl}}}", is_template=True), HERE)
    assert "action pass_on {match.grey}" in checked(draft).policy_text()


def test_names_are_unique_across_acls_and_actions():
    """Names are unique across ACLs and actions."""
    draft = Draft()
    names = [draft.acl("x", "sender", ["a@example.org"]), draft.action("x", "OK"), draft.acl("default", "size", ["1"])]
    assert names == ["x", "x_2", "default_2"]


def test_what_no_rule_uses_is_not_written():
    """What no rule uses is not written."""
    draft = Draft()
    table = draft.table("lost", "domain", [TableEntry("example.org")], HERE)
    draft.acl("lost", "sender", [f"table:{table}"])
    draft.action("lost", "OK")
    assert draft.policy_text().strip() == ""
    assert draft.table_texts() == {}


def test_a_table_is_written_with_its_rule_and_odd_entries_are_left_out():
    """A table is written with its rule and odd entries are left out."""
    draft = Draft()
    lines = [
        "people",
        TableEntry("User@Example.org", "level 1", Origin("map", 2)),
        TableEntry("no name..", None, Origin("map", 3)),
    ]
    table = draft.table("people", "address", lines, HERE)
    draft.access([draft.acl("x", "sender", [f"table:{table}"])], None, HERE)
    assert draft.table_texts() == {"people": "# people\nUser@Example.org level 1  # map:2\n"}
    assert [str(each.origin) for each in draft.left_out] == ["map:3"]
    assert "table people address tables/people" in draft.policy_text()
    checked(draft)


def test_braces_of_another_server_are_text():
    """Braces of another server are text."""
    draft = Draft()
    draft.access([draft.acl("x", "sender", ["a@example.org"])], draft.action("no", "REJECT {not} a name"), HERE)
    assert "REJECT {{not}} a name" in draft.policy_text()
    checked(draft)


@pytest.mark.parametrize("reply", ["", "REJCT", "250", "REDIRECT nobody", "REJECT a # b", "REJECT a\x00b"])
def test_a_reply_that_cannot_be_is_refused(reply):
    """A reply that cannot be is refused."""
    with pytest.raises(ValueError, match=r"."):
        Draft().action("no", reply)


@pytest.mark.parametrize("value", ["", "two words", "#x", ";", "a\x07"])
def test_a_value_that_is_no_word_is_refused(value):
    """A value that is no word is refused."""
    with pytest.raises(ValueError, match="cannot be a word"):
        Draft().acl("x", "sender", [value])


def test_long_statements_continue_below():
    """Long statements continue below."""
    draft = Draft()
    draft.access([draft.acl("x", "sender", [f"user{n}@example.org" for n in range(99)])], None, HERE)
    assert max(map(len, draft.policy_text().splitlines())) < 120
    checked(draft)


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        (r"a b", "xa by", "ab"),
        (r"a\ b", "a b", "a\\ b"),
        (r"a\\ b", "a\\ b", "a b"),
        (r"^a/b,c$", "A/B,C", "a/b"),
        (r"[/ ]x", " x", "x"),
    ],
)
def test_expressions_of_others_become_one_word_that_finds_the_same(pattern, found, not_found):
    """Expressions of others become one word that finds the same."""
    value = regex_value(pattern)
    matcher = RegexMatcher("sender", [Word(value, Place("x", 1, 1))])
    assert matcher.holds(found)
    assert not matcher.holds(not_found)
    draft = Draft()
    draft.access([draft.acl("x", "sender", [value])], None, HERE)
    checked(draft)


def test_an_expression_tells_cases_apart_where_it_did():
    """An expression tells cases apart where it did."""
    matcher = RegexMatcher("sender", [Word(regex_value("Abc", folds=False), Place("x", 1, 1))])
    assert matcher.holds("xAbcx")
    assert not matcher.holds("abc")


@pytest.mark.parametrize("text", ["a.b*c", "x y", "#1;2,3", "é\u2003/\\", "(?i)", "<a>`'b'"])
def test_a_literal_is_found_and_nothing_else(text):
    """A literal is found and nothing else."""
    matcher = RegexMatcher("sender", [Word(literal_value(text), Place("x", 1, 1))])
    assert matcher.holds(text)
    assert not matcher.holds(f"{text}x")


def test_what_re2_does_not_know_is_refused():
    """What RE2 does not know is refused."""
    with pytest.raises(ValueError, match="look-around"):
        regex_value("(?!x)")


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("protocol_state", "&NETS"),
        ("size", "big"),
        ("day", "payday"),
        ("client_address", "192.0.2.5/24"),
        ("sender", "!a@example.com"),
        ("rbl", "-"),
        ("authenticated", "yes"),
        ("sender", "/(/"),
    ],
)
def test_a_value_that_its_type_does_not_take_is_refused(type_name, value):
    """An importer hears of it while it still knows the place; a policy that does not load would be its end."""
    with pytest.raises(ValueError, match=r"."):
        Draft().acl("x", type_name, [value])


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("sender", "table:t"),
        ("sender", "{recipient}"),
        ("helo_name", "/etc/list"),
        ("rate", "{sender}"),
        ("stress", ""),
    ],
)
def test_values_that_refer_to_something_are_left_to_the_loader(type_name, value):
    """A draft does not know what will stand above."""
    Draft().acl("x", type_name, value.split())


def test_the_place_of_a_database_has_no_password():
    """The place of a database has no password, in comments and in what is left out."""
    draft = Draft()
    where = Origin("postgresql://mail:s3cret@db/policyd users 7")
    draft.access([draft.acl("x", "sender", ["a@example.org"])], None, where)
    draft.leave_out(where, "a row", "no reason")
    draft.note(where, "a note")
    shown = "\n".join([draft.policy_text(), *map(str, draft.left_out), *map(str, draft.notes)])
    assert "s3cret" not in shown
    assert shown.count("postgresql://mail:***@db/policyd users 7") == 3
