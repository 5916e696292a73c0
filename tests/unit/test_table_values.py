"""`table:NAME=VALUE` and its kind: what a table says about an attribute, compared in a rule."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from forkpolicy.commands import main
from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.policy.load import declared_tables
from forkpolicy.protocol.layout import wanted_values
from tests.compiling import Compiler
from tests.fakes import ALWAYS, NEVER, decide, decided, diagnostics_of, policy_of, request_of

LEVELS = {
    "anna@example.com": "Strict",
    "bert@example.com": "open",
    "cora@example.com": None,
    "dora@example.com": "5",
    "emma@example.com": "two words",
}
PEOPLE = ("anna", "bert", "cora", "dora", "emma", "fred")
ON_ERROR = "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"


@pytest.fixture
def compiler(tmp_path, capsys):
    return Compiler(tmp_path, capsys)


def policy(text, tables=None, **more):
    return policy_of(f"table levels key x\n{text}", {"levels": LEVELS} if tables is None else tables, **more)


def held(comparison):
    """For whom an ACL with that value holds; in brackets for whom it fails."""
    loaded = policy(f"acl a recipient table:levels{comparison}\naction no REJECT\naccess a no\n")
    replies = {each: decide(loaded, recipient=f"{each}@example.com") for each in PEOPLE}
    return "".join(
        each[0] if reply == "REJECT" else f"[{each[0]}]" for each, reply in replies.items() if reply != "DUNNO"
    )


@pytest.mark.parametrize(
    ("comparison", "people"),
    [
        ("", "abcde"),
        ("=strict", "a"),
        ("=STRICT", "a"),
        ("=two", ""),
        ("=5", "d"),
        ("=5.0", ""),
        ("!=open", "acde"),
        ("!=Open", "acde"),
        ("!=nothing", "abcde"),
        (">4", "[a][b][c]d[e]"),
        (">5", "[a][b][c][e]"),
        (">=5", "[a][b][c]d[e]"),
        ("<5", "[a][b][c][e]"),
        ("<=+5.0", "[a][b][c]d[e]"),
        (">-1.5", "[a][b][c]d[e]"),
        ("<1K", "[a][b][c]d[e]"),
        (">1m", "[a][b][c][e]"),
    ],
)
def test_an_entry_is_compared(comparison, people):
    """Folded, whole. No entry: it does not hold. No value is unlike any, and what is not a number fails."""
    assert held(comparison) == people


def test_of_several_values_one_is_enough():
    """Also where another one fails; `!` means none of them."""
    rules = "acl a recipient table:levels=open table:levels>4 fred@example.com table:levels=x\naction no REJECT\n"
    loaded = policy(f"{rules}access a no\n")
    assert [decide(loaded, recipient=f"{each}@example.com") for each in ("anna", "bert", "dora", "fred")] == [
        ON_ERROR,
        "REJECT",
        "REJECT",
        "REJECT",
    ]
    loaded = policy(f"{rules}access !a no\n")
    assert [decide(loaded, recipient=f"{each}@example.com") for each in ("anna", "bert", "gina")] == [
        ON_ERROR,
        "DUNNO",
        "REJECT",
    ]


@pytest.mark.parametrize(
    ("kind", "acl", "request_", "key"),
    [
        ("cidr", "client_address", {"client_address": "::ffff:192.0.2.1"}, "192.0.2.1"),
        ("domain", "sender", {"sender": "a@Sub.example.com"}, "sub.example.com"),
        ("domain", "helo_name", {"helo_name": "MX.example.com."}, "mx.example.com"),
        ("address", "sender", {"sender": "a@example.com"}, "a@example.com"),
        ("key", "sasl_username", {"sasl_username": "ANNA"}, "anna"),
        ("key", "helo_name", {"helo_name": "mx"}, "mx"),
    ],
)
def test_every_kind_of_table_and_attribute(kind, acl, request_, key):
    """Whatever takes a table takes its values."""
    text = f"table t {kind} x\nacl a {acl} table:t=yes\nacl n {acl} table:t>6\naction no REJECT\naccess a no\n"
    assert decide(policy_of(text, {"t": {key: "Yes"}}), **request_) == "REJECT"
    assert decide(policy_of(text, {"t": {key: "No"}}), **request_) == "DUNNO"
    assert decide(policy_of(text.replace("access a", "access n"), {"t": {key: "7"}}), **request_) == "REJECT"


def test_several_attributes_together():
    """The comparison stands behind the table's name there, too."""
    text = "table t key x\nacl a table:t=strict {client_address} {sender}\naction no REJECT {match.a}\naccess a no\n"
    rows = {"192.0.2.1 a@example.com": "Strict", "192.0.2.2 a@example.com": "open"}
    loaded = policy_of(text, {"t": rows})
    assert [decide(loaded, client_address=f"192.0.2.{each}", sender="A@example.com") for each in (1, 2, 3)] == [
        "REJECT Strict",
        "DUNNO",
        "DUNNO",
    ]
    (wrong,) = diagnostics_of(text.replace("=strict", "="))
    assert "policy.conf:2:7: expected a value directly after table:t=" in wrong


