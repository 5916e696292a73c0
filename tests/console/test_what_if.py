"""Exceptions are tried where the console's rules stand, in a thread of their own, as long as somebody looks."""

from __future__ import annotations

import threading

import pytest

from forkpolicy.console.change.drafts import Drafts
from forkpolicy.console.whatif.placing import place, why_kept_out
from forkpolicy.console.whatif.replays import Replays, rule_path
from forkpolicy.console.whatif.trial import Asked
from forkpolicy.errors import ConfigError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.history.whatif.policies import load_now
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.settings import load_settings
from tests.history_logs import NOON_S, begin, decision

BEFORE = "acl bad client_address 203.0.113.0/24\naction no REJECT 5.7.1 never\naccess bad no\n"
BEHIND = "acl from_us sender @example.com\naction prove_it REJECT 5.7.1 not as {sender}\naccess from_us prove_it\n"
INCLUDE = "include rules.conf restricted\n"
LET_IN = "acl x sender a@example.com\naction x_in DUNNO\naccess x x_in\n"
SENT = {"sender": "a@example.com", "client_address": "192.0.2.7"}


class Site:
    """A policy, the console's rules, and past decisions."""

    def __init__(self, folder):
        self.folder = folder
        self.settings_path = folder / "forkpolicy.toml"
        self.settings_path.write_text(
            'policy = "policy.conf"\n[history]\nlog = "log.json"\npath = "history"\ndecisions = "all"\n'
            '[console]\npath = "console"\n'
        )
        self.rules = folder / "rules.conf"

    def write(self, policy, rules=""):
        (self.folder / "policy.conf").write_text(policy)
        self.rules.write_text(rules)

    def take(self, *lines):
        (self.folder / "log.json").write_bytes(begin() + b"".join(lines))
        ingester = Ingester(
            str(self.folder / "log.json"), Store(str(self.folder / "history")), 3650, print, lambda: NOON_S
        )
        ingester.turn()
        ingester.close()

    @property
    def settings(self):
        return load_settings(str(self.settings_path))

    def replays(self, **options):
        return Replays(self.settings, clock=lambda: NOON_S, **options)

    def get(self, replays, statements=LET_IN, decision="0000frgd0000", **asked):
        return replays.get(
            Asked(statements, decision, **{"days": 7, "most": 100, **asked}), Drafts(str(self.settings_path)).now()
        )

    def answer(self, statements=LET_IN, **asked):
        found = self.get(self.replays(), statements, **asked)
        assert found.done.wait(30)
        if found.trouble:
            raise found.trouble
        return found.answer


@pytest.fixture
def site(tmp_path):
    """One that has refused a mail."""
    site = Site(tmp_path)
    site.write(INCLUDE + BEHIND)
    site.take(decision(code="0000frgd0000", **SENT), decision(sender="b@example.com"))
    return site


def decided(site, **attributes):
    """What the policy that is in the files replies."""
    now = load_now(str(site.settings_path))
    values = wanted_values(Request({"protocol_state": "RCPT", **attributes}, None), now.policy.wanted)
    return now.policy.decide(values).rule.action.verb


@pytest.mark.parametrize(
    ("policy", "rules", "why"),
    [
        (INCLUDE + BEHIND, "", ""),
        (BEFORE + INCLUDE + BEHIND, "", ""),
        (BEHIND + INCLUDE, "", "refuses it before the console's rules are asked"),
        (INCLUDE + BEHIND, "acl y sender @example.com\naction out REJECT\naccess y out\n", "a rule of the console"),
    ],
)
def test_an_exception_is_tried_where_it_will_stand(site, policy, rules, why):
    """What is found is what comes of it once it is in the file, and what is in its way is named."""
    site.write(policy, rules)
    answer = site.answer()
    assert (answer.kept_out == "", why in answer.kept_out) == (why == "", True)
    assert answer.changed == (0 if why else 1)
    before, after = answer.own
    site.rules.write_text(rules + LET_IN)
    assert (before.verb, after.verb) == ("REJECT", decided(site, **SENT))


def test_the_rule_in_the_way_is_shown(site):
    """With its place and its text, and what to do."""
    site.write(BEHIND + INCLUDE)
    said = site.answer().kept_out
    assert "policy.conf:3 refuses it" in said
    assert "(access from_us prove_it)" in said
    assert f"move the include of {site.rules} above it" in said


