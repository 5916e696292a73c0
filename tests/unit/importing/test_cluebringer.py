"""policyd version 2: policies with their members, and each module's rows, become rules that decide the same."""

from __future__ import annotations

import itertools
import time

import pytest

from forkpolicy.importing.cluebringer.logic import ALWAYS, NEVER, TooManyError, both, either, negated, term
from tests.imported import Imported, draft_of, left_out

# What a fresh installation has, and some rows of an administrator.
BASE = """\
INSERT INTO policies (ID,Name,Priority,Disabled) VALUES (1,'Default',0,0),(2,'Default Outbound',10,0),
 (3,'Default Inbound',10,0),(4,'Default Internal',20,0),(5,'Test',50,1),(6,'boss',60,0);
INSERT INTO policy_members (ID,PolicyID,Source,Destination,Disabled) VALUES (1,1,NULL,NULL,0),
 (2,2,'%internal_ips,%internal_domains','!%internal_domains',0),
 (3,3,'!%internal_ips,!%internal_domains','%internal_domains',0),
 (4,4,'%internal_ips,%internal_domains','%internal_domains',0),(5,5,'any','any',0),
 (6,6,'$boss@example.com',NULL,0),(7,6,'192.0.2.0/24,*.boss.example','any',0);
INSERT INTO policy_groups (ID,Name,Disabled) VALUES (1,'internal_ips',0),(2,'internal_domains',0);
INSERT INTO policy_group_members (ID,PolicyGroupID,Member,Disabled) VALUES (1,1,'10.0.0.0/8',0),
 (2,2,'@example.com',0),(3,2,'anna@example.net',0),(4,2,'@gone.example',1);
"""
INSIDE = {"client_address": "10.1.2.3", "sender": "a@example.com"}
OUTSIDE = {"client_address": "203.0.113.5", "sender": "x@example.org", "recipient": "b@example.com"}


@pytest.fixture
def serve(tmp_path):
    """A function that lets rows beside BASE decide."""
    made = []

    def start(rows, **more):
        made.append(
            Imported(tmp_path / f"policy{len(made)}", draft_of("cluebringer", {"dump.sql": BASE + rows, **more}))
        )
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_conditions_are_boolean_algebra():
    """Conjunctions, alternatives and negations hold for exactly the same assignments."""
    names = ["a", "b", "c"]
    made = either(both(term("a"), term("!b")), both(term("b"), term("c")), term("!c"))

    def holds(condition, values):
        return any(all(values[n.removeprefix("!")] is not n.startswith("!") for n in terms) for terms in condition)

    for bits in itertools.product((True, False), repeat=3):
        values = dict(zip(names, bits, strict=True))
        expected = (values["a"] and not values["b"]) or (values["b"] and values["c"]) or not values["c"]
        assert holds(made, values) is expected
        assert holds(negated(made), values) is not expected
    assert (negated(ALWAYS), negated(NEVER)) == (NEVER, ALWAYS)
    assert both(term("a"), term("!a")) == NEVER


def test_a_condition_that_explodes_is_refused():
    """A condition that would become hundreds of rules is refused."""
    with pytest.raises(TooManyError):
        both(*(either(term(f"a{n}"), term(f"b{n}")) for n in range(8)))


def test_access_control_goes_by_members_and_priority(serve):
    """Access control goes by members and priority; sources and destinations must all match, members any."""
    policy = serve(
        "INSERT INTO access_control (ID,PolicyID,Name,Verdict,Data,Disabled) VALUES (1,6,'b','HOLD','look',0),"
        "(2,3,'in','REJECT','554 5.7.1 No',0),(3,2,'out','DEFER','x',1),(4,4,'int','ok','',0),(5,5,'t',"
        "'REJECT','t',0);\n"
    )
    assert policy.reply(**OUTSIDE) == "554 5.7.1 No"
    assert policy.reply(**{**OUTSIDE, "sender": "x@example.com"}) == "DUNNO"
    assert policy.reply(**{**OUTSIDE, "client_address": "10.9.9.9"}) == "DUNNO"
    assert policy.reply(**{**OUTSIDE, "recipient": "anna@example.net"}) == "554 5.7.1 No"
    assert policy.reply(**{**OUTSIDE, "recipient": "anna+x@example.net"}) == "DUNNO"
    assert policy.reply(**{**OUTSIDE, "recipient": "b@gone.example"}) == "DUNNO"
    assert policy.reply(**INSIDE, recipient="b@example.com") == "OK"
    assert policy.reply(sasl_username="boss@example.com", recipient="c@example.org") == "HOLD look"
    boss = {"client_address": "192.0.2.7", "recipient": "c@example.org"}
    assert policy.reply(**boss, reverse_client_name="a.b.boss.example") == "HOLD look"
    assert policy.reply(**boss, reverse_client_name="boss.example") == "DUNNO"