def test_a_table_that_cannot_be_read_fails():
    """Negated or not."""
    for rule in ("a", "!a"):
        text = f"acl a recipient table:levels=x\naction no REJECT\naccess {rule} no\n"
        assert decide(policy(text, {"levels": None})) == ON_ERROR


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("table:levels=", "expected a value directly after table:levels=, as in table:levels=5"),
        ("table:levels>", "expected a value directly after table:levels>"),
        ("table:levels==a", '"==" does not compare the values of tables: expected one of = != > >= < <='),
        ("table:levels=~a", '"=~" does not compare the values of tables'),
        ("table:levels<>5", '"<>" does not compare the values of tables'),
        ("table:levels!a", '"!" does not compare the values of tables'),
        ("table:levels>x", '"x" is not a number: expected a number, as in 5, -1.5 or 10M'),
        ("table:levels>1e5", '"1e5" is not a number'),
        (f"table:levels>{'9' * 5000}", "is not a number"),
        ("table:levels=a,b", "one value is compared at a time: write table:levels=a table:levels=b"),
        ("table:levels=a,table:levels=b", "one value is compared at a time: write table:levels=a table:levels=b"),
        ("table:levles=a", 'unknown table "levles"'),
        ("table:=a", 'unknown table ""'),
        ("table:nets=a", 'table "nets" is of kind cidr: recipient needs'),
        ("table:later=a", 'table "later" is declared later: declare it before it is used'),
    ],
)
def test_mistakes(value, message):
    """At their word, with what was expected."""
    text = f"table levels key x\ntable nets cidr x\nacl a recipient {value}\naction no REJECT\naccess a no\n"
    (wrong,) = diagnostics_of(f"{text}table later key x\n")
    assert message in wrong
    assert wrong.startswith("policy.conf:3:17: ")


@pytest.mark.parametrize(
    ("values", "is_warned"),
    [
        ("table:levels!=a table:levels!=b table:levels!=c", 2),
        ("table:levels!=a table:levels=b", 0),
        ("table:levels!=a table:others!=b", 0),
        ("table:levels!=a table:levels!=A", 0),
        ("table:levels!=a", 0),
    ],
)
def test_two_values_that_are_both_unwanted_are_a_warning(values, is_warned):
    """One of the two always holds; most often neither was meant."""
    warnings = []
    policy(f"table others key x\nacl a recipient {values}\naction no REJECT\naccess a no\n", warnings=warnings)
    assert len(warnings) == is_warned
    if warnings:
        assert "policy.conf:3:33: warning: table:levels!=b or table:levels!=a holds for every entry" in str(warnings[0])
        assert "declare an acl with table:levels=a table:levels=b and write !" in str(warnings[0])


class Counting:
    """Wraps the tables of a policy and counts how often each is asked."""

    def __init__(self, loaded):
        self.asked = Counter()
        for table in loaded.tables.values():
            table.find = self._counted(table.name, table.find)

    def _counted(self, name, find):
        def counted(text):
            self.asked[name] += 1
            return find(text)

        return counted


@pytest.mark.parametrize("costs_us", [ALWAYS, NEVER])
def test_a_table_is_asked_once_for_all_its_values(costs_us):
    """By the index, which finds no rule here, or in generated code."""
    acls = "".join(f"acl a{at} recipient table:levels{how}\n" for at, how in enumerate(("=a", "=b", "=c", "!=strict")))
    rules = "".join(f"access a{at} no\n" for at in range(4))
    loaded = policy(f"{acls}action no REJECT\n{rules}", index_costs_us=costs_us)
    counting = Counting(loaded)
    values = wanted_values(request_of(recipient="anna@example.com"), loaded.wanted)
    # Of what may hold for any value the rule is tried.
    assert decided(loaded, values)[0] is loaded.model.default_rule
    assert counting.asked == {"levels": 2 if costs_us is ALWAYS else 1}


