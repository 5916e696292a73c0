"""apolicy's configuration becomes a policy that decides as it did; what nobody can know is left out with a reason."""

from __future__ import annotations

import re

import pytest

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.compile.command import main as compile_tables
from forkpolicy.importing.apolicy import FORMAT
from forkpolicy.importing.apolicy.python_expressions import as_re2
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.expressions import regex_value
from forkpolicy.importing.formats import Inputs
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.policy.nodes import Place, Word
from tests.fakes import TextFiles, decide, policy_of

# The recipes of its tutorial.
TUTORIAL = """\
# friends of ours
acl foo sender foo@example.com
acl bad_domain sender @example.com
action nice_users DUNNO
action deny_spam REJECT You are a spammer
access foo nice_users
access bad_domain deny_spam

acl bar recipient bar@example.org
acl domain sender @example.org
action deny_intruder REJECT Only from inside
access bar !domain deny_intruder

acl big recipient big@example.net
acl 10mb size 10485760
action deny_max_10mb REJECT Too large
access big 10mb deny_max_10mb
"""


def draft_of(policy, files=None, *, more=(), **options):
    """The draft of a policy.conf, with files of values; it has to load."""
    draft = Draft()
    texts = {"policy.conf": policy, **(files or {})}
    FORMAT.read(Inputs(("policy.conf", *more), TextFiles(texts), options), draft)
    return checked(draft)


def imported(policy, files=None, **options):
    """The policy of ours."""
    return policy_of(draft_of(policy, files, **options).policy_text())


def left_out(policy, files=None, **options):
    """What is left out, a line each with its place."""
    return [f"{each.origin.line} {each.what}: {each.reason}" for each in draft_of(policy, files, **options).left_out]


@pytest.mark.parametrize(
    ("request_of", "reply"),
    [
        ({"sender": "foo@example.com"}, "DUNNO"),
        ({"sender": "eve@example.com"}, "REJECT You are a spammer"),
        ({"sender": "eve@example.com.evil.example"}, "DUNNO"),
        ({"sender": "EVE@EXAMPLE.COM"}, "REJECT You are a spammer"),
        ({"sender": "anna@example.org", "recipient": "bar@example.org"}, "DUNNO"),
        ({"sender": "anna@example.net", "recipient": "bar@example.org"}, "REJECT Only from inside"),
        ({"sender": "", "recipient": "big@example.net", "size": "10485761"}, "REJECT Too large"),
        ({"sender": "", "recipient": "big@example.net", "size": "10485760"}, "DUNNO"),
    ],
)
def test_the_tutorial_decides_as_it_was_meant(request_of, reply):
    """The documented recipes decide as their text says, and not about look-alike domains."""
    assert decide(imported(TUTORIAL), **request_of) == reply


