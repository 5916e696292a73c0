"""Warnings about policies that load: each where it belongs, and no other."""

from __future__ import annotations

import time

import pytest

from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.policy.load import load_policy
from tests.fakes import DictTable, TextFiles, policy_of
from tests.unit.test_policy import FOUNDING, ROWS, TABLES

A = "acl a sender @a.example\nacl b recipient @b.example\naction r REJECT\naction y DUNNO\n"
NETS = (
    "acl n client_address 192.0.2.0/24\nacl m client_address 192.0.2.7\n"
    "acl o client_address 198.51.100.1-198.51.100.9\n"
)
IN_USE = "action r REJECT\naction y DUNNO\n"
DECLARED = "table t domain list\n"


def warnings_of(text, **more):
    delimiter = more.pop("delimiter", "")
    policy = policy_of(text, {name: {} for name in (*ROWS, "t")}, delimiter=delimiter, **more)
    return [str(each) for each in find_warnings(policy.model, {})]


@pytest.mark.parametrize("text", [FOUNDING, TABLES], ids=["words", "tables"])
def test_the_founding_policies_surprise_nobody(text):
    """No false alarm about what the project is for."""
    assert warnings_of(text) == []


def test_the_policy_that_is_shipped_surprises_nobody():
    """No false alarm about conf/policy.conf, its tables included."""
    model, declarations = _loaded("conf/policy.conf")
    assert model.rules
    assert declarations
    assert find_warnings(model, declarations) == []


def _loaded(path, **texts):
    declared = {}

    def lookup_for(declaration):
        declared[declaration.name] = declaration
        return DictTable(declaration.name, declaration.kind, {})

    policy, _ = load_policy(path, lookup_for, files=TextFiles({f"{name}.conf": text for name, text in texts.items()}))
    return policy.model, declared


NEVER_FIRES = [
    (A + "access a b r\naccess a !a y\n", "6:1", "needs the same to hold and not to hold"),
    (A + "acl c sender @A.example.\naccess a !c y\naccess b r\n", "6:1", "needs the same to hold and not to hold"),
    (A + "acl c sender x@a.example\naccess c !a y\naccess b r\n", "6:1", "a holds whenever c does"),
    (A + "acl c sender @c.example\naccess a c y\naccess b r\n", "6:1", "a and c have no value in common"),
    (A + "acl n null_sender\naccess a n y\naccess b r\n", "6:1", "a and n have no value in common"),
    (NETS + IN_USE + "access m o y\naccess n r\n", "6:1", "m and o have no value in common"),
    ("acl s size >10M\nacl t size <1M\n" + IN_USE + "access s t y\naccess t r\n", "5:1", "s and t have no value"),
    (
        "acl h helo_name .a.example\nacl i helo_name a.example\n" + IN_USE + "access h i y\naccess i r\n",
        "5:1",
        "common",
    ),
    ("acl c policy_context x\nacl d policy_context y\n" + IN_USE + "access c d y\naccess d r\n", "5:1", "in common"),
    (A + "access a y\naccess a b r\n", "6:1", "shadowed by line 5"),
    (A + "acl c sender @a.example\naccess a y\naccess b c r\n", "7:1", "shadowed by line 6"),
    (A + "acl c sender x@a.example\naccess a r\naccess b c y\n", "7:1", "put an exception above"),
    (A + "acl c sender x@a.example y@a.example\naccess a r\naccess b c y\n", "7:1", "shadowed by line 6"),
    (A + "acl c sender .example\nacl d sender .a.example\naccess c y\naccess d a b r\n", "8:1", "shadowed by line 7"),
    (NETS + IN_USE + "access n o y\naccess o n r\naccess m r\n", "7:1", "shadowed by line 6"),
    (NETS + IN_USE + "access n r\naccess o m y\n", "7:1", "shadowed by line 6"),
    ("acl s size >10M\nacl t size >20M\n" + IN_USE + "access s y\naccess t r\n", "6:1", "shadowed by line 5"),
    (
        "acl h helo_name .a.example\nacl i helo_name x.a.example\n" + IN_USE + "access h y\naccess i r\n",
        "6:1",
        "line 5",
    ),
    (A + "acl s score >1\naction p score 1\naccess a p\naccess b y\naccess b s r\n", "9:1", "shadowed by line 8"),
    (A + "acl w day mon-fri\nacl m day Monday wed\naccess w y\naccess m a b r\n", "8:1", "shadowed by line 7"),
    (A + "acl n time 22:00-06:00\nacl m time 01:00-02:00\naccess n y\naccess m a b r\n", "8:1", "shadowed by line 7"),
    (A + "acl w day mon-fri tz=UTC\nacl e day sat sun tz=UTC\naccess w e y\naccess a b r\n", "7:1", "in common"),
    (A + "acl w date 12-24..01-06\nacl d date 12-31 01-01\naccess w y\naccess d a b r\n", "8:1", "shadowed by line 7"),
    (A + "acl w date 12-24..01-06\nacl s date 08-01..08-31\naccess w s y\naccess a b r\n", "7:1", "in common"),
    (
        A + "acl w date 9026-08-01..9026-09-30\nacl d date 9026-08-31\naccess w y\naccess d a b r\n",
        "8:1",
        "shadowed by line 7",
    ),
    (A + "acl n time 22:00-06:00\nacl m time 06:00-22:00\naccess n m y\naccess a b r\n", "7:1", "in common"),
    (A + "action l log seen\naccess a y\naccess a b r\naccess a l\n", "8:1", "shadowed by line 6"),
    (A + "acl s protocol_state CONNECT\naccess b s y\naccess a r\n", "6:1", "never known at the states that it names"),
    (A + "acl n recipient_count >5\nacl s protocol_state RCPT\naccess n s y\naccess a b r\n", "7:1", "never fires"),
    (
        A + "acl s size >5\nacl h protocol_state CONNECT EHLO HELO\naccess s h y\naccess a b r\n",
        "7:1",
        "size: MAIL, RCPT",
    ),
    (A + "acl d etrn_domain x.example\naccess a d y\naccess a b r\n", "6:1", "etrn_domain: ETRN; sender: MAIL, RCPT"),
    (
        A + "acl s protocol_state MAIL RCPT DATA END-OF-MESSAGE VRFY\naccess a !s y\naccess a b r\n",
        "6:1",
        "never known",
    ),
]

