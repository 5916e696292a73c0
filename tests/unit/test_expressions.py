"""Expressions: bytes that are not UTF-8, sets that are split, and what Postfix's maps read otherwise."""

from __future__ import annotations

import os

import pytest

from forkpolicy.policy.matchers import regex
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from tests.fakes import ALWAYS, decide, diagnostics_of, policy_of, request_of

LATIN_1 = b"b\xf6ss@example.com".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "expression",
    ["/^.+@example\\.com$/", "/^[^@]+@example/", "/^b.ss@/", "/bö/", "/BÖSS/", "/b\\xf6s/", "/^b[à-ÿ]/", "(bö|x)ss@"],
)
@pytest.mark.parametrize("name", ["sender", "recipient", "sasl_username", "helo_name", "ccert_subject"])
def test_a_byte_that_is_not_utf8_is_a_character(name, expression):
    """It is the Latin-1 character of its number to expressions on every attribute, whatever its case."""
    assert decide(policy_of(f"acl x {name} {expression}\naction y OK\naccess x y\n"), **{name: LATIN_1}) == "OK"


def test_valid_utf8_beside_an_odd_byte_keeps_its_meaning():
    """Only the bytes that are not UTF-8 are taken for Latin-1."""
    value = b"\xc3\xb6\xf6".decode("utf-8", "surrogateescape")
    policy = policy_of("acl x sasl_username /^öö$/\naction y OK\naccess x y\n")
    assert decide(policy, sasl_username=value) == "OK"


def test_text_that_no_request_can_have_does_not_fail():
    """A lone surrogate out of a JSON log is a question mark to an expression, not an error."""
    assert regex.mended("a\ud800\udce9") == "a?é".encode()


def words_policy(count):
    acls = "".join(f"acl x{number} sasl_username /^u{number}[0-9]?$/ /^v{number}x+$/\n" for number in range(count))
    lines = "".join(f"access x{number} a{number % 7}\n" for number in range(count))
    actions = "".join(f"action a{number} REJECT {number}\n" for number in range(7))
    return policy_of(acls + actions + lines, index_costs_us=ALWAYS)


@pytest.mark.parametrize("limit", [1, 60, 200])
def test_expressions_too_large_for_one_set_become_several(monkeypatch, limit):
    """Each keeps its own answer and its place, however they are divided."""
    whole = words_policy(40)
    monkeypatch.setattr(regex, "MAX_SET_INSTRUCTIONS", limit)
    divided = words_policy(40)
    for number in range(42):
        for user in (f"u{number}", f"u{number}7", f"v{number}xx", f"w{number}"):
            values = wanted_values(request_of(sasl_username=user), whole.wanted)
            assert divided.decide(values).rule.where == whole.decide(values).rule.where
            assert divided.trace(values).outcome.where == whole.decide(values).rule.where


def test_what_re2_has_no_room_for_is_divided_or_reported(monkeypatch):
    """A set that does not compile is halved; one expression that does not is a mistake with its place."""
    monkeypatch.setattr(regex, "MAX_SET_BYTES", 40_000)
    monkeypatch.setattr(regex, "MIN_SET_BYTES", 40_000)
    regex._exact_size.cache_clear()
    matcher = regex.RegexMatcher("sender", policy_of(MANY).model.acls["x"].words)
    assert len(matcher.sets) > 1
    assert [matcher.matching(f"{'ab' * 20}{number}@") for number in range(12)] == [[number] for number in range(12)]
    told = diagnostics_of("acl x sender /^(abcdefgh){1,90}x/\n")
    regex._exact_size.cache_clear()
    assert told
    assert "too large" in told[0]
    assert told[0].startswith("policy.conf:1:14: ")


MANY = f"acl x sender {' '.join(f'/^(ab){{20}}{number}@/' for number in range(12))}\naction y OK\naccess x y\n"


def test_expressions_too_large_together_are_a_mistake_where_it_begins(monkeypatch):
    """The limit is reported at the first expression beyond it; several sets below it are a warning."""
    monkeypatch.setattr(regex, "MAX_SET_INSTRUCTIONS", 100)
    monkeypatch.setattr(regex, "MAX_INSTRUCTIONS", 300)
    acl = "acl x sender /^aaaaaaaaaa/ /^bbbbbbbbbb/ /" + "c" * 150 + "/ /^d/ /" + "e" * 200 + "/\n"
    told = diagnostics_of(acl)
    assert told[0].startswith(f"policy.conf:1:{acl.index('/eee') + 1}: from here on")
    warnings = []
    policy_of(acl.partition(" /e")[0] + "\naction y OK\naccess x y\n", warnings=warnings)
    assert [str(each).split(": ")[1] for each in warnings] == ["warning"]
    assert "so large that each worker keeps 3 sets" in str(warnings[0])