def test_pass_ends_access_control_alone(serve):
    """PASS ends access control, and the other modules go on."""
    policy = serve(
        "INSERT INTO access_control (ID,PolicyID,Name,Verdict,Data) VALUES (1,3,'in','PASS',''),(2,6,'b',"
        "'REJECT','boss');\n"
        "INSERT INTO quotas (ID,PolicyID,Name,Track,Period,Verdict) VALUES (1,3,'q','Sender:user@domain',60,"
        "'DEFER');\n"
        "INSERT INTO quotas_limits (ID,QuotasID,Type,CounterLimit) VALUES (1,1,'MessageCount',1);\n"
    )
    assert policy.reply(**OUTSIDE, sasl_username="boss@example.com") == "DUNNO"
    assert policy.reply(**OUTSIDE) == "DEFER Policy rejection; Message count quota exceeded"
    assert policy.reply(**{**OUTSIDE, "recipient": "c@example.org"}, sasl_username="boss@example.com") == "REJECT boss"


def test_names_of_helo(serve):
    """Names that are none, that nobody may use, that change too often."""
    policy = serve(
        "INSERT INTO checkhelo (ID,PolicyID,Name,UseBlacklist,BlacklistPeriod,UseHRP,HRPPeriod,HRPLimit,"
        "RejectInvalid,RejectIP)"
        " VALUES (1,3,'h',1,86400,1,3600,2,1,1);\n"
        "INSERT INTO checkhelo_blacklist (ID,Helo) VALUES (1,'me.example');\n"
        "INSERT INTO checkhelo_whitelist (ID,Source) VALUES (1,'SenderIP:198.51.100.0/24');\n"
    )
    refused = "REJECT Invalid HELO/EHLO; "
    assert policy.reply(**OUTSIDE, helo_name="192.0.2.1").startswith(f"{refused}Must be a FQDN")
    assert policy.reply(**OUTSIDE, helo_name="pc").endswith("not 'pc'")
    assert policy.reply(**INSIDE, helo_name="pc") == "DUNNO"
    assert policy.reply(**{**OUTSIDE, "client_address": "198.51.100.9"}, helo_name="pc") == "DUNNO"
    one = {**OUTSIDE, "client_address": "203.0.113.20"}
    assert policy.reply(**one, helo_name="[203.0.113.20]") == "DUNNO"
    assert policy.reply(**one, helo_name="a.example") == "DUNNO"
    assert policy.reply(**one, helo_name="b.example") == f"{refused}HRP limit exceeded"
    two = {**OUTSIDE, "client_address": "203.0.113.21"}
    assert policy.reply(**two, helo_name="ME.example") == f"{refused}Blacklisted"
    assert policy.reply(**two, helo_name="other.example") == f"{refused}Blacklisted"
    policy.now_s += 86401
    assert policy.reply(**two, helo_name="other.example") == "DUNNO"


def test_a_policy_of_higher_priority_overrides_settings(serve):
    """Greylisting of inbound mail, another delay for one login, none for a network."""
    policy = serve(
        "INSERT INTO greylisting (ID,PolicyID,Name,UseGreylisting,GreylistPeriod,Track,GreylistAuthValidity,"
        "GreylistUnAuthValidity)"
        " VALUES (1,3,'g',1,240,'SenderIP:/24',604800,86400),(2,6,'b',NULL,60,'SenderIP:/24',NULL,NULL);\n"
        "INSERT INTO greylisting_whitelist (ID,Source) VALUES (1,'SenderIP:198.51.100.7'),(2,'nonsense');\n"
    )
    later = "451 4.7.1 Greylisting in effect, please come back later"
    boss = {**OUTSIDE, "sender": "boss@example.org", "sasl_username": "boss@example.com"}
    assert policy.reply(**OUTSIDE) == later
    assert policy.reply(**boss) == later
    assert policy.reply(**INSIDE) == "DUNNO"
    assert policy.reply(**{**OUTSIDE, "client_address": "198.51.100.7"}) == "DUNNO"
    policy.now_s += 60
    assert policy.reply(**boss) == "DUNNO"
    assert policy.reply(**OUTSIDE) == later
    policy.now_s += 180
    assert policy.reply(**OUTSIDE) == "DUNNO"


