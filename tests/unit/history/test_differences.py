"""A past decision is explained with what it was made with, and what would be different now is named."""

from __future__ import annotations

import json
import socket
from functools import partial

import pytest

from forkpolicy.history.deciding import PastDecision, decided_now, decided_then, loaded_from
from forkpolicy.history.lines import read_line
from forkpolicy.history.past import version_of_then
from tests.history_logs import NOON_S
from tests.history_sites import POLICY, Site

REPLY = "REJECT 5.7.1 not you"
HOUR_S = 3600
HOST = socket.gethostname()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def keep(site):
    """Keep what the site's log names."""
    keeper = site.keeper()
    for raw in site.log.read_bytes().splitlines():
        line = read_line(raw)
        if line is not None and hasattr(line, "tables"):
            keeper.note(line)
    keeper.keep()


def shown(site, raw, *, is_kept=True):
    """What `show` finds: then, why not, now."""
    decision = PastDecision(raw, json.loads(raw)["id"])
    then, why_not = decided_then(decision, partial(version_of_then, site.versions))
    assert (then is not None) is is_kept, why_not
    return then, why_not, decided_now(decision, partial(loaded_from, str(site.settings)), then)


def change(site, what):
    """Files of a site by name; a policy as a function of what it was."""
    for name, text in what.items():
        before = (site.folder / name).read_text()
        site.write(name, text(before) if callable(text) else text)
    site.compile()