@pytest.mark.parametrize("costs_us", [ALWAYS, NEVER])
def test_what_is_asked_once_is_of_one_table_and_one_attribute(costs_us):
    """Others are asked for themselves, also where both have an entry."""
    acls = (
        "recipient table:levels=one",
        "sender table:levels=two",
        "recipient table:others=three",
        "table:levels=four {sender} {recipient}",
        "asn table:places 64500",
        "client_address table:places=as64500",
    )
    text = "table levels key x\ntable others key x\ntable places cidr x\naction no REJECT\n"
    text += "".join(f"acl a{at} {acl}\n" for at, acl in enumerate(acls))
    text += "".join(f"access !a{at} no\n" for at in range(len(acls)))
    rows = {
        "levels": {"r": "one", "s": "two", "s r": "four"},
        "others": {"r": "three", "s": "none"},
        "places": {"192.0.2.1": "AS64500"},
    }
    loaded = policy_of(text, rows, index_costs_us=costs_us)
    assert decide(loaded, recipient="r", sender="s", client_address="192.0.2.1") == "DUNNO"
    for other in ({"recipient": "x"}, {"sender": "x"}, {"client_address": "192.0.2.2"}):
        assert decide(loaded, **{"recipient": "r", "sender": "s", "client_address": "192.0.2.1"} | other) == "REJECT"


def test_the_index_finds_rules_by_the_values_of_entries():
    """All in the order of the policy, those that hold for several values and those for any number too."""
    acls = "".join(f"acl a{at} recipient table:levels=v{at}\n" for at in range(30))
    acls += "acl two recipient table:levels=v1 table:levels=v2\nacl large recipient table:levels>4\n"
    notes = "".join(f"action n{at} log n{at}\n" for at in range(30)) + "action t log two\naction l log large\n"
    rules = "".join(f"access a{at} n{at}\n" for at in range(30)) + "access two t\naccess large l\n"
    entries = {f"u{at}@example.com": f"V{at}" for at in range(30)} | {"n@example.com": "5"}
    loaded = policy(acls + notes + rules, {"levels": entries}, index_costs_us=ALWAYS)
    for at in (0, 1, 2, 29):
        decision, noted, exactly = decided(
            loaded, wanted_values(request_of(recipient=f"u{at}@example.com"), loaded.wanted)
        )
        # It fails at the number: only then is it weighed exactly.
        assert exactly
        assert decision is loaded.model.error_rule
        assert [each.action.name for each in noted] == [f"n{at}", *(["t"] if at in (1, 2) else [])]
    _, noted, exactly = decided(loaded, wanted_values(request_of(recipient="n@example.com"), loaded.wanted))
    assert ([each.action.name for each in noted], exactly) == (["l"], False)


@pytest.mark.parametrize(
    ("one", "other", "rules", "message"),
    [
        ("=strict", "", "access b no\naccess a no\n", "never fires"),
        (">5", "", "access b no\naccess a no\n", "never fires"),
        ("!=x", "", "access b no\naccess a no\n", "never fires"),
        ("=strict", "=STRICT", "access b no\naccess a no\n", "never fires"),
        ("=strict", "=open table:levels=strict", "access b no\naccess a no\n", "never fires"),
        (">5", ">=4", "access b no\naccess a no\n", "never fires"),
        ("=strict", "=open", "access a b no\n", "a and b have no value in common"),
        (">5", "<=5", "access a b no\n", "a and b have no value in common"),
        ("", ">=-99", "access b no\naccess a no\n", ""),
        ("=5", ">4", "access b no\naccess a no\n", ""),
        ("=5", "<4", "access a b no\n", ""),
        ("=5", ">4", "access a b no\n", ""),
        (">=5", "<=5", "access a b no\n", ""),
        ("=strict", "!=open", "access a b no\n", ""),
        ("=strict", "!=strict", "access b no\naccess a no\n", ""),
    ],
)
def test_rules_that_never_fire(one, other, rules, message):
    """What one comparison says of another; nothing where the values themselves would have to be known."""
    acls = f"acl a recipient table:levels{one}\nacl b recipient table:levels{other}\naction no REJECT no\n"
    warnings = [str(each) for each in find_warnings(policy(acls + rules).model, {})]
    assert any(message in each for each in warnings) if message else not any("fire" in each for each in warnings)