def test_quotas_count_by_their_keys_until_the_last_one(serve):
    """Quotas count by their keys; behind LastQuota nothing counts the same mail."""
    policy = serve(
        "INSERT INTO quotas (ID,PolicyID,Name,Track,Period,Verdict,Data,LastQuota) VALUES"
        " (1,1,'net','SenderIP:/24',60,'REJECT',NULL,0),(2,3,'rcpt','Recipient:@domain',3600,'DEFER','450 "
        "4.7.1 slow',1),"
        " (3,4,'all','Policy',60,'DISCARD','x',0),(4,6,'never','Recipient:user@domain',60,'REJECT','no',0);\n"
        "INSERT INTO quotas_limits (ID,QuotasID,Type,CounterLimit,Disabled) VALUES (1,1,'MessageCount',4,0),"
        " (2,2,'MessageCount',2,0),(3,3,'MessageCount',1,0),(4,4,'MessageCount',1,0),(5,1,'MessageCount',1,1),"
        " (6,2,'MessageCumulativeSize',1,0);\n"
    )
    net = [
        policy.reply(client_address=f"203.0.113.{n}", sender=f"{n}@one.example", recipient="x@two.example")
        for n in range(5)
    ]
    assert net == ["DUNNO"] * 4 + ["REJECT Policy rejection; Message count quota exceeded"]
    policy.now_s += 120
    inbound = [
        policy.reply(**{**OUTSIDE, "recipient": f"{n}@example.com"}, sasl_username="boss@example.com") for n in range(3)
    ]
    assert inbound == ["DUNNO", "DUNNO", "450 4.7.1 slow"]
    inside = [policy.reply(**{**INSIDE, "sender": f"{n}@example.com"}, recipient="x@example.com") for n in range(2)]
    assert inside == ["DUNNO", "DISCARD x"]
    boss = {"sasl_username": "boss@example.com", "sender": "", "recipient": "r@three.example"}
    assert [policy.reply(**boss, client_address="198.51.100.77") for _ in range(2)] == ["DUNNO", "REJECT no"]
    policy.now_s += 7200
    size = {**OUTSIDE, "protocol_state": "END-OF-MESSAGE", "recipient_count": "1"}
    assert policy.reply(**size, size="1024") == "DUNNO"
    assert policy.reply(**size, size="1") == "450 4.7.1 slow"


def test_spf_refuses_what_it_refused():
    """SPF has its two replies, and the header is left out."""
    pytest.importorskip("pycares", reason="the extra `dns` is not installed")
    draft = draft_of(
        "cluebringer",
        {
            "d.sql": BASE
            + "INSERT INTO checkspf (ID,PolicyID,UseSPF,RejectFailedSPF,AddSPFHeader) VALUES (1,3,1,1,1);\n"
        },
    )
    assert "acl spf_failed spf fail permerror" in draft.policy_text()
    assert [what for _, what in left_out(draft)] == ["AddSPFHeader"]