USELESS = [
    (A + "access a y\n", "2:5", 'acl "b" is never used'),
    (A + "access a b y\n", "3:10", 'action "r" is never used'),
    ("acl x sender @a.example\naction r REJECT\naccess !x r\n", "3:1", "every bounce"),
    ("acl x null_sender\naction r REJECT\naccess x r\n", "3:1", "every bounce"),
    ("acl x sender @a.example\naction r reject\naccess !x r\n", "3:1", "every bounce"),
    (DECLARED + "acl x sender table:t\naction r 450 4.7.1 wait\naccess !x r\n", "4:1", "every bounce"),
    ("acl x sender @a.example\naction p score 1\naccess x p\n", "3:1", "no rule asks for it with an ACL of type score"),
    ("acl x score >1\naction y DUNNO\naccess x y\n", "3:1", "no rule above it adds"),
    (A + "acl s score >1\naction p score 1\naccess s y\naccess a p\naccess b r\n", "7:1", "no rule above it adds"),
    (A + "acl s score >1\naction p score 1\naccess a p\naccess s y\naccess b p\naccess b r\n", "9:1", "no rule below"),
    ("acl e protocol_state END-OF-MESSAGE\naction p PREPEND X-A: b\naccess e p\n", "3:1", "nothing at END-OF-MESSAGE"),
    ("acl b recipient @b.example\naction h HOLD\naccess b h\n", "3:1", "HOLD acts on the whole message"),
    ("acl b recipient @b.example\naction h FILTER smtp:x\naccess !b h\n", "3:1", "FILTER acts on the whole message"),
    ("acl e etrn_domain b.example\naction h HOLD\naccess e h\n", "3:1", "HOLD does nothing at ETRN"),
    ("acl a client_name a.example\naction y OK\naccess a y\n", "3:1", "OK also skips the restrictions that follow"),
    (
        "acl a client_name a.example\naction y permit\naccess a y\n",
        "3:1",
        "permit also skips the restrictions that follow",
    ),
]