@pytest.mark.skipif("FORKPOLICY_SLOW" not in os.environ, reason="half a minute; FORKPOLICY_SLOW=1")
@pytest.mark.timeout(600)
def test_many_real_expressions_load():
    """500 long ones and 14,000 ordinary ones, more than RE2 takes into one set, load and match."""
    long = " ".join(f"/b{number}c(.{{1,100}}x{number}y){{1,5}}end{number}z/" for number in range(500))
    policy = policy_of(f"acl x sasl_username {long}\naction y OK\naccess x y\n")
    assert decide(policy, sasl_username="b499c..x499yend499z") == "OK"
    assert decide(policy, sasl_username="b499c..x499yend498z") == "DUNNO"
    ordinary = "".join(f"acl a{n} sender /^n{n}[0-9]+@list{n}\\.example$/\naccess a{n} y\n" for n in range(14_000))
    policy = policy_of(f"action y OK\n{ordinary}")
    assert decide(policy, sender="n13999007@list13999.example") == "OK"
    assert decide(policy, sender="n13999007@list13998.example") == "DUNNO"


DIALECT = [
    (r"\<news\>", r"\b"),
    (r"news\>", r"\b"),
    (r"\`news", "is ^"),
    (r"news\'", "is $"),
    ("a{,3}b", "{0,3}"),
    ("a{,}b", "{0,3}"),
    ("^*@example", "is .*"),
    ("[[=a=]]x", "stands for itself"),
    ("[x[.-.]]", "stands for itself"),
    ("[[:<:]]news", r"\b"),
    ("a++", "one +"),
    ("(?>a)", "look-around"),
    (r"a\Z", "RE2 syntax"),
]


@pytest.mark.parametrize(("expression", "advice"), DIALECT, ids=[row[0] for row in DIALECT])
def test_what_postfix_maps_read_otherwise_is_a_mistake(expression, advice):
    """An expression that would never fire here is refused, with the spelling that does."""
    told = diagnostics_of(f"acl x sender /{expression}/\n")
    assert told
    assert advice in told[0]


@pytest.mark.parametrize(
    ("expression", "text"),
    [(r"\\<a", "\\<a"), ("[<`']a", "<a"), ("a{0,3}b", "aab"), (r"a\{,3}", "a{,3}"), ("[{,3}]", "{"), ("[[.]a", ".a")],
)
def test_what_only_looks_alike_is_taken(expression, text):
    """Escaped, or in a class, the same characters are themselves."""
    assert (
        decide(policy_of(f"acl x sasl_username /{expression}/\naction y OK\naccess x y\n"), sasl_username=text) == "OK"
    )


@pytest.mark.parametrize(
    ("value", "hint"),
    [("/^news/i", "/(?-i)^news/"), ("/news@/", ""), ("/^a/b/x", "write /^a/b/"), ("/lists/people", "")],
)
def test_flags_behind_an_expression_are_told(value, hint):
    """`/^news/i` is not a file, and flags of Postfix's maps have no other name here."""
    told = diagnostics_of(f"acl x sender {value}\n")
    assert bool(told) is (value != "/news@/")
    assert hint in "".join(told)
    assert ("flags do not stand" in "".join(told)) is bool(hint)


def test_a_file_whose_name_looks_like_flags_is_a_file():
    """Only what is not there is taken for an expression with flags."""
    policy = policy_of("acl x sender /lists/i\naction y OK\naccess x y\n", files={"/lists/i": "@example.com\n"})
    assert decide(policy) == "OK"


def test_parsed_bytes_reach_expressions_through_the_request():
    """The value that a request brings, decoded as the server decodes it."""
    request = Request.parse(b"request=smtpd_access_policy\nprotocol_state=RCPT\nsender=b\xf6ss@example.com\n\n")
    policy = policy_of("acl x sender /^.+@example\\.com$/\naction y OK\naccess x y\n")
    assert policy.decide(wanted_values(request, policy.wanted)).rule.action.name == "y"


def test_a_bounded_number_of_short_values_is_remembered():
    """Texts of strangers fill no memory: the last two thousand, and none of a kilobyte."""
    (matcher,) = policy_of("acl x sender /^a/\naccess x\n").model.acls["x"].matchers
    for number in range(regex.REMEMBERED_VALUES + 100):
        assert matcher.holds(f"a{number}")
        assert not matcher.holds("b" * regex.REMEMBERED_CHARS + str(number))
    assert matcher._remembered.cache_info().currsize == regex.REMEMBERED_VALUES
    assert matcher._remembered.cache_info().misses == regex.REMEMBERED_VALUES + 100


def test_every_wrong_expression_of_an_acl_is_reported_at_its_place():
    """Short ones, which are compiled together, as long ones, which are compiled alone; what is right is not."""
    acl = f"acl x sender /a(b/ /ok/ /c)d/ /x{{2,1}}/ /{'y' * 130}(/ *a+\n"
    told = [each.split(": ")[0] for each in diagnostics_of(acl)]
    assert told == [f"policy.conf:1:{acl.index(word) + 1}" for word in ("/a(b", "/c)d", "/x{2", "/yyy", "*a+")]


@pytest.mark.parametrize("expression", ["^n17[0-9]+@list17.example$", "kiss@sky", "[^@]+@[^.]+.example", "(a|b)*c?d$"])
def test_the_size_of_an_ordinary_expression_is_known_without_compiling_it(expression):
    """Nearly: a set that turns out too large is divided anyway."""
    exact = regex._exact_size(expression)
    assert regex.ORDINARY(expression)
    assert exact / 1.6 <= regex.program_size(expression) <= exact * 1.6
