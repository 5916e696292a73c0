"""Rule files of postfwd become policies that decide as it does (tests/process/test_import_postfwd.py asks it), and what
has no equal is left out with its place and the reason.
"""

from __future__ import annotations

import pytest

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs
from forkpolicy.importing.postfwd import FORMAT
from tests.fakes import TextFiles, decide, policy_of

MAIL = {
    "protocol_state": "RCPT",
    "client_address": "192.0.2.7",
    "client_name": "mail.example.org",
    "helo_name": "mail.example.org",
    "sender": "anna@example.org",
    "recipient": "info@example.com",
    "size": "100",
    "sasl_username": "",
}


def draft_of(rules, files=None):
    """The draft of a rule file; it has to load."""
    draft = Draft()
    FORMAT.read(Inputs(("postfwd.cf",), TextFiles({"postfwd.cf": rules, **(files or {})})), draft)
    return checked(draft)


def statements(rules, files=None):
    """The statements of the policy, without comments."""
    return [line for line in draft_of(rules, files).policy_text().splitlines() if line[:1] not in ("#", "")]


def reply(rules, files=None, **attributes):
    """What the policy replies to a request. Nothing may be left out."""
    draft = draft_of(rules, files)
    assert draft.left_out == []
    return decide(policy_of(draft.policy_text()), **{**MAIL, **attributes})


def left_out(rules):
    """Lines and reasons."""
    return [(each.origin.line, each.reason) for each in draft_of(rules).left_out]


def notes(rules):
    """What is to be known about rules that are carried over."""
    return " ".join(each.text for each in draft_of(rules).notes)


def test_rules_keep_comments_order_and_places():
    """Rules keep comments order and places."""
    draft = draft_of("# friends\nid=WL\n  client_address=192.0.2.0/24\n  action=dunno\n# the rest\naction=REJECT no\n")
    assert draft.policy_text() == (
        "# friends\n# postfwd.cf:2\nacl client_address_192.0.2.0_24 client_address 192.0.2.0/24\naction dunno dunno\n"
        "access client_address_192.0.2.0_24 dunno\n# the rest\n# postfwd.cf:6\naction default REJECT no\n"
    )
    assert not draft.left_out


@pytest.mark.parametrize(
    "rules",
    [
        "id=A; sender==anna@example.org; action=REJECT no",
        "id=A; \\\n sender==anna@example.org; \\\n action=REJECT no",
        "id=A\n\tsender==anna@example.org\n\taction=REJECT no",
        'id="A"; sender == "Anna@Example.org" ;action=REJECT no # not now',
        "&&ANNA {\n  sender==anna@example.org\n};\nid=A; &&ANNA; action=REJECT no",
        "&&ANNA { sender==anna@example.org; };\n&&X { &&ANNA; action=REJECT no }\nid=A; &&X",
    ],
)
def test_one_rule_in_several_spellings(rules):
    """One rule means the same in each of its spellings."""
    assert reply(rules) == "REJECT no"
    assert reply(rules, sender="bob@example.org") == "DUNNO"


@pytest.mark.parametrize(
    ("items", "met", "not_met"),
    [
        ("sender=@example\\.org$", {}, {"sender": "anna@example.org.example"}),
        ("sender==<>", {"sender": ""}, {}),
        ("sender=^<>$", {"sender": ""}, {}),
        ("sender_domain==example.org", {}, {"sender": "anna@mail.example.org"}),
        ("sender_domain=^mail\\.", {"sender": "anna@mail.example.org"}, {"sender": "mail.@example.org"}),
        ("recipient_localpart=^in", {}, {"recipient": "a.in@example.com"}),
        ("helo_name==!!$$client_name", {"helo_name": "x"}, {"helo_name": "MAIL.example.org"}),
        ("sasl_username!=bob", {"sasl_username": "anna"}, {"sasl_username": ""}),
        ("sasl_username==!!bob", {}, {"sasl_username": "bob"}),
        ("size>=100", {}, {"size": "99"}),
        ("size=100; size==7", {"size": "7"}, {"size": "8"}),
        ("client_address=198.51.100.9/24, 192.0.2.7", {}, {"client_address": "192.0.2.8"}),
        ("client_address==0.0.0.0/0; sender==anna@example.org", {"client_address": "2001:db8::1"}, {"sender": ""}),
        ("client_port==25", {"client_port": "25"}, {"client_port": "26"}),
        ("server_address==192.0.2.1", {"server_address": "192.0.2.1"}, {"server_address": "192.0.2.2"}),
        ("sasl_username!=!!bob", {"sasl_username": "bob"}, {"sasl_username": "anna"}),
        ("sasl_username!=bob; sasl_username==bob", {"sasl_username": "x"}, {"sasl_username": ""}),
        ("client_name==unknown; client_name=~dsl", {"client_name": "a-dsl.example"}, {}),
    ],
)  # fmt: skip
def test_items(items, met, not_met):
    """An item is met by what postfwd lets it be met by."""
    rules = f"id=A; {items}; action=REJECT no"
    assert reply(rules, **met) == "REJECT no"
    assert reply(rules, **not_met) == "DUNNO"