@pytest.mark.parametrize(
    ("how", "sender", "reply"),
    [
        ("searched", "x@example.com.evil.example", "REJECT no"),
        ("searched", "x@exampleXcom", "REJECT no"),
        ("searched", "U@EXAMPLE.COM", "REJECT no"),
        ("searched-case", "U@EXAMPLE.COM", "DUNNO"),
        ("searched-case", "u@example.com", "REJECT no"),
        ("exact", "x@exampleXcom", "DUNNO"),
    ],
)
def test_values_stay_what_they_were_where_that_is_wanted(how, sender, reply):
    """With --values searched, a value hits all that it hit; case matters only with searched-case."""
    policy = imported("acl bad sender @example.com\naction no REJECT no\naccess bad no\n", values=how)
    assert decide(policy, sender=sender) == reply


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("sender", "foo@example.com", "foo@example.com"),
        ("sender", "@example.com", "@example.com"),
        ("sender", r"^foo@example\.com$", "foo@example.com"),
        ("sender", r"@example\.com$", "@example.com"),
        ("sender", "example.com", "/example.com/"),
        ("sender", "trap@", "/trap@/"),
        ("sender", "user+news@example.com", "/user+news@example.com/"),
        ("sender", "(sales|contact)@example.com", "/(sales|contact)@example.com/"),
        ("sender", "<>", "/<>/"),
        ("client_name", "unknown", "unknown"),
        ("client_name", "mail.example.com", "/mail.example.com/"),
        ("client_name", r"^mail\.example\.com$", "mail.example.com"),
        ("client_name", r"\.example\.com$", ".example.com"),
        ("helo_name", "unknown", "/unknown/"),
        ("sasl_username", "anna", "/anna/"),
        ("sasl_username", "@example.com", "/@example.com/"),
        ("sasl_username", "anna@example.com", "anna@example.com"),
        ("sasl_method", "^PLAIN$", "PLAIN"),
        ("sasl_method", "^silent$", "/^silent$/"),
        ("protocol_name", "ESMTP", "ESMTP"),
        ("policy_context", "submission", "submission"),
        ("day", "mtwhf", "Monday Tuesday Wednesday Thursday Friday"),
        ("day", "th", "Tuesday Thursday"),
        ("day", "sa", "Saturday Sunday"),
        ("day", "SATURDAY,Sunday", "Saturday Sunday"),
        ("day", "Monday Tuesday-Friday", "Monday Tuesday-Friday"),
        ("size", "10485760", "10485760"),
        ("time", "08:00-17:00", "08:00-17:00"),
        ("client_address", "192.0.2.0/255.255.255.0,198.51.100.7", "192.0.2.0/255.255.255.0 198.51.100.7"),
        ("client_address", "192.0.2.0-192.0.2.255", "192.0.2.0-192.0.2.255"),
        ("stress", "", ""),
        ("log", "", ""),
        ("greylisting", "", "delay=5m window=1440m keep=1440m auto=0"),
        ("greylisting", "time=2,lifetime=14400,backend=disk,root=/x/", "delay=2m window=14400m keep=14400m auto=0"),
        ("rbl", "zen.spamhaus.org", "zen.spamhaus.org"),
        ("spf", "Fail softfail", "fail softfail"),
    ],
)
def test_a_value_becomes_the_value_that_means_the_same(type_name, value, expected):
    """Each form of a value that is documented, and what stands for it."""
    draft = draft_of(f"acl x {type_name} {value}\naccess x\n")
    words = re.search(r"^acl x (.*)$", draft.policy_text(), re.MULTILINE)[1].split()
    assert words == [type_name, *expected.split()]
    assert draft.left_out == []