CHANGES = {
    "an entry that is gone": (
        {"blocked.txt": "other@example.org\n"},
        "DUNNO",
        "table blocked: spam@example.org was an entry of {folder}/blocked.txt:1 and is not one now",
    ),
    "an entry that is new": (
        {"networks.txt": "192.0.2.0/24\n203.0.113.0/24\n"},
        "DUNNO",
        "table local: 203.0.113.0/24 is an entry of {folder}/networks.txt:2 now and was not one then",
    ),
    "a rule that is gone": (
        {"policy.conf": lambda text: text.replace("access bad !inside no", "access inside no")},
        "DUNNO",
        "the rule of then is not in the policy now: {folder}/policy.conf:6: access bad !inside no",
    ),
    "a rule in front": (
        {
            "policy.conf": lambda text: text.replace(
                "access bad", "acl all protocol_state RCPT\naction later DEFER\naccess all later\naccess bad"
            )
        },
        "DEFER",
        "a rule decides now that was not in the policy then: {folder}/policy.conf:8: access all later",
    ),
    "a text": (
        {"policy.conf": lambda text: text.replace("not you", "go away")},
        "REJECT 5.7.1 go away",
        "action no was changed ({folder}/policy.conf:5, now {folder}/policy.conf:5)",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_makes_the_difference_is_named(site, name):
    """The entry with its source line, the rule, or the action."""
    files, action, text = CHANGES[name]
    raw = site.decide()
    assert json.loads(raw)["action"] == REPLY
    keep(site)
    change(site, files)
    then, _, now = shown(site, raw)
    assert then.action == REPLY
    assert now.action == action
    assert [each.text for each in now.differences] == [text.format(folder=site.folder)]


@pytest.mark.parametrize("name", ["an entry that is gone", "an entry that is new", "a rule that is gone"])
def test_without_the_version_the_line_of_the_log_is_compared(site, name):
    """What it has recorded of its terms names the entry, too; the reason is said."""
    files, action, text = CHANGES[name]
    raw = site.decide()
    change(site, files)
    _, why_not, now = shown(site, raw, is_kept=False)
    assert why_not == f"they are kept on mx1, where it was made, and this is {HOST}"
    assert now.action == action
    expected = text.format(folder=site.folder).replace("access bad !inside no", "bad !inside")
    assert now.differences[0].text == expected


def test_a_value_that_has_changed_is_named(site):
    """Of the entry that a reply shows, and of one that the policy compares."""
    policy = POLICY.replace("not you", "you: {match.bad}") + "acl vip table:blocked=often {sender}\naccess vip no\n"
    change(site, {"policy.conf": policy, "blocked.txt": "spam@example.org 3\n"})
    raw = site.decide()
    assert json.loads(raw)["action"] == "REJECT 5.7.1 you: 3"
    keep(site)
    change(site, {"blocked.txt": "# moved\nspam@example.org 4\n"})
    _, _, now = shown(site, raw)
    folder = site.folder
    (difference,) = now.differences
    assert difference.text == (
        f"table blocked: spam@example.org had the value 3 ({folder}/blocked.txt:1) and has the value 4 "
        f"({folder}/blocked.txt:2) now"
    )
    assert (difference.acl, difference.table) == ("bad", "blocked")


def test_nothing_is_different(site):
    """A policy that has only moved replies the same, and no difference is named."""
    raw = site.decide()
    keep(site)
    change(site, {"policy.conf": lambda text: f"# a comment\n{text}"})
    _, _, now = shown(site, raw)
    assert (now.action, now.differences) == (REPLY, ())


def test_times_are_those_of_the_decision(site):
    """A rule of the night explains a decision of the night at noon, and would decide so again."""
    change(
        site,
        {"policy.conf": lambda text: text.replace("access bad", "acl night time 22:00-06:00 tz=UTC\naccess night bad")},
    )
    raw = site.decide(NOON_S + 11 * HOUR_S)
    keep(site)
    then, _, now = shown(site, raw)
    assert then.action == now.action == REPLY
    assert json.loads(site.decide(NOON_S))["action"] == "DUNNO"


def test_recorded_answers_are_used_again(site):
    """Of an ACL that remembers, then and now; not now where it is declared otherwise."""
    change(
        site,
        {
            "policy.conf": lambda text: text.replace(
                "access bad", "acl often rate {client_address} 1/1h\naccess often bad"
            )
        },
    )
    raw = site.decide(answers={"often": {"holds": True, "value": "3599"}})
    assert json.loads(raw)["action"] == REPLY
    keep(site)
    then, _, now = shown(site, raw)
    (looked,) = [each for each in then.looked() if each.acl.name == "often"]
    assert (looked.given.is_recorded, looked.finding.value) == (True, "3599")
    assert (now.action, now.but) == (REPLY, ["often answered as then"])
    change(site, {"policy.conf": lambda text: text.replace("1/1h", "2/1h")})
    _, _, now = shown(site, raw)
    assert now.action == "DUNNO"
    assert now.but == ["often not asked: what it remembers or asks may change this"]
    assert [each.text for each in now.differences] == [
        "acl often: holds then and not asked now (no answer was recorded)"
    ]


def test_an_explanation_that_does_not_fit_is_not_shown(site):
    """Where what was kept leads to another reply, the log's line is right."""
    raw = site.decide().replace(b'"REJECT 5.7.1 not you"', b'"HOLD"')
    keep(site)
    _, why_not, _ = shown(site, raw, is_kept=False)
    assert why_not == f"with what is kept of then it would be {REPLY} by {site.folder}/policy.conf:6"


def test_what_only_looks_like_a_secret_is_kept(site):
    """An expression like a URL with a password, and the text of a reply, which strangers read anyway."""
    text = "https://help.example.org/?key=spam&for={sender}"
    policy = POLICY.replace("not you", f"see\n  {text}").replace("table:blocked", "/^http://u:spam@/")
    change(site, {"policy.conf": policy})
    raw = site.decide(sender="http://u:spam@example.org")
    assert "key=spam" in json.loads(raw)["action"]
    keep(site)
    then, _, now = shown(site, raw)
    assert then.action == now.action == json.loads(raw)["action"]


@pytest.mark.parametrize("name", ["policy", "table"])
def test_a_damaged_part_is_named(site, name):
    """Its file is, and the line of the log explains."""
    raw = site.decide(host=HOST)
    keep(site)
    part = next(site.versions.path.glob(f"*.{name}"))
    part.write_bytes(part.read_bytes()[:-20])
    _, why_not, now = shown(site, raw, is_kept=False)
    assert str(part) in why_not
    assert now.action == REPLY


def test_a_policy_of_today_that_does_not_load_is_named(site):
    """The past is explained all the same."""
    raw = site.decide()
    keep(site)
    site.write("policy.conf", "acl odd nonsense x\naccess odd knows\n")
    then, _, now = shown(site, raw)
    assert then.action == REPLY
    assert now.action == f'fails to load: {site.folder}/policy.conf:2:12: unknown acl or action "knows"'
    assert now.differences == ()