def test_values_stand_in_files():
    """Values stand in files."""
    files = {"/etc/clients": "192.0.2.0/25 # ours\n\ntable:/etc/more\n", "/etc/more": "198.51.100.1  OK\n"}
    rules = "id=A; client_address=file:/etc/clients; action=REJECT no"
    assert reply(rules, files) == "REJECT no"
    assert reply(rules, files, client_address="198.51.100.1") == "REJECT no"
    assert reply(rules, files, client_address="198.51.100.2") == "DUNNO"


def test_texts_name_what_the_request_has():
    """Texts name what the request has."""
    rules = "id=A; helo_name=example; action=REJECT $$helo_name of $$(sender) {x} $$nosuch $$client_name"
    assert reply(rules) == "REJECT $$helo_name of anna@example.org {x} $$nosuch mail.example.org"
    assert reply(rules, sender="") == "REJECT $$helo_name of <> {x} $$nosuch mail.example.org"


def test_jumps_pass_over_rules():
    """Jumps pass over rules."""
    rules = (
        "id=A; client_address=192.0.2.0/24; action=jump(C)\nid=B; action=REJECT b\nid=C; sender=anna; action=WARN c\n"
    )
    assert reply(rules) == "WARN c"
    assert reply(rules, client_address="198.51.100.1") == "REJECT b"


def test_variables_are_the_terms_of_the_rules_that_set_them():
    """Variables are the terms of the rules that set them."""
    rules = "id=A; helo_name=example; action=set(HIT=1)\nid=B; HIT==1; sender=anna; action=REJECT b\n"
    assert reply(rules) == "REJECT b"
    assert reply(rules, helo_name="x") == "DUNNO"


def test_scores_end_a_request_where_they_reach_a_limit():
    """Scores end a request where they reach a limit."""
    rules = "id=L; score=3; action=HOLD\nid=A; sender=anna; action=score(0.1)\nid=B; size>50; action=score(2.9)\n"
    assert reply(rules) == "HOLD"
    assert reply(rules, sender="") == "DUNNO"
    # "5.0" comes before "10.0" in postfwd's order, and a limit of 5.0 is always there.
    assert (
        reply("id=L; score=10.0; action=HOLD\nid=A; sender=anna; action=score(12)")
        == "554 5.7.1 postfwd score exceeded"
    )


def test_limits_of_the_score_are_carried_over_or_listed():
    """A limit of the score behind rules that add to it is listed itself, and they name its line."""
    rules = "id=A; sender=anna; action=score(4)\nid=B; score>=5; action=HOLD\nid=C; score=6; size>1; action=HOLD\n"
    added, *limits = left_out(rules)
    assert added == (1, "the score, or its limits, are changed at postfwd.cf:2, which is left out")
    assert [line for line, reason in limits if reason.startswith("a limit of the score behind")] == [2, 3]


def test_limits_count_for_each_rule_apart():
    """Limits count for each rule apart."""
    rules = "".join(f"id={each}; size>{each}; action=rate(sender/10/60/450 later)\n" for each in (1, 2))
    limits = [line for line in statements(rules) if " rate " in line]
    assert limits == [f"acl {each}_limit rate {{sender}} 10/60s count=requests" for each in (1, 2)]
    assert "fixed windows" in notes(rules)


