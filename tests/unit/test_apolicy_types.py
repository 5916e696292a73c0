"""apolicy's types `stress` and `log`, which take no value: policies that have them load, and mean what they meant."""

from __future__ import annotations

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.loading import load_everything
from forkpolicy.policy.evaluate import Answer

LONG = "".join(f"acl x{n} sender x{n}@example.net\naccess x{n} no\n" for n in range(30))
LOGGING = """
acl from_us sender @example.com
acl to_us recipient @example.com
acl audit log
acl quiet log silent
acl broken sender table:none
acl never sender nobody@example.org
action no REJECT no
{more}
access broken audit never no
access from_us audit to_us no
access !audit no
access from_us quiet never no
"""


@pytest.fixture(params=["", LONG], ids=["short", "indexed"])
def load(tmp_path, request):
    """Loads a policy, alone and behind so many rules that they have an index."""

    def load(text):
        (tmp_path / "forkpolicy.toml").write_text("")
        (tmp_path / "policy.conf").write_text("table none address none\n" + text.format(more=request.param))
        return load_everything(tmp_path / "forkpolicy.toml").policy

    return load


def values_of(policy, **attributes):
    given = {"protocol_state": "RCPT", **attributes}
    return tuple(given.get(name, "") for name in policy.wanted)


def decide(policy, **attributes):
    """The reply, and what was noted on the way."""
    outcome = policy.decide(values_of(policy, **attributes))
    noted = [(each.rule.text, policy.text(each.rule, ())) for each in policy.take_noted()]
    return outcome.rule.action.reply.text, noted


FROM_US = ("access from_us audit log", "audit")
QUIET = ("access from_us quiet log", "quiet")


def test_log_notes_a_rule_that_comes_to_it(load):
    """Whatever stands right of it; its own term always holds, and never with a `!`."""
    policy = load(LOGGING.replace("access broken audit never no\n", ""))
    note = ("access audit log", "audit")
    assert decide(policy, sender="a@example.com", recipient="b@example.com") == ("REJECT no", [FROM_US])
    assert decide(policy, sender="a@example.com", recipient="b@x.example") == ("DUNNO", [FROM_US, note, QUIET])
    assert decide(policy, sender="a@x.example", recipient="b@example.com") == ("DUNNO", [note])


def test_log_in_a_rule_that_cannot_be_evaluated(load):
    """The note fails alone: the rule is weighed as if it had no such term."""
    policy = load(LOGGING)
    values = values_of(policy, sender="a@example.com", recipient="b@example.com")
    trace = policy.trace(values)
    assert [each.text for each in trace.noted] == [FROM_US[0]]
    assert trace.outcome.action.reply.text == "REJECT no"
    assert decide(policy, sender="a@example.com", recipient="b@example.com") == ("REJECT no", [FROM_US])


def test_log_is_a_term_of_its_rule(load):
    """An explanation shows it as one that holds, and silent keeps its name out of the log."""
    policy = load(LOGGING)
    trace = policy.trace(values_of(policy, sender="a@example.com", recipient="b@example.com"))
    looked = {each.acl.name: each.answer for tried in trace.tried for each, _ in tried.looked}
    assert looked["audit"] is Answer.HOLDS
    shown = {rule.text: rule.shown_acls for rule in policy.model.rules if rule.is_note}
    assert shown["access from_us audit log"] == "from_us audit"
    assert shown["access from_us quiet log"] == "from_us"


def test_stress_without_a_value(load):
    """Postfix sends `yes` while it is short of processes, else nothing."""
    policy = load("acl busy stress\nacl same stress yes\nacl other stress no maybe\naction slow 421 4.3.2 busy\n"
                  "{more}access busy same !other slow\n".replace("{more}", "action no REJECT no\n{more}"))  # fmt: skip
    assert decide(policy, stress="yes")[0] == "421 4.3.2 busy"
    assert decide(policy, stress="")[0] == "DUNNO"
    assert decide(policy, stress="no")[0] == "DUNNO"


def test_log_takes_no_value(load):
    """What apolicy would have ignored is a mistake."""
    with pytest.raises(ConfigError, match="log takes no value"):
        load("acl audit log seen\n")