def test_what_has_no_equal_is_left_out_with_its_row():
    """Peers, loops, bad verdicts, calendars, amavis: each with its line."""
    rows = (
        "INSERT INTO policies (ID,Name,Priority) VALUES (7,'odd',70);\n"
        "INSERT INTO policy_members (ID,PolicyID,Source) VALUES (20,7,'[10.0.0.1]'),(21,7,'%a'),(22,7,"
        "'300.1.2.3'),(23,7,'10.1');\n"
        "INSERT INTO policy_groups (ID,Name) VALUES (7,'a'),(8,'b');\n"
        "INSERT INTO policy_group_members (PolicyGroupID,Member) VALUES (7,'%b'),(8,'%a'),(8,'what is this');\n"
        "INSERT INTO access_control (ID,PolicyID,Name,Verdict,Data) VALUES (1,1,'x','MAYBE',''),(2,2,'y',"
        "'FILTER','nothing');\n"
        "INSERT INTO quotas (ID,PolicyID,Name,Track,Period,Verdict) VALUES (1,1,'q','Weather',60,'REJECT');\n"
        "INSERT INTO accounting (ID,PolicyID,Name) VALUES (1,1,'a');\nINSERT INTO amavis_rules (ID,PolicyID) "
        "VALUES (1,1);\n"
    )
    draft = draft_of("cluebringer", {"d.sql": rows + BASE})
    lines = [place for place, _ in left_out(draft)]
    assert lines == ["d.sql:2"] * 2 + ["d.sql:2"] * 2 + ["d.sql:5"] * 2 + ["d.sql:6", "d.sql:7", "d.sql:8"]
    assert all(each.reason for each in draft.left_out)


def test_modules_that_are_off_are_not_carried_over():
    """cluebringer.conf says which modules are on, and what greylisting replies."""
    conf = "[server]\nmodules=<<EOT\n[AccessControl]\nenable=0\n[CheckHelo]\n#enable=1\n[Quotas]\n"
    conf += "[Greylisting]\nenable=yes\ndefer_message=Later\n"
    rows = (
        "INSERT INTO access_control (ID,PolicyID,Name,Verdict) VALUES (1,3,'in','REJECT');\n"
        "INSERT INTO greylisting (ID,PolicyID,UseGreylisting,GreylistPeriod,Track,GreylistAuthValidity,"
        "GreylistUnAuthValidity)"
        " VALUES (1,3,1,240,'SenderIP:/32',604800,86400);\n"
    )
    text = draft_of("cluebringer", {"d.sql": BASE + rows, "cluebringer.conf": conf}).policy_text()
    assert "REJECT" not in text
    assert "action greylist DEFER Later" in text
    assert "mask=/32,/128" in text


def test_a_large_group_is_a_table():
    """Thousands of networks and domains of a group are tables, and one ACL each."""
    members = ",".join(f"({n}, 1, '10.{n // 256}.{n % 256}.0/24')" for n in range(3000))
    members += "".join(f",({9000 + n}, 2, 'u{n}@d{n}.example')" for n in range(3000))
    rows = f"INSERT INTO policy_group_members (ID,PolicyGroupID,Member) VALUES {members};\n"
    rows += "INSERT INTO access_control (ID,PolicyID,Name,Verdict) VALUES (1,3,'in','REJECT');\n"
    draft = draft_of("cluebringer", {"d.sql": BASE + rows})
    assert draft.entries > 6000
    assert len(draft.policy_text()) < 3000


def test_a_module_that_is_not_enabled_is_named():
    """Rows of a module that the server does not run are not carried over, and the module is named."""
    rows = "INSERT INTO access_control (ID,PolicyID,Name,Verdict) VALUES (1,3,'in','REJECT');\n"
    conf = "[AccessControl]\nenable=0\n[Quotas]\nenable=1\n"
    draft = draft_of("cluebringer", {"d.sql": BASE + rows, "cluebringer.conf": conf})
    texts = [note.text for note in draft.notes]
    assert "access_control: not carried over, since cluebringer.conf does not enable [AccessControl]" in texts
    assert draft.rules == 0


def test_many_policies_are_read_in_linear_time():
    """Ten thousand policies with a member and a verdict each are as many rules, in seconds."""
    numbers = range(10, 10_010)
    rows = "".join(
        f"INSERT INTO {table} ({columns}) VALUES {','.join(value.format(n=n) for n in numbers)};\n"
        for table, columns, value in (
            ("policies", "ID,Name,Priority", "({n},'p{n}',{n})"),
            ("policy_members", "ID,PolicyID,Source", "({n},{n},'@d{n}.example')"),
            ("access_control", "ID,PolicyID,Name,Verdict,Data", "({n},{n},'r','REJECT','no')"),
        )
    )
    began_s = time.process_time()
    assert draft_of("cluebringer", {"d.sql": rows}).rules == 10_000
    assert time.process_time() - began_s < 10