@pytest.mark.parametrize(
    ("type_name", "value", "reason"),
    [
        ("sender", "(?=x)y", "look-around"),
        ("sender", r"(x)\1", "means something else"),
        ("sender", "[[:alpha:]]@", "no classes with names"),
        ("sender", r"\Qa\E", "means something else"),
        ("sender", "a{1,3}@", "separated values at a comma"),
        ("sender", "ä@example.com", "outside ASCII"),
        ("sender", "silent", "both are possible"),
        ("sender", "", "no value"),
        ("sender", ",", "no value"),
        ("sender", "/nowhere/list", "cannot be read"),
        ("client_address", "10.1", "took it for one address"),
        ("client_address", "192.0.2.0/0.0.0.255", "wildcard mask"),
        ("client_address", "192.0.2.5/24", "host bits"),
        ("day", "sat", "Saturday, or the letters"),
        ("day", "Friday-Monday", "over the end of the week"),
        ("day", "payday", "is not a day"),
        ("time", "22:00-06:00", "over midnight"),
        ("time", "8-17", "is not a span of time"),
        ("size", "10M", "were bytes"),
        ("protocol_name", "SMTP", "searched for"),
        ("rbl", "zen.spamhaus.org=127.0.0.2", "not the name of a zone"),
        ("spf", "deny", "not a result of SPF"),
        ("country", "CN,RU", "are a table here"),
        ("stress", "no", "takes no value"),
        ("log", "x", "takes no value"),
        ("greylisting", "time=9,lifetime=5", "never passes"),
        ("greylisting", "time=9,time=5", "stands here twice"),
        ("greylisting", "delay=9", "not an option of its greylisting"),
        ("sql_limit", "select=x", "counting recipients in SQL"),
        ("quota", "quota_filter=x", "quotas in LDAP"),
        ("whatever", "x", "not a type of apolicy that is known"),
    ],
)
def test_what_cannot_be_known_is_left_out_with_its_rules(type_name, value, reason):
    """An ACL with a value that has no equal is left out with the reason, and so is each rule that asks it."""
    draft = draft_of(f"acl x {type_name} {value}\nacl y sender @example.com\naccess y !x\naccess y\n")
    assert [each.origin.line for each in draft.left_out] == [1, 3]
    assert reason in draft.left_out[0].reason
    assert 'its ACL "x" (policy.conf:1) is left out; rules behind it may decide more mail' in draft.left_out[1].reason
    assert draft.rules == 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["access x"], '1 access x: no ACL or action is called "x"'),
        (["access x", "acl x size 1"], '1 access x: "x" is declared below'),
        (["action no REJECT no", "access no"], "2 access no: no ACL"),
        (["action no REJCT no", "acl x size 1", "access x no"], "1 action no REJCT no"),
        (["action no REJECT a # b", "acl x size 1", "access x no"], "1 action no"),
        (["acl x size 1", "acl x sender y", "access x"], "1 acl x size 1: it has two types, sender and size"),
        (["acl x size 1", "action x REJECT", "access x x"], '3 access x x: "x" is an ACL and an action'),
        (["action a OK", "action a DUNNO", "acl x size 1", "access x a"], "2 action a DUNNO: declared above already"),
        (["action default nothing", "acl x size 1", "access x"], "1 action default nothing"),
        (["acl x", "action y", "access", "access !!x", "table x", "  acl"], "1 acl x: expected acl NAME TYPE"),
        (["acl g greylisting", "acl g greylisting", "access g"], "1 acl g greylisting: greylisting with two"),
    ],
)
def test_a_statement_that_is_wrong_is_left_out_with_its_place(lines, expected):
    """Mistakes of a policy.conf are listed, all in one run, and nothing that depends on them stays."""
    found = left_out("\n".join(lines))
    assert found[0].startswith(expected)


def test_every_mistake_is_found_in_one_run():
    """One run lists each of them."""
    assert [line.split()[0] for line in left_out("acl x\naction y\naccess\naccess !!x\nbogus\n")] == list("12345")


def test_values_of_several_statements_add_up_where_the_first_one_stands():
    """As in the documentation's example of networks; the word silent is kept."""
    text = draft_of("acl n client_address 192.0.2.1\nacl n client_address silent 192.0.2.2\naccess n\n").policy_text()
    assert "acl n client_address 192.0.2.1 192.0.2.2 silent" in text


def test_comments_and_order_are_kept_and_each_rule_has_its_origin():
    """What somebody wrote stands above the rule that it is about."""
    text = draft_of(TUTORIAL).policy_text()
    places = [text.index(word) for word in ("# friends of ours", "# policy.conf:6", "access foo", "# policy.conf:12")]
    assert places == sorted(places)


FILES = {"lists/senders": "a@example.com\n# why\n\n@example.org\nbulk[0-9]+@\nexample.net\n"}


