"""Edges of the language, where one character of the code makes a difference that no other test saw."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.policy.load import check_on_error, declared_tables
from forkpolicy.policy.matchers.types import ANY_TEXT, EXAMPLES, TYPES
from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.state.memory import MemoryStore
from tests.fakes import DictTable, TextFiles, decide, diagnostics_of, policy_of, request_of


@pytest.mark.parametrize(
    ("acl", "attributes", "holds"),
    [
        ("size <1k", {"size": "1023"}, True),
        ("size <1k", {"size": "1024"}, False),
        ("size <=1k", {"size": "5"}, True),
        ("size <=1k", {"size": "1025"}, False),
        ("size >=1k", {"size": "1024"}, True),
        ("size >=1k", {"size": "1023"}, False),
        ("size =5", {"size": "5"}, True),
        ("size =5", {"size": "6"}, False),
        ("size =5", {"size": "4"}, False),
        ("size 5b", {"size": "6"}, True),
        ("size 1K-2K", {"size": "1024"}, True),
        ("size 1K-2K", {"size": "1023"}, False),
        ("size 1g", {"size": str(1 << 30)}, False),
        ("size 1g", {"size": str((1 << 30) + 1)}, True),
        ("size >1 <0", {"size": "2"}, True),
        ("size 5", {"size": "999999999999999999"}, True),
        ("size <5", {"size": "1000000000000000000"}, False),
        ("size =1000000000000000000000", {"size": "1000000000000000000000"}, False),
        ("sender u@example.net example.com", {"sender": "a@b@example.com"}, True),
        ("sender u@example.net example.com", {"sender": "u@example.net"}, True),
        ("sender u@example.net example.com", {"sender": "v@example.net"}, False),
        ("sender u@example.net example.com", {"sender": "example.com"}, False),
        ("sender <> example.com", {"sender": ""}, True),
        ("sender u@ example.com", {"sender": "u@elsewhere.example"}, True),
        ("sender u@ example.com", {"sender": "v@elsewhere.example"}, False),
        ("sender .example.net example.com", {"sender": "u@a.b.example.net"}, True),
        ("client_name mail.example.com .example.net", {"client_name": "a.example.net"}, True),
        ("client_name a.example.com", {"client_name": "b.a.example.com"}, False),
        ("client_address 192.0.2.1 198.51.100.0/24", {"client_address": "192.0.2.2"}, False),
        ("client_address 192.0.2.1 192.0.2.3", {"client_address": "192.0.2.3"}, True),
        ("client_address 192.0.2.0/25 192.0.2.64/26", {"client_address": "192.0.2.127"}, True),
        ("client_address 192.0.2.0/25 192.0.2.64/26", {"client_address": "192.0.2.128"}, False),
        ("client_address {server_address}", {"client_address": "::1", "server_address": "0:0::1"}, True),
        ("client_address {server_address}", {"client_address": "::1", "server_address": "::2"}, False),
        ("sender {recipient}", {"sender": "B@Example.com."}, True),
        ("sasl_username {sasl_method}", {"sasl_username": "PLAIN", "sasl_method": "plain"}, True),
        ("authenticated", {"sasl_method": "PLAIN"}, True),
        ("authenticated", {}, False),
        ("encrypted", {"encryption_protocol": ""}, False),
        ("null_sender", {"sender": "a@example.com"}, False),
        ("sasl_method (PLAIN|LOGIN) CRAM-MD5", {"sasl_method": "cram-md5"}, True),
        ("sasl_method (PLAIN|LOGIN) CRAM-MD5", {"sasl_method": "cram-md"}, False),
        ("protocol_state MAIL rcpt", {}, True),
        ("protocol_state MAIL", {}, False),
        ("stress", {"stress": "yes"}, True),
        ("stress", {"stress": ""}, False),
        ("stress yes", {"stress": "no"}, False),
        ("log", {}, True),
    ],
    ids=str,
)
def test_an_acl_holds_at_its_edges(acl, attributes, holds):
    """On each side of each bound, compiled, indexed and exactly."""
    text = f"acl x {acl}\naction y OK\naccess x y\n"
    assert decide(policy_of(text), **attributes) == ("OK" if holds else "DUNNO")


@pytest.mark.parametrize(
    ("values", "at", "holds"),
    [
        ("time 08:30-17:45", "2026-11-25T08:29", False),
        ("time 08:30-17:45", "2026-11-25T08:30", True),
        ("time 08:30-17:45", "2026-11-25T17:44", True),
        ("time 08:30-17:45", "2026-11-25T17:45", False),
        ("time 22:15-06:10", "2026-11-25T22:14", False),
        ("time 22:15-06:10", "2026-11-25T22:15", True),
        ("time 22:15-06:10", "2026-11-25T06:09", True),
        ("time 22:15-06:10", "2026-11-25T06:10", False),
        ("time 00:00-24:00", "2026-11-25T23:59", True),
        ("time 08:00-09:00 23:00-24:00", "2026-11-25T23:30", True),
        ("day sat-mon", "2026-11-29T12:00", True),
        ("day sat-mon", "2026-11-30T12:00", True),
        ("day sat-mon", "2026-12-01T12:00", False),
        ("day sun-sun", "2026-11-29T12:00", True),
        ("day sun-sun", "2026-11-28T12:00", False),
        ("day ta", "2026-11-28T12:00", True),
        ("day m", "2026-11-30T12:00", True),
        ("day MON", "2026-11-30T12:00", True),
        ("day thu", "2026-11-26T12:00", True),
        ("day thu", "2026-11-24T12:00", False),
    ],
)
def test_days_and_times_at_their_edges(values, at, holds):
    """The minute before and the minute of each end; ranges over the end of the week."""
    now = datetime.fromisoformat(f"{at}+00:00").timestamp()
    policy = policy_of(f"acl x {values} tz=UTC\naction y OK\naccess x y\n", clock=lambda: now)
    assert decide(policy) == ("OK" if holds else "DUNNO")


def test_the_explanation_of_a_time_says_when_it_is():
    """Which span holds, and the day and time in the zone that counts."""
    now = datetime(2026, 7, 1, 12, 30, tzinfo=UTC).timestamp()
    policy = policy_of("acl x time 14:00-15:00 tz=Europe/Madrid\naccess x\n", clock=lambda: now)
    finding = policy.model.acls["x"].find({})
    assert finding.text == "14:00-15:00 at Wednesday 14:30 CEST"
    assert str(finding.place) == "policy.conf:1"


MISTAKES = [
    ("zzzz a", 'unknown statement "zzzz": expected table, acl, action, access, include\n', "did you mean"),
    (
        "table t zzzz f",
        'unknown kind of table "zzzz": expected cidr, domain, address, key or pair:COLUMN,COLUMN\n',
        "did you mean",
    ),
    ("acl x helo_name {client_nam}", 'unknown attribute "client_nam"\n', 'did you mean "{client_name}"?'),
    ("acl x helo_name {sender_domian}", 'unknown attribute "sender_domian"\n', 'did you mean "{sender_domain}"?'),
    ("acl x sender_domain a.example", '"sender_domain" is a part of sender', "as in acl NAME table:T {sender_domain}"),
    ("acl x helo_name {qqqq}", 'unknown attribute "qqqq"\n', ""),
    (
        "acl x zzzz 1\nacl x size ten",
        "",
        'no Postfix known today sends an attribute "zzzz": the ACL may never be known\n',
    ),
    ("acl x sasl_user a\nacl y size ten", "", 'no Postfix known today sends an attribute "sasl_user"\n'),
    ("acl x sasl_user a\nacl y size ten", "", 'did you mean "sasl_username"?'),
    ("acl x ehlo a.example\nacl y size ten", "", 'did you mean "helo_name"?'),
    (
        "action a REJECT {qqqq}",
        'unknown name "{qqqq}": expected an attribute, {sender_domain} and the like, {match',
        "",
    ),
    ("acl x time \u0968:00-17:00", "is not a span of time: expected 08:00-17:00\n", ""),
    ("acl x time 24:00-08:00", "has no such time of day: expected 00:00 to 24:00\n", ""),
    ("acl x time 08:00-24:01", "has no such time of day", ""),
    ("acl x time 08:60-09:00", "has no such time of day", ""),
    ("acl x time 08:00-09:60", "has no such time of day", ""),
    ("acl x time 08:00-08:00", "is empty: the end is not included; a whole day is 00:00-24:00\n", ""),
    ("acl x day mon-blur", '"mon-blur" is not a day: expected monday, tuesday,', ""),
    ("acl x day blur-mon", '"blur-mon" is not a day', ""),
    ("acl x day mo", '"mo" is not a day', ""),
    ("acl x day tz=UTC", "day needs a value such as Monday-Friday next to tz=\n", ""),
    ("acl x time tz=UTC", "time needs a value such as 08:00-17:00 next to tz=\n", ""),
    ("acl x day mon tz=UTC tz=Europe/Madrid", "one ACL has one tz=: declare a second ACL for the other zone\n", ""),
    ("acl x score many", '"many" is not a comparison of a score: expected >N, >=N, <N, <=N or =N\n', ""),
    ("acl x size 2k-1k", "the range is reversed: did you mean 1k-2k?\n", ""),
    ("acl x null_sender yes", "null_sender takes no value\n", ""),
    ("table t cidr f\nacl x size 5 table:t", "is not a comparison", ""),
    (
        "table t cidr f\nacl x table:t {sender} recipient",
        "expected attributes in braces: acl pair table:NAME {sender}",
        "",
    ),
    ("table t key f\nacl x table:t", "expected attributes in braces", ""),
    (
        "table t cidr f\nacl x table:t {sender}",
        'table "t" is of kind cidr: {sender} needs domain or address or key\n',
        "",
    ),
    (
        "table t cidr f\nacl x table:t {sender} {recipient}",
        'table "t" is of kind cidr: attributes together need one of kind key or pair\n',
        "",
    ),
    ("acl x protocol_state QQQQ", '"QQQQ" is not a protocol state: expected CONNECT, EHLO', ""),
    ("action a score nan", 'score needs a number such as +2.5, got "nan"\n', ""),
    ("action a score 1e9", "score needs a number", ""),
    ("action default score 1", '"default" must be a reply, and a score is not one\n', ""),
    ("action default log x", '"default" must be a reply, and a log is not one', ""),
    ("action a {{x}}", '"{x}" is not an action of access(5)', ""),
    ("action a {sender} x", '"{sender}": the action itself is written out, names in braces stand in its text\n', ""),
    ("acl a sender @a.example\naction r OK\naccess r a", '"r" is an action: it stands at the end of the rule\n', ""),
    ("acl a sender @a.example\naccess b a\nacl b sender @b.example", 'acl "b" is declared later, in line 3:', ""),
    ("acl a sender @a.example\naction no OK\naccess b no", 'unknown acl "b"\n', ""),
    ("acl abc sender @a.example\naction y REJECT {match.abd}", 'unknown acl "abd" in "{match.abd}"\n', "{match.abc}"),
    (
        "acl a sender @a.example\naction y REJECT {match.a}",
        'acl "a" asks no table and remembers nothing, so "{match.a}" is always empty\n',
        "",
    ),
    ("include", "expected one path or pattern: include PATH-OR-GLOB, or include PATH restricted\n", ""),
    ("include a b", "expected one path or pattern", ""),
    ("access !", 'a "!" alone: write it directly before the name, as in !from_inside\n', ""),
]


@pytest.mark.parametrize(("text", "message", "hint"), MISTAKES, ids=[row[0][:50] for row in MISTAKES])
def test_what_a_mistake_says(text, message, hint):
    """Whole sentences, with the hint where something is near, and without one where nothing is."""
    told = "".join(f"{each}\n" for each in diagnostics_of(text))
    warned = []
    if not message:
        policy_of(text.partition("\n")[0] + "\n", warnings=warned)
        told = "".join(f"{each}\n" for each in warned)
    assert message in told
    assert (hint in told) is (hint != "did you mean")


def test_a_value_file_takes_one_value_a_line():
    """Two words are a mistake, at the second; a comment behind a value is none."""
    told = diagnostics_of(
        "acl x sender /l", files={"/l": "a@b.example # one\nc@d.example e@f.example\ng@h.example;x\n"}
    )
    assert told[0].startswith("/l:2:13: expected one value a line\n")
    assert len(told) == 2


def test_on_error_is_checked_where_it_stands():
    """A reply that Postfix would misread is a mistake of the settings file."""
    with pytest.raises(ConfigError, match=r"^/etc/x\.toml: on_error: .*did you mean \"REJECT\"") as raised:
        check_on_error("REJCT no", "/etc/x.toml")
    assert raised.value.exit_code == 78
    check_on_error("REJECT no", "/etc/x.toml")


class CountingTable(DictTable):
    """Counts what it is asked."""

    def __init__(self, name, kind, rows):
        super().__init__(name, kind, rows)
        self.asked = []

    def find(self, text):
        self.asked.append(text)
        return super().find(text)


def test_an_acl_is_asked_once_a_request():
    """However many lines ask for it: in generated code, by the index and in the exact evaluation."""
    lines = "access a !b r\naccess a b\naccess !a r\naccess b a r\naccess !b a r\n"
    text = "table t key x\nacl a sasl_username table:t\nacl b sender @b.example\naction r REJECT\n" + lines
    policy = policy_of(text, {"t": {"u": None}})
    for each in (policy, policy.indexed):
        table = CountingTable("t", "key", {"u": None})
        values = wanted_values(request_of(sasl_username="u", sender="x@b.example"), each.wanted)
        for matcher in each.model.acls["a"].matchers:
            matcher.lookup = table
        line = each.trace(values).outcome
        assert table.asked == ["u"]
        assert line.number == 1


class CountingStore(MemoryStore):
    """Counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def ask(self, question):
        self.asked.append(question.key)
        return super().ask(question)