VALUES = [
    ("acl x date 2025-12-24 12-25\naction y DUNNO\naccess x y\n", "1:12", "2025-12-24 is over and never holds again"),
    ("acl x client_name dynamic\naction r REJECT\naccess x r\n", "1:19", "write /dynamic/"),
    ("acl x sender (sales|info)@bar.com\naction y DUNNO\naccess x y\n", "1:14", r"write (sales|info)@bar\.com"),
    ("acl x sender /@bar.co.uk$/\naction y DUNNO\naccess x y\n", "1:14", r"write /@bar\.co\.uk$/"),
    ("acl x client_name (a|b).bar.com\naction y DUNNO\naccess x y\n", "1:19", r"write (a|b)\.bar\.com"),
    ("acl x client_name ^mx.bar.(com|net)$\naction y DUNNO\naccess x y\n", "1:19", r"write ^mx\.bar\.(com|net)$"),
    ("acl x client_name [a-z].bar.com\naction y DUNNO\naccess x y\n", "1:19", r"write [a-z]\.bar\.com"),
    ("acl x helo_name [192.0.2.1]\naction y DUNNO\naccess x y\n", "1:17", r"is /^\[192\.0\.2\.1\]$/"),
    ("acl x helo_name [IPv6:2001:db8::1]\naction y DUNNO\naccess x y\n", "1:17", r"is /^\[IPv6:2001:db8::1\]$/"),
    ("acl x recipient a@[192.0.2.1]\naction y DUNNO\naccess x y\n", "1:17", r"is /^a@\[192\.0\.2\.1\]$/"),
    ("acl x client_address 192.0.2.0/24 192.0.2.7\naction y DUNNO\naccess x y\n", "1:35", "is part of 192.0.2.0/24"),
    ("acl x client_address 2001:db8::/33,2001:db8::/32\naction y DUNNO\naccess x y\n", "1:22", "of 2001:db8::/32"),
    ("acl x client_address 192.0.2.7 192.0.2.7\naction y DUNNO\naccess x y\n", "1:32", "stands in this list twice"),
]


@pytest.mark.parametrize(("text", "place", "told"), [*NEVER_FIRES, *USELESS, *VALUES], ids=lambda value: value[-40:])
def test_a_surprise_is_told(text, place, told):
    """Where it is, what is surprising, and what to write instead; once."""
    found = [each for each in warnings_of(text) if f"policy.conf:{place}: warning: " in each and told in each]
    assert len(found) == 1, warnings_of(text)


HELD = "acl b recipient @b.example\naction h HOLD\naction y OK\naccess c b h\naccess c y\n"


@pytest.mark.parametrize(
    ("context", "told"),
    [("policy_context held-policy held-spam", 0), ("policy_context held-spam front", 2), ("policy_context front", 2)],
)
def test_rules_for_held_mail_are_none_of_postfix(context, told):
    """A store asks for them, about one recipient: neither a whole message nor restrictions that follow."""
    found = [each for each in warnings_of(f"acl c {context}\n{HELD}") if "whole message" in each or "skips" in each]
    assert len(found) == told