@pytest.mark.parametrize(("kind", "key"), [("key", "k"), ("cidr", "192.0.2.1"), ("cidr", "2001:db8::1")])
@pytest.mark.parametrize("value", ["", "x", "ä" * 15, "ä" * 16, "y" * 31, "y" * 32, "two words", "z" * 70_000])
def test_the_value_alone_is_that_of_the_entry(compiler, kind, key, value):
    """However long it is, and without one."""
    assert compiler.one(kind, f"{key} {value}\n").err == ""
    table = compiler.open(kind)
    raw = table.find(key)
    assert table.value(raw) == table.entry(raw).value == (value or None)
    table.close()


NUMBERS = ("table t key list", "acl a sender table:t>5", "action no REJECT", "access a no")


@pytest.mark.parametrize(
    "acl", ["acl a sender table:t>5", "acl a table:t<=5 {sender}", "acl a sender table:t=x table:t<5"]
)
def test_the_compile_checks_numbers(compiler, acl):
    """Every value that could not be compared, in one run; not where values are compared as texts."""
    compiler.policy("table t key list", acl)
    compiler.source("list", "anna 5\nbert 10M\ncora\ndora five\nemma -1.5 # a comment\nfred 1 2\n")
    assert [found[0] for line in compiler.run().err.splitlines() if (found := re.search(r"list:\d.*", line))] == [
        "list:3:1: no number: expected a number, as in 5, -1.5 or 10M",
        'list:4:1: "five" is not a number: expected a number, as in 5, -1.5 or 10M',
        'list:6:1: "1 2" is not a number: expected a number, as in 5, -1.5 or 10M',
    ]
    compiler.policy("table t key list", "acl a sender table:t=5 table:t!=6")
    assert compiler.run().err == ""


def test_another_use_of_values_is_a_reason_to_compile(compiler, capsys):
    """--if-changed and `check` know that values are read otherwise now."""
    compiler.policy("table t key list", "acl a sender table:t", "action no REJECT", "access a no")
    compiler.source("list", "anna 5\n")
    compiler.run()
    compiler.policy(*NUMBERS)
    main(["check", "-c", str(compiler.settings), "--postfix", "none"])
    assert "compiled from other contents" in capsys.readouterr().out
    assert "compiled" in compiler.run("--if-changed").out
    assert "unchanged" in compiler.run("--if-changed").out
    main(["check", "-c", str(compiler.settings), "--postfix", "none"])
    assert "compiled from other contents" not in capsys.readouterr().out


def test_declared_tables_know_what_their_values_are_taken_for(tmp_path):
    """Wherever the comparison stands."""
    path = tmp_path / "policy.conf"
    path.write_text(
        "table a key x\ntable b key x\ntable c key x\ntable d key x\n"
        "acl w sender table:a>=5\nacl x table:b<5 {sender} {recipient}\nacl y sender table:c=5 table:c!=6\n"
        "acl z table:d=5 {sender} {recipient}\n"
    )
    found = {each.name: (each.values_as, each.key_words) for each in declared_tables(str(path))}
    assert found == {"a": (("number",), 1), "b": (("number",), 2), "c": ((), 1), "d": ((), 2)}


def test_check_warns_of_values_that_no_entry_has(compiler, capsys):
    """Once, at their word, with what may be meant; not of what differs in case, and not of numbers."""
    compiler.policy(
        "table t key list",
        "table places cidr places",
        "table numbers key numbers",
        "acl a sender table:t=STRICT table:t=strct table:numbers>5",
        "acl b sender table:t!=opne table:t!=open",
        "acl c table:t=else {sender}",
        "acl d country table:places AA bb",
        "acl e sender table:t=open",
        "action no REJECT",
        *(f"access {each} no" for each in "abcde"),
    )
    compiler.source("list", "anna Strict\nbert Open\n" + "".join(f"u{at} {at}\n" for at in range(2000)))
    compiler.source("places", "10.1.2.3 Aa\n")
    compiler.source("numbers", "carl 3\n")
    assert compiler.run().status == 0
    main(["check", "--postfix", "none", "--json", "-c", str(compiler.settings)])
    found = [each for each in json.loads(capsys.readouterr().out)["diagnostics"] if "no entry" in each["message"]]
    assert [(each["line"], each["column"], each["message"], each["hint"]) for each in found] == [
        (4, 29, 'no entry of table t has the value of "table:t=strct"', 'did you mean "Strict"?'),
        (5, 14, 'no entry of table t has the value of "table:t!=opne"', 'did you mean "Open"?'),
        (6, 7, 'no entry of table t has the value of "table:t=else"', ""),
        (7, 31, 'no entry of table places has the value of "bb"', ""),
    ]