def test_services_and_lists():
    """Other servers and DNS lists are asked as postfwd asks them."""
    assert "acl G service inet:127.0.0.1:10023 " in " ".join(statements("id=G; action=ask(127.0.0.1:10023:^dunno)"))
    rules = r"id=R; rblcount=2; rbl=bl.example.com, bl.example.org/^127\.0\.0\.([2-4]|9)$/3600; action=REJECT"
    assert "acl R_rbl rbl >=2 bl.example.com bl.example.org=127.0.0.2-4,127.0.0.9" in statements(rules)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("id=A; sender==a@example.com; action=REJECT x; ", "a blank behind its last semicolon"),
        ("id=A;; sender==a@example.com; action=REJECT x", "nothing between two semicolons"),
        ("id=A; action=REJECT (see example.com)", "postfwd never replies so"),
        ("id=A; sender==a@example.com", "without an action"),
        ("id=A; &&NONE; action=REJECT", "&&NONE is not defined"),
        ("id=A; sender; action=REJECT", "compares nothing"),
        ("id=A; days=Sat-Sun; action=REJECT", "goes over the end"),
        ("id=A; time=22:00:00-06:00:00; action=REJECT", "goes over midnight"),
        ("id=A; sender=<>; action=REJECT", "a comparison of numbers"),
        ("id=A; sender=(?!a)b; action=REJECT", "look-around"),
        ("id=A; sender=(a)\\1; action=REJECT", "back-references"),
        ("id=A; client_address=192.0.2.1 192.0.2.2; action=REJECT", "is not an address or a network"),
        ("id=A; client_name=$$helo_name; action=REJECT", "any character in place of its dots"),
        ("id=A; sender=a; action=REJECT $$(nosuch)", "without end"),
        ("id=A; sender=a; action=greylist", "is not an action of access(5)"),
        ("id=A; sender=a; action=wait(3)", "nothing here does what wait() does"),
        ("id=A; sender=a; action=jump(A)", "a jump backwards"),
        ("id=A; sender=a; action=set(V=$$size)", "not a constant"),
        ("id=A; plugin_item>3; action=REJECT", "a comparison of numbers"),
        ("id=A; helo_address=192.0.2.1; action=REJECT", "asks the DNS"),
        ("id=A; sender=file:/nonexistent/file; action=REJECT", "/nonexistent/file"),
        ("id=A; protocol_state==SMTP; action=REJECT", "is not a protocol state"),
        ("id=A; client_port=25; action=REJECT", "takes no expressions here"),
        ("id=A; mail_version==3.9; action=REJECT", "compared as a text"),
        ("id=A; sender=a; action=rate(sender/x/60/450 a)", "whole numbers"),
    ],
)
def test_what_has_no_equal_is_left_out(rule, reason):
    """What has no equal is left out."""
    ((line, found),) = left_out(f"\n{rule}\n")
    assert line == 2
    assert reason in found


def test_a_rule_that_needs_one_that_is_left_out_is_left_out():
    """A rule that needs one that is left out is left out."""
    rules = "id=A; sender=(?!a)b; action=set(HIT=1)\nid=B; HIT==1; action=REJECT\n"
    assert [line for line, _ in left_out(rules)] == [1, 2]
    assert "is set at postfwd.cf:1, which is left out" in left_out(rules)[1][1]


def test_a_macro_whose_name_begins_another_is_refused():
    """A macro whose name begins another is refused."""
    rules = "&&RB { sender=a; };\n&&RBL { sender=b; };\nid=A; &&RB; &&RBL; action=REJECT\n"
    assert "takes &&RBL for &&RB" in left_out(rules)[0][1]


def test_macros_that_contain_themselves_end():
    """Macros that contain themselves end."""
    assert "contains itself" in left_out("&&A { &&A; size=1; };\nid=A; &&A; action=REJECT\n")[0][1]


def test_differences_are_reported_once():
    """Differences are reported once."""
    rules = "".join(f"id={each}; recipient=!!{each}x; action=REJECT\n" for each in "ab")
    assert notes(rules).count("is empty to postfwd") == 1
    assert "(and 1 other place)" in notes(rules)


def test_a_number_of_listings_is_asked_for_where_it_is_compared():
    """A rule that counts listings in a variable becomes an ACL of the rules that compare it."""
    rules = (
        "id=A; rblcount=all; rbl=bl.example.com; rbl=bl.example.org; action=set(HIT=$$rblcount)\n"
        "id=B; HIT>=2; action=REJECT\nid=C; HIT>0; helo_name==unknown; action=HOLD\n"
    )
    assert left_out(rules) == []
    found = statements(rules)
    assert "acl A_rbl rbl >=2 bl.example.com bl.example.org" in found
    assert "acl A_rbl_2 rbl bl.example.com bl.example.org" in found
    assert left_out(rules + "id=D; HIT==1; action=REJECT\n")[0][1].startswith("HIT is a number of listings")


def test_two_ends_of_a_range_are_reported():
    """What was meant as a range holds for every number, and a note says so."""
    assert "are alternatives" in notes("id=A; size>=100; size<=200; action=REJECT")


def test_files_of_postfwd_are_recognised():
    """Files of postfwd are recognised."""
    assert FORMAT.looks_like("# x\nid=A; sender=a; action=REJECT\n")
    assert FORMAT.looks_like("&&A {\n sender=a\n}\n")
    assert not FORMAT.looks_like("acl a sender b\naction r REJECT\naccess a r\n")