@pytest.mark.parametrize(
    "text",
    [
        # Something is asked of the later line only, or the earlier one asks for more.
        A + "access a b r\naccess a y\n",
        A + "access a b r\naccess a !b y\n",
        A + "acl s protocol_state RCPT\naccess a b s r\naccess a y\n",
        A + "acl c sender x@a.example\naccess b c y\naccess a r\n",
        A + "acl c sender x@a.example\naccess b !c a y\naccess a r\n",
        A + "acl c sender x@a.example z@c.example\naccess a r\naccess b c y\n",
        A + "acl c sender a.example.org\naccess a r\naccess b c y\n",
        A + "acl c sender .a.example\naccess a r\naccess b c y\n",
        # Another attribute may be unknown where the first is known.
        A
        + "acl c sender x@a.example {sasl_username}\nacl d sender x@a.example\naccess c r\naccess b d y\naccess a y\n",
        # What only notes does not decide.
        A + "action l log seen\naccess a l\naccess a b r\naccess a y\n",
        A + "action p score 1\nacl s score >1\naccess a p\naccess b s y\naccess b p\naccess b s r\naccess a r\n",
        # Both can hold.
        A + "acl c sender x@\naccess a c y\naccess b r\n",
        A + "acl c sender .example\naccess a c y\naccess b r\n",
        A + "acl c sender /x/\naccess a c y\naccess b r\n",
        A + DECLARED + "acl c sender table:t\naccess a c y\naccess b r\n",
        A + "acl c recipient @a.example\naccess a c y\naccess b r\n",
        NETS + IN_USE + "access m n y\naccess o !n r\n",
        "acl s size >10M\nacl t size <11M\n" + IN_USE + "access s t y\naccess !t r\n",
        # Days and times of two zones, and days that only begin alike.
        "acl w day mon-fri tz=UTC\nacl e day sat\n" + IN_USE + "access w e y\naccess e r\n",
        "acl n time 22:00-06:00\nacl m time 05:00-07:00\n" + IN_USE + "access n y\naccess m r\n",
        "acl n time 22:00-06:00\nacl m time 05:00-07:00\n" + IN_USE + "access n m y\naccess m r\n",
        # Dates of one year and of each year, ranges that only meet, another zone.
        "acl w date 12-24..01-06\nacl d date 9026-12-24\n" + IN_USE + "access w d y\naccess d r\n",
        "acl w date 12-24..01-06\nacl d date 9026-12-24\n" + IN_USE + "access w y\naccess d r\n",
        "acl w date 12-24..01-06\nacl d date 01-06..01-07\n" + IN_USE + "access w d y\naccess d r\n",
        "acl w date 12-24..01-06\nacl d date 12-24 tz=UTC\n" + IN_USE + "access w y\naccess d r\n",
        "acl w date 12-24..01-06\nacl d date 08-01 tz=UTC\n" + IN_USE + "access w d y\naccess d r\n",
        # A state that has what is asked for.
        A + "acl s protocol_state DATA\naccess b s y\naccess a r\n",
        A + "acl s protocol_state VRFY\naccess a b s y\naccess a r\n",
        "acl s protocol_state EHLO\nacl e encrypted\n" + IN_USE + "access s e y\naccess s r\n",
        "acl s protocol_state /MAIL/\nacl b sender @b.example\n" + IN_USE + "access s b y\naccess b r\n",
        "acl x newer_attribute y\nacl s protocol_state RCPT\n" + IN_USE + "access x s y\naccess x r\n",
        # Plain names, escaped dots, dots that are meant as any character.
        "acl x client_name unknown mail.example.com\naction r REJECT\naccess x r\n",
        "acl x sender (sales|info)@bar\\.com /^a.*b$/ /a.b/ /x.+y/ /[a.bc]@/ /a\\d.com/\naction y DUNNO\naccess x y\n",
        "acl x sasl_method plain\naction y DUNNO\naccess x y\n",
        "acl x sasl_username dynamic\naction y DUNNO\naccess x y\n",
        "acl x helo_name [a-f]{8}\naction y DUNNO\naccess x y\n",
        "acl x client_address 192.0.2.0/24 198.51.100.7 ::1\naction y DUNNO\naccess x y\n",
        # Bounces pass, or are meant.
        "acl x sender @a.example\nacl n null_sender\naction r REJECT\naccess !n !x r\n",
        "acl x sender @a.example <>\naction r REJECT\naccess !x r\n",
        "acl n null_sender\nacl x recipient news@b.example\naction r REJECT\naccess n x r\n",
        "acl x sender @a.example\nacl u authenticated\naction r REJECT\naccess u !x r\n",
        "acl x sender @a.example\naction w HOLD odd\naccess !x w\n",
        "acl x client_address 192.0.2.1\naction r REJECT\naccess x r\n",
        # Actions where they work.
        "acl e protocol_state END-OF-MESSAGE RCPT\naction p PREPEND X-A: b\naccess e p\n",
        "acl a sender @a.example\naction h HOLD\naccess a h\n",
        "acl b recipient @b.example\naction w PREPEND X-A: b\naccess b w\n",
        # An action's text may use what no line does, and the default action is used by lines without one.
        DECLARED + "acl c sender table:t\nacl a client_name a.example\naction r REJECT {match.c}\naccess a r\n",
        "acl a client_name a.example\naction default DUNNO\naccess a\n",
        A + "acl c sender x@a.example y@c.example\naccess a y\naccess b c r\n",
        A + "acl c sender y@c.example x@a.example\naccess a y\naccess b c r\n",
        "acl n client_address 192.0.2.0/24\nacl p client_address 192.0.2.7 203.0.113.1\n"
        + IN_USE
        + "access n y\naccess p r\n",
    ],
    ids=lambda value: value[-40:],
)
def test_a_near_miss_is_not_told(text):
    """What only looks like it is left alone."""
    assert warnings_of(text) == []