TEXTS = """\
table texts domain list
acl  texts  recipient table:texts
acl  others recipient table:texts!=none
acl  no     recipient @example.com
action theirs  REJECT {match.texts}
action coded   550 {match.others}
action more    REJECT 5.7.1 sorry: {match.texts}
action ours    REJECT 5.7.1 ours
"""


@pytest.mark.parametrize("kind", ["cidr", "domain", "address", "key"])
def test_a_text_is_the_whole_value_of_an_entry(compiler, kind):
    """From the source to the reply, whatever the kind of table, with or without a comparison."""
    text = "5.7.1 Bitte melden Sie sich an: für Änderungen siehe https://example.com/#hilfe, 日本語"
    key = "192.0.2.1" if kind == "cidr" else "example.com"
    acl = "client_address" if kind == "cidr" else "helo_name"
    acl = "recipient" if kind == "address" else acl
    key = "u@example.com" if kind == "address" else key
    assert "error" not in compiler.one(kind, f"{key} {text}  # nobody sees this\n").err
    table = compiler.open(kind)
    found = table.find(key)
    assert found is not None
    value = table.value(found)
    table.close()
    for how in ("", "!=none"):
        policy_text = f"table t {kind} x\nacl t {acl} table:t{how}\naction no REJECT {{match.t}}\naccess t no\n"
        assert decide(policy_of(policy_text, {"t": {key: value}}), **{acl: key}) == f"REJECT {text}"