def test_what_asking_does_is_done_wherever_the_line_stands_on_the_right():
    """An ACL that counts is asked though an ACL right of it does not hold; and only if all left of it does."""
    declared = (
        "acl a rate {sasl_username} 1/1h\nacl b sender @b.example @d.example\nacl c helo_name c.example\n"
        "action r REJECT\n"
    )
    policy = policy_of(f"{declared}access b a c r\n")
    for sender, asked in (("x@b.example", [("u",)]), ("x@a.example", [])):
        for each in (policy, policy.indexed):
            store = CountingStore()
            each.remember_in(store)
            each.decide(wanted_values(request_of(sasl_username="u", sender=sender), each.wanted))
            assert store.asked == asked


def test_an_acl_that_is_wrong_is_one_mistake():
    """An action that puts its match in says nothing more about it."""
    told = diagnostics_of("acl bad rbl\naction r REJECT {match.bad}\naccess bad r\n")
    assert len(told) == 1


def test_log_lines_and_scores_in_any_case():
    """LOG and Score are what log and score are; what they note is their text alone."""
    policy = policy_of(
        "acl us sender @example.com\nacl bad score >=2.5\naction try LOG would hit {sender}\naction plus Score 2.5\n"
        "action r Reject bad {sender_domain}\naccess us try\naccess us plus\naccess bad r\n"
    )
    assert decide(policy) == "REJECT bad example.com"
    values = wanted_values(request_of(), policy.wanted)
    policy.decide(values)
    assert [policy.text(each.rule, values) for each in policy.take_noted()] == ["would hit a@example.com"]
    verbs = {name: (action.kind, action.verb) for name, action in policy.model.actions.items()}
    assert verbs == {"try": ("log", "log"), "plus": ("score", "score"), "r": ("reply", "REJECT")}
    assert policy.take_noted() == []