def test_extensions_are_part_of_an_address():
    """With a recipient_delimiter an address covers its extensions; without one they are other addresses."""
    text = "acl a recipient u@b.example\nacl c recipient u+x@b.example\n" + IN_USE
    both = text + "access a c y\naccess c r\n"
    assert [each for each in warnings_of(both, delimiter="+") if "in common" in each] == []
    assert [each for each in warnings_of(both) if "in common" in each]
    later = text + "access a y\naccess c r\n"
    assert [each for each in warnings_of(later, delimiter="+") if "is shadowed by" in each]
    assert warnings_of(later) == []


def test_a_shadow_in_another_file_is_told_with_its_file():
    """With include the line number alone would mislead."""
    text = A + "access a y\ninclude more.conf\n"
    (found,) = warnings_of(text, files={"more.conf": "access a b r\n"})
    assert found.startswith("more.conf:1:1: warning: ")
    assert "shadowed by policy.conf:5" in found


def test_an_unused_table_is_told():
    """Where it is declared."""
    (found,) = find_warnings(*_loaded("policy.conf", policy="table u domain list\n" + A + "access a b r\naccess a y\n"))
    assert str(found) == 'policy.conf:1: warning: table "u" is never used'


def test_a_table_that_the_console_asks_is_used():
    """Without a rule that does."""
    assert (
        find_warnings(*_loaded("policy.conf", policy="table aliases address list\n" + A + "access a b r\naccess a y\n"))
        == []
    )


LONG = 3_000


def _one_acl_in_every_line():
    yield "acl us sender @us.example"
    for number in range(LONG):
        yield f"acl a{number} recipient u{number}@b{number % 100}.example"
        yield f"access us a{number} r"


def _every_pair():
    for number in range(60):
        yield f"acl a{number} client_name h{number}.example"
        yield f"acl b{number} recipient @b{number}.example"
    for number in range(LONG):
        yield f"access a{number % 60} b{number // 50} r"


def _networks():
    for number in range(LONG):
        yield f"acl n{number} client_address 10.{number // 256}.{number % 256}.0/24"
        yield f"access n{number} r"


def _one_value_in_every_acl():
    for number in range(LONG):
        yield f"acl n{number} sender u{number}@a.example common@a.example"
        yield f"access n{number} r"


@pytest.mark.parametrize("lines", [_one_acl_in_every_line, _every_pair, _networks, _one_value_in_every_acl])
def test_thousands_of_lines_are_analysed_at_once(lines):
    """Whatever they have in common, nothing is compared each with each, which would be millions of times."""
    policy = policy_of("\n".join(["action r DUNNO", *lines()]) + "\n")
    start = time.process_time()
    assert find_warnings(policy.model, {}) == []
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("REJECT 5.7.1 Not you: ask the office", "cut"),
        ("450 4.7.1 Later, please", "cut"),
        ("DEFER_IF_PERMIT busy; try again", "cut"),
        ("REJECT 5.7.1 Not {sender_domain}", ""),
        ("WARN looked at", "silent"),
        ("INFO looked at: twice", "silent"),
        ("PREPEND X-Seen: yes", ""),
        ("DUNNO", ""),
    ],
)
def test_texts_that_a_report_cuts_or_leaves_out(reply, told):
    """pflogsumm shows a rejection's text up to : ; or , and nothing of WARN and INFO; other texts it shows whole."""
    found = warnings_of(f"acl a sender @a.example\naction x {reply}\naccess a x\n")
    assert ["cut" if "up to the first" in each else "silent" for each in found if "pflogsumm" in each] == [told] * bool(
        told
    )