def test_a_file_of_values_becomes_a_table_and_expressions(tmp_path, capsys):
    """Exact values go into a table, the others into the ACL; written and compiled, they hold as before."""
    (tmp_path / "senders").write_text(FILES["lists/senders"])
    (tmp_path / "apolicy.conf").write_text("acl x sender /etc/apolicy/senders\naction no REJECT no\naccess x no\n")
    given = [str(tmp_path / name) for name in ("apolicy.conf", "senders")]
    assert forkpolicy(["import", "apolicy", "--out", str(tmp_path / "new"), *given]) == 0
    table = (tmp_path / "new" / "tables" / "senders").read_text()
    assert table == f"a@example.com  # {given[1]}:1\n@example.org  # {given[1]}:4\n"
    settings = tmp_path / "new" / "forkpolicy.toml"
    settings.write_text('policy = "policy.conf"\ntables = "compiled"\n')
    assert compile_tables(["-c", str(settings)]) == 0
    for sender, reply in (
        ("z@example.org", "REJECT no"),
        ("bulk7@example.com", "REJECT no"),
        ("y@sub.example.net", "REJECT no"),
        ("z@example.com", "DUNNO"),
    ):
        capsys.readouterr()
        assert forkpolicy(["explain", "-c", str(settings), f"sender={sender}"]) == 0
        assert capsys.readouterr().out.startswith(f"action={reply}\n"), sender


def test_every_value_of_a_file_that_has_no_equal_is_listed():
    """A place in the file of values for each; the ACL and its rules are left out."""
    text = "acl x sender /etc/apolicy/list\naccess x\n"
    found = left_out(text, {"list": "a b\n(?=x)y\n@example.com\n"}, more=("list",))
    assert [line.partition(":")[0] for line in found] == ["1 a b", "2 (?=x)y", "2 access x"]


def test_two_files_of_one_name_are_not_guessed_between():
    """Which of two files an ACL names must be clear."""
    texts = {"a/list": "@example.com\n", "b/list": "@example.org\n"}
    rules = "acl x sender /etc/{}/list\naccess x\n"
    assert "may both be" in left_out(rules.format("c"), texts, more=("a/list", "b/list"))[0]
    assert left_out(rules.format("b"), texts, more=("a/list", "b/list")) == []


def test_main_conf_says_what_to_write_into_forkpolicy_toml():
    """Each parameter is a note, and a comment at the head."""
    main = "# x\n[main]\nuser = nobody\ntimeout=5\npolicy_path = /etc/apolicy/policy.conf\nodd = 1\n"
    draft = draft_of(TUTORIAL, {"main.conf": main}, more=("main.conf",))
    notes = [each for each in draft.notes if each.origin.path == "main.conf"]
    assert [each.origin.line for each in notes] == [3, 4, 5, 6]
    assert 'user = "nobody"' in draft.policy_text()


def test_a_file_that_no_acl_names_is_said():
    """A file of values that was given for nothing is probably a mistake."""
    assert any("no ACL names" in each.text for each in draft_of(TUTORIAL, FILES, more=("lists/senders",)).notes)


def test_a_note_says_once_what_was_hit_and_is_not_now():
    """Of many equal values the first is the example, and the others are counted."""
    notes = [each.text for each in draft_of("acl x sender @example.com @example.org\naccess x\n").notes]
    assert notes[0] == (
        "x: @example.com is exact here; apolicy searched for it, so that x@example.com.evil.example was hit, too "
        "(1 more value like it)"
    )
    assert "case is folded" in notes[-1]


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        (r"a\Z", "xa", "ab"),
        (r"^a{,2}b", "aab", "aaab"),
        (r"\<a\>", "<a>", "a"),
        (r"[\w.-]+@x", "a-b.c@x", "@x"),
        (r"\d\s\x41", "1 A", "a A"),
        (r"(?i)a[]b]$", "A]", "a["),
    ],
)
def test_expressions_of_python_find_the_same(pattern, found, not_found):
    """What RE2 reads as something else is rewritten."""
    matcher = RegexMatcher("sender", [Word(regex_value(as_re2(pattern)), Place("x", 1, 1))])
    assert [matcher.holds(found), matcher.holds(not_found)] == [True, False]
    assert [bool(re.search(pattern.replace(r"\<", "<").replace(r"\>", ">"), text)) for text in (found, not_found)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("pattern", [r"\p", r"[\Q]", r"a\10", r"\012", "a(?i)b", "\\"])
def test_expressions_that_mean_something_else_are_refused(pattern):
    """What Python takes for plain characters and RE2 does not, and the other way round."""
    with pytest.raises(ValueError, match=r"."):
        as_re2(pattern)