@pytest.mark.parametrize(
    ("comparison", "fires"),
    [
        (">=3", True),
        (">3", False),
        ("3", False),
        ("<3", False),
        ("<=3", True),
        ("=3", True),
        ("=+3.0", True),
        (">-1", True),
    ],
)
def test_scores_compare_at_their_edges(comparison, fires):
    """A score of three, of two lines, against each operator."""
    policy = policy_of(
        f"acl us sender @example.com\nacl s score {comparison}\naction two score 2\naction one score +1\n"
        "action r REJECT\naccess us two\naccess us one\naccess s r\n"
    )
    assert decide(policy) == ("REJECT" if fires else "DUNNO")


def test_what_a_line_is_called_in_logs():
    """Its place, its ACLs with their marks, the silent ones left out, and its whole text."""
    policy = policy_of(
        "acl a sender @a.example\nacl b sender @b.example silent\nacl c sender @c.example\n"
        "action r REJECT\naccess !a b c r\n"
    )
    (line,) = policy.model.rules
    assert (line.where, line.shown_acls, line.text) == ("policy.conf:5", "!a c", "access !a b c r")
    assert policy.model.default_rule.where == "default"
    assert policy.model.error_rule.where == "on_error"
    assert policy.model.default_rule.number == 1


@pytest.mark.parametrize(("count", "chars"), [(1, 200), (2, 400), (3, 0)])
def test_texts_are_cut_at_a_whole_character(count, chars):
    """Values of two bytes a character: 450 bytes, and no half of a letter at the end."""
    policy = policy_of(f"acl x protocol_state RCPT\naction y 550 {'{sender}' * count}\naccess x y\n")
    said = decide(policy, sender="é" * 300)
    raw = said.encode()
    assert len(raw) <= 450
    assert said == "550 " + "é" * min(200 * count, (450 - 4) // 2)
    assert chars or len(raw) == 450


def test_an_odd_place_in_the_text_is_cut_before_the_letter():
    """449 bytes, where the letter would be the 450th and 451st."""
    policy = policy_of("acl x protocol_state RCPT\naction y 550 x{sender}{sender}{sender}\naccess x y\n")
    assert len(decide(policy, sender="é" * 300).encode()) == 449


def test_a_table_is_asked_for_what_fits_its_kind():
    """A domain table for the domain, an address table for the address, each from addresses and other texts."""
    text = "table d domain x\ntable k key x\n"
    text += "acl a sender table:d\nacl b sasl_username table:d\nacl c recipient table:k\nacl e helo_name table:d\n"
    text += "".join(
        f"action {name} OK {name}\naccess {name} {name}_\n".replace(f"action {name} ", f"action {name}_ ")
        for name in "abce"
    )
    policy = policy_of(text, {"d": {"d.example": None}, "k": {"u@k.example": None}})
    assert decide(policy, sender="u@D.example") == "OK a"
    assert decide(policy, sender="d.example") == "DUNNO"
    assert decide(policy, sasl_username="u@d.example") == "OK b"
    assert decide(policy, sasl_username="d.example") == "OK b"
    assert decide(policy, recipient="U@k.example") == "OK c"
    assert decide(policy, helo_name="d.example") == "OK e"


def test_findings_say_what_was_found_and_where():
    """The value of the policy and its place, or the entry of the table; the first, or the most specific."""
    text = "table t key x\nacl a sender example.com a@example.com /^a@/\nacl b client_address 192.0.2.0/24 192.0.2.1\n"
    text += "acl c sasl_username table:t\nacl d helo_name {client_name}\nacl e authenticated\nacl f null_sender\n"
    text += "acl g size >1 >2\nacl h client_name .example.org mail.example.org\nacl i sender /b@/ /a@/ /example/\n"
    policy = policy_of(text + "access a b c d e f g h i\n", {"t": {"u": "v"}})
    request = request_of(sasl_username="u", client_address="192.0.2.1", size="3")
    values = dict(zip(policy.wanted, wanted_values(request, policy.wanted), strict=True))
    found = {name: acl.find(values) for name, acl in policy.model.acls.items()}
    shown = {name: (each.text, str(each.place) if each.place else "") for name, each in found.items() if each}
    assert shown == {
        "a": ("a@example.com", "policy.conf:2"),
        "b": ("192.0.2.0/24", "policy.conf:3"),
        "c": ("u", "policy.conf:4"),
        "d": ("{client_name} = mail.example.org", "policy.conf:5"),
        "e": ("sasl_username=u", ""),
        "g": (">1", "policy.conf:8"),
        "h": ("mail.example.org", "policy.conf:9"),
        "i": ("/a@/", "policy.conf:10"),
    }
    assert (found["c"].table, found["c"].entry.value) == ("t", "v")
    assert policy.model.acls["f"].find({**values, "sender": ""}).text == "sender is empty"


@pytest.mark.parametrize(
    ("acls", "attributes"),
    [
        ("acl a sender table:t\n", ()),
        ("acl a sender table:t x@y.example\n", ()),
        ("acl a table:t {sender}\n", ()),
        ("acl a table:t {Sender} {client_address} silent\n", ("sender", "client_address")),
        ("acl a table:t {sender} {helo_name}\nacl b table:t {sender} {client_name}\n", ("sender", "")),
        ("acl a table:t {sender} {helo_name}\nacl b sasl_username table:t\n", ()),
        ("", ()),
    ],
)
def test_what_a_table_is_asked_for_together(acls, attributes):
    """The attributes of a pair, with those that differ between ACLs left open; none where it is asked for one."""
    files = TextFiles({"p.conf": f"table t key x\ntable u key x\n{acls}"})
    asked = {each.name: each.key_attributes for each in declared_tables("p.conf", files=files)}
    assert asked == {"t": attributes, "u": ()}


def test_a_policy_that_is_wrong_declares_nothing_and_a_shadow_what_can_be_read():
    """The compile refuses a policy with a mistake, and takes the tables of a shadow that has one."""
    files = TextFiles(
        {"p.conf": "table t key x\n", "s.conf": "zzzz\ntable t cidr y\ntable u key x\n", "q.conf": "zzzz\n"}
    )
    declared = declared_tables("p.conf", "s.conf", files)
    assert [(each.name, each.kind) for each in declared] == [("t", "key"), ("u", "key")]
    with pytest.raises(ConfigError, match="unknown statement"):
        declared_tables("q.conf", "", files)


def test_a_comment_that_may_be_a_value_says_how_to_write_it():
    """`#x` among an ACL's values: the expression that has it; elsewhere, and for a mark alone, nothing of the kind."""
    assert "if it is a value, write it as an expression: /^#x/" in diagnostics_of("acl x sender a@b.example #x\n")[0]
    for text in ("acl x sender a@b.example # x\n", "table t key f #x\n"):
        assert "if it is a value" not in diagnostics_of(text)[0]


def test_what_a_client_may_not_choose_names_what_may_stand_there():
    """The whole list, as it is to be written."""
    (told,) = diagnostics_of("action y BCC {sender}\n")
    allowed = "{match.ACL}, {sasl_username}, {policy_context}, {server_address}, {server_port}, {queue_id}\n"
    assert f"BCC with {{sender}} lets the client choose where mail goes: use {allowed}" in told


def test_a_score_that_holds_says_how_high_it_is():
    """The comparison with its place, and the score."""
    finding = policy_of("acl s score >5 >=2.5\naccess s\n").model.acls["s"].find({}, 2.5)
    assert (finding.text, str(finding.place)) == (">=2.5 at 2.5", "policy.conf:1")


def test_mistakes_come_in_the_order_in_which_files_are_read():
    """The file that includes before the one that is included, each from its first line to its last."""
    files = {"policy.conf": "include a.conf\nacl x size ten\nacl y size ten\n", "a.conf": "acl z size ten\n"}
    told = diagnostics_of(files["policy.conf"], files=files)
    assert [each.split(": ")[0] for each in told] == ["policy.conf:2:12", "policy.conf:3:12", "a.conf:1:12"]


def test_files_include_each_other_sixteen_deep():
    """Sixteen levels load, and the seventeenth is refused where it is asked for."""
    files = {f"{level}.conf": f"include {level + 1}.conf\n" for level in range(1, 16)}
    deepest = {**files, "16.conf": "acl a authenticated\naction y DUNNO\naccess a y\n"}
    text = "include 1.conf\n"
    assert diagnostics_of(text, files={"policy.conf": text, **deepest}) == []
    deeper = {**files, "16.conf": "include 17.conf\n", "17.conf": "acl a authenticated\naction y DUNNO\naccess a y\n"}
    (diagnostic,) = diagnostics_of(text, files={"policy.conf": text, **deeper})
    assert diagnostic.startswith("16.conf:1:9: files include each other more than 16 deep: policy.conf -> 1.conf -> ")
    assert "itself" not in diagnostic


def test_the_paths_of_a_policy_are_all_its_files():
    """The file itself first, then those that it includes."""
    files = {"policy.conf": "include a.conf\n", "a.conf": "acl a authenticated\naction y DUNNO\naccess a y\n"}
    assert policy_of(files["policy.conf"], files=files).paths == ("policy.conf", "a.conf")


@pytest.mark.parametrize("others", ["", "example.net", "u@example.net", ".example.org"])
@pytest.mark.parametrize("name", ["sender", "recipient"])
def test_a_pattern_with_a_dot_does_not_depend_on_its_neighbours(name, others):
    """An address whose domain has an empty first label is below the rest of it, whatever else is listed."""
    policy = policy_of(f"acl below {name} .example.com {others}\naction no REJECT\naccess below no\n")
    assert decide(policy, **{name: "u@.example.com"}) == "REJECT"
    assert decide(policy, **{name: "u@a.example.com"}) == "REJECT"
    assert decide(policy, **{name: "u@example.com"}) == "DUNNO"


@pytest.mark.parametrize("name", sorted({*TYPES, *ATTRIBUTES}))
def test_a_type_without_its_value_has_an_example_that_loads(name):
    """Each type that needs values, and each attribute."""
    declared = "table TABLE cidr f\nacl ACL encrypted\naction keep remember LIST {client_address} 1d\naccess ACL keep\n"
    found = diagnostics_of(f"{declared}acl x {name}\naccess x\n", store=MemoryStore())
    if name in EXAMPLES:
        expected = f"{name} needs a value, as in acl NAME {name} {EXAMPLES[name]}\n"
    elif name in TYPES:
        expected = ""
    else:
        expected = f"{name} needs a value, as in acl NAME {name} {ANY_TEXT}\n"
    assert len(found) == bool(expected)
    assert expected in "".join(found)
    example = EXAMPLES.get(name, ANY_TEXT) if expected else ""
    assert diagnostics_of(f"{declared}acl x {name} {example}\naccess x\n", store=MemoryStore()) == []