def test_many_texts_that_a_report_cuts_are_one_warning():
    """At the first of them, with some names."""
    actions = "".join(f"action x{n} REJECT 5.7.1 No: {n}\n" for n in range(6))
    lines = "".join(f"access a{n} x{n}\n" for n in range(6))
    acls = "".join(f"acl a{n} sender @{n}.example\n" for n in range(6))
    (found,) = [each for each in warnings_of(actions + acls + lines) if "pflogsumm" in each]
    assert "x0, x1, x2 and 3 more" in found
    assert ":1:" in found.splitlines()[0]


def test_what_a_report_cuts_counts_where_it_is_used_and_written():
    """Not of an action that no line has, and not for what a request puts into the text."""
    unused = "acl a sender @a.example\naction x REJECT 5.7.1 No: never\naction y REJECT no\naccess a y\n"
    put_in = "acl a sender @a.example\naction x REJECT 5.7.1 Not {client_address}\naccess a x\n"
    assert not [each for text in (unused, put_in) for each in warnings_of(text) if "pflogsumm" in each]


MANY = 70


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ([f"10.0.{number}.0/24" for number in range(MANY)], "10.0.5.7", "10.0.75.1"),
        ([f"10.0.{number}.0/24" for number in range(MANY)], "10.0.69.128/25", "10.0.70.0/25"),
        ([f"10.{number}.0.0/16" for number in range(0, 2 * MANY, 2)], "10.8.3.0/24", "10.9.3.0/24"),
        ([f"2001:db8:{number:x}::/48" for number in range(MANY)], "2001:db8:5::1", "2001:db8:75::1"),
        ([f"2001:db8:{number:x}::/48" for number in range(MANY)], "2001:db8:45:1::/64", "2001:db8:46:1::/64"),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_one_network_among_many_is_found(networks, inside, outside, together):
    """In one ACL or in one each, where nobody compares them one by one."""
    if together:
        wide = f"acl w client_address {' '.join(networks[::2] + networks[1::2])}\n"
        lines = "access w y\n"
    else:
        wide = "".join(f"acl w{number} client_address {network}\n" for number, network in enumerate(networks))
        lines = "".join(f"access w{number} y\n" for number in range(len(networks)))
    for narrow, found in ((inside, True), (outside, False)):
        text = f"{wide}acl n client_address {narrow}\n{IN_USE}{lines}access n r\n"
        assert any("is shadowed by" in each for each in warnings_of(text)) is found


def test_a_line_that_turns_bounces_away_names_the_way_out():
    """The warning says what to add."""
    (told,) = [
        each
        for each in warnings_of("acl a helo_name x.example\nacl s sender /^$|x/\naction r REJECT\naccess a s r\n")
        if "bounce" in each
    ]
    assert "declare an ACL of type null_sender and put its !NAME into the rule" in told


def test_every_surprise_is_a_warning():
    """Nothing that `check` finds in a policy that loads is an error, and each has its place in numbers."""
    for text, *_ in (*NEVER_FIRES, *USELESS):
        policy = policy_of(text, {name: {} for name in (*ROWS, "t")})
        for each in find_warnings(policy.model, {}):
            assert each.severity == "warning"
            assert isinstance(each.column, int)


def test_the_smaller_of_two_nested_networks_is_named():
    """In whichever order they stand."""
    for networks in ("192.0.2.0/25 192.0.2.0/24 198.51.100.1", "198.51.100.1 192.0.2.0/24 192.0.2.0/25"):
        told = [
            each
            for each in warnings_of(f"acl n client_address {networks}\n{IN_USE}access n r\naccess !n y\n")
            if "part of" in each
        ]
        assert len(told) == 1
        assert "192.0.2.0/25 is part of 192.0.2.0/24 in the same list" in told[0]