def test_an_exception_that_is_not_met_says_so(site):
    """And one that refuses itself."""
    assert "not met" in site.answer(LET_IN.replace("a@", "nobody@")).kept_out
    assert "its own rule replies REJECT" in site.answer(LET_IN.replace("DUNNO", "REJECT")).kept_out


def test_a_policy_without_a_rule_file_tries_it_in_front(site):
    """There is no other place for it."""
    site.write(BEHIND)
    now = load_now(str(site.settings_path))
    assert rule_path(now) is None
    assert place(now, None, LET_IN).path == ""
    answer = site.answer()
    assert (answer.changed, answer.kept_out) == (1, "")
    assert why_kept_out(place(now, None, LET_IN), answer.own[1]) == ""


def test_a_mistake_is_at_its_line(site):
    """Behind those of the file."""
    site.rules.write_text("acl y sender b@example.com\n")
    with pytest.raises(ConfigError) as raised:
        site.answer("acl x nonsense\n")
    assert "rules.conf:2" in str(raised.value)


def test_a_replay_ends_in_time(site):
    """With the newest, and says so."""
    replays = site.replays(budget_s=-1)
    found = site.get(replays)
    assert found.done.wait(30)
    assert (found.answer.is_partial, found.answer.looked_at) == (True, 0)
    assert site.answer(most=1).is_partial is False


def test_what_was_found_is_kept_until_the_policy_changes(site):
    """The same question has the same trial; another policy, and `afresh`, another one."""
    replays = site.replays()
    now = Drafts(str(site.settings_path)).now()
    asked = Asked(LET_IN, "", 7, 100)
    first = replays.get(asked, now)
    assert first.done.wait(30)
    assert replays.get(asked, now) is first
    assert replays.get(asked, now, afresh=True) is not first
    site.rules.write_text("# new\n")
    other = replays.get(asked, Drafts(str(site.settings_path)).now())
    assert other.done.wait(30)
    assert other is not first


def test_what_nobody_looks_at_is_left_out(site, monkeypatch):
    """A page that was closed costs nothing."""
    running, go_on, asked = threading.Event(), threading.Event(), []

    def slow(what, *_):
        asked.append(what.statements)
        running.set()
        assert go_on.wait(30)

    monkeypatch.setattr("forkpolicy.console.whatif.replays.answer", slow)
    now_s = [0.0]
    replays = Replays(site.settings, clock=lambda: now_s[0])
    assert site.get(replays, "one").asked
    assert running.wait(30)
    site.get(replays, "two")
    now_s[0] = 1000.0
    last = site.get(replays, "three")
    go_on.set()
    assert last.done.wait(30)
    assert asked == ["one", "three"]


@pytest.mark.parametrize("rules_path", [True, False])
@pytest.mark.parametrize("statement", ["acl x sender {secret}", "include {secret}", "table t domain {secret}"])
def test_what_is_typed_reads_no_file(site, tmp_path, rules_path, statement):
    """Neither where the policy includes rules of the console nor without such an include: a mistake would show it."""
    (tmp_path / "secret").write_text("the words of a secret\n")
    site.write(BEFORE + INCLUDE * rules_path + BEHIND)
    now = load_now(str(site.settings_path))
    with pytest.raises(ConfigError) as refused:
        place(now, site.rules if rules_path else None, statement.format(secret=tmp_path / "secret") + "\n")
    said = " ".join(map(str, refused.value.diagnostics))
    assert "a restricted file" in said or "a table cannot be declared here" in said
    assert "words of a secret" not in said


def test_what_decisions_have_in_common_is_kept_once(tmp_path):
    """A trial holds tens of thousands of them."""
    site = Site(tmp_path)
    site.write(INCLUDE + BEHIND)
    site.take(decision(code="0000frgd0000", **SENT), decision(**SENT), decision(**SENT))
    one, *others = (sample.changed for change in site.answer().changes for sample in change.samples)
    assert len(others) == 2
    for each in others:
        assert each.before is one.before
        assert each.after is one.after
        for name in ("day", "rule", "verb", "acls", "host", "in_force"):
            assert getattr(each.found, name) is getattr(one.found, name)