@pytest.mark.parametrize(
    ("rest", "value"),
    [
        ('"log in ; thank you"', "log in ; thank you"),
        ('"a # b" # c "d"', "a # b"),
        ('"a ;b" c', '"a ;b" c'),
        ('"a ; b', '"a'),
        ('# "a ; b"', None),
        ('say "a ; b"', 'say "a'),
        ('""', None),
        ("5.7.1 no", "5.7.1 no"),
        ("5.7.1", "5.7.1"),
        ("4.5", "4.5"),
        ('"-1.5"', "-1.5"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "key"), [("key", "k"), ("key", '"k ; k"'), ("domain", "example.com"), ("cidr", "192.0.2.0/24")]
)
def test_values_in_a_source(compiler, kind, key, rest, value):
    """Quotes around a whole value keep what else begins a comment; numbers and status codes are no networks."""
    assert compiler.one(kind, f"{key} {rest}\n").err.count("error") == 0
    (found,) = compiler.found(kind, {"cidr": "192.0.2.1"}.get(kind, key.strip('"')))
    assert found is not None
    assert found.value == value


def test_a_pair_has_values_in_quotes_too(compiler):
    """Behind all the words of its key."""
    compiler.policy("table t key list", "acl p table:t {helo_name} {sasl_username}")
    compiler.source("list", 'mx anna "x ; y" ; z\nmx # bert "x ; y"\n')
    assert "list:2:1: 1 of 2 words" in compiler.run("--skip-bad").err
    compiler.source("list", 'mx anna "x ; y" ; z\n')
    assert compiler.run().err == ""
    (found,) = compiler.found("key", "mx anna")
    assert (found.value if found else "") == "x ; y"


@pytest.mark.parametrize(
    ("rest", "told"), [("-1.5", "A value that begins so goes in quotes"), ("198.51.100.7", "two entries")]
)
def test_what_may_be_a_network_is_not_taken_for_a_value(compiler, rest, told):
    """As before."""
    assert told in compiler.one("cidr", f"192.0.2.1 {rest}\n").err


def test_a_default_text_is_a_second_rule():
    """An entry without a value has an empty text, and Postfix one of its own; a code without a text is `on_error`."""
    rows = {"example.com": "5.7.1 Hola", "example.org": None, "example.net": "none"}
    loaded = policy_of(
        f"{TEXTS}access texts theirs\naccess ours\n".replace("access ours", "access !texts ours"), {"texts": rows}
    )
    replies = [decide(loaded, recipient=f"a@{each}") for each in ("example.com", "example.org", "example.info")]
    assert replies == ["REJECT 5.7.1 Hola", "REJECT ", "REJECT 5.7.1 ours"]
    loaded = policy_of(f"{TEXTS}access others coded\naccess !others ours\n", {"texts": rows})
    replies = [decide(loaded, recipient=f"a@{each}") for each in ("example.com", "example.org", "example.net")]
    assert replies == ["550 5.7.1 Hola", ON_ERROR, "REJECT 5.7.1 ours"]


@pytest.mark.parametrize(
    ("rule", "is_warned"),
    [("texts theirs", True), ("texts more", False), ("texts ours", False), ("texts !no", False)],
)
def test_check_warns_of_entries_without_a_text(compiler, capsys, rule, is_warned):
    """Where an action has no other, at the first of them."""
    used = rule.split()[-1]
    kept = [line for line in TEXTS.splitlines() if not line.startswith("action") or line.split()[1] == used]
    compiler.policy(*kept, f"access {rule}")
    compiler.source("list", "example.com 5.7.1 Hola\nexample.org\nexample.net\n")
    assert compiler.run().status == 0
    main(["check", "--postfix", "none", "--json", "-c", str(compiler.settings)])
    found = [each for each in json.loads(capsys.readouterr().out)["diagnostics"] if "no value" in each["message"]]
    assert [(each["path"].rpartition("/")[2], each["line"]) for each in found] == ([("list", 3)] if is_warned else [])


EXPLAINED = """\
table levels key list
acl  strict  recipient table:levels=strict
acl  other   recipient table:levels!=strict table:levels=medium
acl  large   recipient table:levels>5
acl  many    recipient table:levels=a table:levels=b table:levels=c table:levels=d
action no REJECT
access many no
access strict no
access other strict no
access large no
"""


@pytest.fixture
def explain(compiler, capsys):
    compiler.policy(EXPLAINED.replace(" table:levels>5", " table:levels=5"))
    compiler.source("list", "anna@example.com Strict\nbert@example.com open # not yet\n")
    assert compiler.run().err == ""
    compiler.policy(EXPLAINED)

    def run(*words):
        assert main(["explain", "-c", str(compiler.settings), "protocol_state=RCPT", *words]) == 0
        return capsys.readouterr().out

    return run


def test_explain_shows_the_entry_and_what_was_wanted(explain):
    """Whether it holds, does not or fails."""
    strict = re.sub(r"\(/\S+/", "(", explain("recipient=anna@example.com"))
    found = "recipient=anna@example.com: anna@example.com Strict in table levels (list:1), wanted"
    assert re.search(rf"^  strict  yes  {re.escape(found)} table:levels=strict$", strict, re.MULTILINE)
    assert f"no  {found} table:levels=a table:levels=b table:levels=c or 1 more" in strict
    other = re.sub(r"\(/\S+/", "(", explain("recipient=bert@example.com"))
    entry = "recipient=bert@example.com: bert@example.com open in table levels (list:2), wanted"
    assert f"{entry} table:levels!=strict\n" in other
    assert f"no   {entry} table:levels=strict\n" in other
    assert 'table levels, bert@example.com: "open" is not a number: expected a number' in other
    assert "action=DEFER_IF_PERMIT" in other
    assert "wanted" not in explain("recipient=fred@example.com")


def test_explain_says_so_for_tools(explain):
    """In its JSON."""
    told = json.loads(explain("recipient=anna@example.com", "--json"))
    (many,), (strict,) = (each["acls"] for each in told["lines"])
    assert (many["answer"], many["found"]["entry"]["value"]) == ("does not hold", "Strict")
    assert many["found"]["wanted"] == "table:levels=a table:levels=b table:levels=c or 1 more"
    assert (strict["found"]["wanted"], strict["found"]["line"]) == ("table:levels=strict", 2)


def test_the_value_alone_in_a_table_of_columns(compiler):
    """As in the others, with quotes, and compared in a rule."""
    compiler.policy("table t pair:network,address list", "acl p table:t>6 {client_address} {sender}")
    compiler.source("list", '192.0.2.0/24 example.com 7\n* a@example.com "8" ; eight\n192.0.2.0/24 .example.org many\n')
    assert 'list:3:1: "many" is not a number' in compiler.run("--skip-bad").err
    compiler.policy("table t pair:network,address list", "acl p table:t=x {client_address} {sender}")
    compiler.source("list", '192.0.2.0/24 example.com "x ; y" ; z\n* a@example.com ää\n192.0.2.0/24 .example.org\n')
    assert compiler.run().err == ""
    table = compiler.open("pair:network,address")
    found = [table.find("192.0.2.1", f"a@{each}") for each in ("example.com", "www.example.org")]
    found.append(table.find("198.51.100.1", "a@example.com"))
    raws = [each for each in found if each is not None]
    values = [table.value(each) for each in raws]
    assert values == [table.entry(each).value for each in raws] == ["x ; y", None, "ää"]
    table.close()