@pytest.mark.parametrize(
    ("network", "covered"),
    [
        ("10.0.5.0/24", True),
        ("10.0.69.128/25", True),
        ("10.0.5.9", True),
        ("10.0.4.0/23", False),
        ("10.1.5.0/25", False),
    ],
)
def test_a_network_among_many_is_covered_by_those_that_have_it(network, covered):
    """Seventy networks are looked up by their blocks, and say the same as few."""
    many = " ".join(f"10.0.{number * 2 - 1}.0/24" for number in range(1, 71))
    text = f"acl m client_address {many}\nacl n client_address {network}\naccess m r\naccess n r\n"
    found = [each for each in warnings_of(A + text) if "never fires" in each]
    assert bool(found) is covered


def test_an_acl_with_one_value_of_two_does_not_cover_both():
    """Each of two ACLs has one of its values: neither alone keeps the line from firing."""
    acls = "acl p sender a.example\nacl q sender b.example\nacl n sender a.example b.example\n"
    for first in "pq":
        found = warnings_of(f"{A}{acls}access {first} r\naccess n r\n")
        assert not [each for each in found if "never fires" in each]


MEMORY = (
    "acl signed_in authenticated\nacl inside client_address 192.0.2.0/24\nacl us sender @example.com\n"
    "acl bad helo_name bad.example\nacl here policy_context here\nacl end protocol_state END-OF-MESSAGE\n"
    "acl busy rate {sasl_username} 9/1h\nacl big rate {sasl_username} 9/1h count=bytes\n"
    "acl asked rate {client_address} 9/1h count=requests\nacl many distinct {client_address} {helo_name} >3/1h\n"
    "acl grey greylisting\nacl listed_ listed traps {client_address}\n"
    "action slow DEFER_IF_PERMIT\naction no REJECT\naction pass DUNNO\naction note log it\n"
)


def memory_warnings(rules, more=""):
    """The warnings about rules, without those about names that no rule has."""
    found = warnings_of(MEMORY + more + rules)
    return [each.partition("\n") for each in found if "is never used" not in each]


RIGHT_OF_A_COUNT = [
    ("access signed_in busy us slow\n", "busy", "us"),
    ("access signed_in busy us !bad slow\n", "busy", "us !bad"),
    ("access !signed_in !inside grey us slow\n", "grey", "us"),
    ("access many bad no\n", "many", "bad"),
]


@pytest.mark.parametrize(("rule", "counting", "plain"), RIGHT_OF_A_COUNT)
def test_what_counts_more_than_the_rule_means(rule, counting, plain):
    """An ACL that remembers, with plain ones right of it: they exclude what it has counted."""
    ((first, _, rest),) = memory_warnings(rule)
    assert first == f"policy.conf:17:1: warning: {counting} counts requests that the rest of the rule excludes"
    assert rest.endswith(f"put {plain} in front of it, if only those are meant")


@pytest.mark.parametrize(
    "rule", ["access signed_in us busy slow\n", "access listed_ us no\n", "access us busy many no\n"]
)
def test_what_counts_what_the_rule_means(rule):
    """Plain ACLs in front; a list is only looked at; another that remembers has its place, too."""
    assert memory_warnings(rule) == []


REFUSED_LATER = [
    "access signed_in busy slow\naccess bad no\n",
    "access busy note\naccess bad no\n",
    "access !signed_in busy slow\naccess signed_in pass\naccess !inside !signed_in grey slow\n",
]


@pytest.mark.parametrize("rules", REFUSED_LATER)
def test_mail_that_is_counted_and_then_refused(rules):
    """Once for each limit, with the first rule below it that may refuse what it has counted."""
    ((first, _, rest),) = memory_warnings(rules)
    place = 17 + rules.count("\n") - 1
    assert first.startswith(
        f"policy.conf:17:1: warning: busy counts mail that a later rule may refuse: policy.conf:{place}: "
    )
    assert "ask at END-OF-MESSAGE to count accepted mail" in rest


