"""The plan of a policy: what is written out, what an index finds, and that neither is seen in a decision."""

from __future__ import annotations

import traceback
from unittest import mock

import pytest

from forkpolicy.policy.plan.index import COSTS_US, guarded
from forkpolicy.protocol.layout import wanted_values
from tests.fakes import ALWAYS, decide, decided, policy_of, request_of

HEAD = """table broken address broken
acl inside client_address 10.0.0.0/8
acl us sender @example.com
acl to_us recipient @example.com
acl in_table recipient table:broken
action no REJECT
"""
LIST = "".join(f"acl x{number} recipient user{number}@example.net\naccess x{number} no\n" for number in range(20))


def values_of(policy, **attributes):
    return wanted_values(request_of(**attributes), policy.wanted)


def test_a_long_rule_in_front_decides_before_anything_else_is_asked():
    """Not even a table that guards all the rules behind it."""
    guards = "".join(f"access in_table !x{number} no\n" for number in range(20))
    policy = policy_of(f"{HEAD}{LIST}access !inside us to_us no\n{guards}", {"broken": None}, index_costs_us=ALWAYS)
    behind = decided(policy, values_of(policy))
    policy = policy_of(HEAD + "access !inside us to_us no\n" + LIST + guards, {"broken": None}, index_costs_us=ALWAYS)
    rule, _, exactly = decided(policy, values_of(policy))
    assert (rule.number, exactly) == (0, False)
    assert (behind[0].action.name, behind[2]) == ("no", True)


@pytest.mark.parametrize(
    ("acl", "needed"),
    [
        ("recipient user{}@example.net", 1),
        ("client_address 192.0.2.{}", 1),
        ("sender /^u{}x/", 1),
        ("sasl_username u{}", 3),
        ("authenticated", None),
        ("size {}M", None),
    ],
)
def test_an_index_is_made_where_it_costs_less_than_asking(acl, needed):
    """The kinds differ in how many rules that takes; some have none at all."""
    for count in range(1, 5):
        acls = "".join(f"acl x{number} {acl.format(number + 1)}\n" for number in range(count))
        rules = "".join(f"access x{number} no\n" for number in range(count))
        indexes = guarded(policy_of(f"action no REJECT\n{acls}{rules}").model.rules, COSTS_US)
        assert [len(each) for each in indexes] == ([count] if needed is not None and count >= needed else [])


@pytest.mark.parametrize(
    ("acl", "empty", "fires"),
    [
        ("sender <> a@example.net", "sender", True),
        ("sender a@example.net b@example.net", "sender", False),
        ("sasl_username /^$/ /^u/", "sasl_username", True),
        ("sasl_username u1 u2", "sasl_username", False),
        ("client_address 192.0.2.1", "client_address", False),
    ],
)
def test_an_empty_value_is_looked_up_where_a_rule_may_be_found(acl, empty, fires):
    """The null sender may be listed and an expression may hold for nothing; every other index has nothing to find."""
    policy = policy_of(f"action no REJECT\nacl x {acl}\naccess x no\n", index_costs_us=ALWAYS)
    assert decide(policy, **{empty: ""}) == ("REJECT" if fires else "DUNNO")


@pytest.mark.parametrize(("count", "rules"), [(8, 0), (9, 9)])
def test_values_of_a_table_are_an_index_from_nine_rules_on(count, rules):
    """Fewer share one look-up in generated code."""
    text = "table t key x\naction no REJECT\n" + "".join(f"acl x{at} sender table:t=v{at}\n" for at in range(count))
    text += "".join(f"access x{at} no\n" for at in range(count))
    assert sum(map(len, guarded(policy_of(text).model.rules, COSTS_US))) == rules


def test_a_candidate_that_is_picked_twice_is_made_once():
    """Functions of rules are kept; all of one shape share their code."""
    policy = policy_of("action no REJECT\n" + LIST)
    with mock.patch("forkpolicy.policy.plan.plan.function_of_rule", side_effect=lambda *_: lambda *_: None) as made:
        for _ in range(3):
            policy.decide(values_of(policy, recipient="user7@example.net"))
    assert made.call_count == 1


def test_a_traceback_names_the_line_of_the_rule():
    """Of one that an index has found, whose code it shares with others, as of one that is written out."""
    acls = "".join(f"acl x{number} recipient user{number}@example.net\n" for number in range(20))
    rules = "".join(f"access x{number} in_table no\n" for number in range(20))
    policy = policy_of(HEAD + acls + rules, {"broken": None})
    line = next(rule.place.line for rule in policy.model.rules if rule.text == "access x7 in_table no")
    with pytest.raises(Exception, match="broken") as caught:
        policy._planned(*values_of(policy, recipient="user7@example.net"))
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.lineno for frame in frames if frame.name == "rule"] == [line]