NOT_REFUSED_LATER = [
    "access bad no\naccess signed_in busy slow\n",
    "access signed_in busy slow\naccess !signed_in bad no\n",
    "access signed_in busy slow\naccess signed_in pass\naccess bad no\n",
    "access end busy slow\naccess bad no\n",
    "access signed_in big slow\naccess bad no\n",
    "access asked slow\naccess bad no\n",
    "access signed_in busy slow\naccess asked slow\n",
]


@pytest.mark.parametrize("rules", NOT_REFUSED_LATER)
def test_mail_that_is_counted_and_not_refused_by_plain_rules(rules):
    """The limit is last, about others, at the end of the message, about bytes or requests, or before another limit."""
    assert memory_warnings(rules) == []


GREYLISTED = [
    ("access grey slow\n", "who has signed in and clients in your own networks"),
    ("access !signed_in grey slow\n", "clients in your own networks"),
    ("access inside pass\naccess grey slow\n", "who has signed in"),
    ("access signed_in no\naccess inside pass\naccess grey slow\n", "who has signed in"),
]


@pytest.mark.parametrize(("rules", "who"), GREYLISTED)
def test_greylisting_of_ones_own_people(rules, who):
    """A mail program does not come again by itself."""
    ((first, _, rest),) = memory_warnings(rules)
    line = 16 + rules.count("\n")
    assert first == f"policy.conf:{line}:1: warning: greylisting makes {who} wait, whose programs may not try again"
    assert "!signed_in and !from_inside in front of it" in rest


@pytest.mark.parametrize(
    "rules",
    [
        "access !signed_in !inside grey slow\n",
        "access inside pass\naccess signed_in pass\naccess grey slow\n",
        "access here grey slow\n",
        "access grey note\n",
    ],
)
def test_greylisting_of_others(rules):
    """They are spared, it is asked for in a context of its own, or it only takes notes."""
    assert memory_warnings(rules) == []


def test_a_longer_window_that_is_reached_first():
    """The shorter limit has no effect then."""
    more = "acl odd rate {sender} 100/1h 50/1d 200/7d\nacl even rate {sender} 10/1h 11/1d\n"
    ((first, _, rest),) = memory_warnings("access signed_in odd even slow\n", more)
    assert first == "policy.conf:17:23: warning: 100/1h has no effect: 50/1d is reached before it"
    assert rest.endswith("leave it out, or allow more in the longer window")


def test_bytes_where_they_are_never_known():
    """At RCPT alone; with the states at which they are."""
    ((first, _, rest),) = memory_warnings("access at_rcpt big slow\n", "acl at_rcpt protocol_state RCPT\n")
    assert "this rule never fires: what it asks for is never known at the states that it names" in first
    assert "big: END-OF-MESSAGE" in rest


def test_what_a_key_asks_is_used():
    """Tables and ACLs of keys, limits of tables."""
    model, declarations = _loaded(
        "m.conf",
        m="table t domain x\ntable l key y\ntable u domain z\nacl a sender table:t\nacl b sender table:u\n"
        "acl busy rate {match.a} 1/1h limits=table:l\naction put remember x {match.b} 1h\naction no REJECT\n"
        "access busy no\naccess !busy put\n",
    )
    assert find_warnings(model, declarations) == []


def test_lists_that_are_filled_and_asked_otherwise():
    """A name that was misspelt, and keys that can never be equal; a list that only a command fills is fine."""
    more = (
        "acl caught listed trapd {client_address}\nacl pair listed pairs {client_address} {sender}\n"
        "acl by_hand listed friends {client_address}\naction trap remember trapped {client_address} 1h\n"
        "action both remember pairs {client_address} 1h\n"
    )
    rules = "access caught no\naccess by_hand pass\naccess bad trap\naccess bad both\naccess pair no\n"
    (misspelt, _, rest), (unlike, _, _) = memory_warnings(rules, more)
    assert misspelt == 'policy.conf:17:5: warning: no action remembers anything in the list "trapd"'
    assert 'did you mean "trapped"?' in rest
    assert unlike == 'policy.conf:25:1: warning: the list "pairs" is asked by keys of 2 parts, but both has 1 part'
