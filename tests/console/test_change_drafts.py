"""A draft is checked where it will stand, completed, and asked about a request."""

from __future__ import annotations

import json
import os

import pytest

from forkpolicy.console.change.drafts import NoRuleFileError
from forkpolicy.console.change.names import suggest
from forkpolicy.console.change.samples import explain_with, sample_of
from forkpolicy.errors import ConfigError, UsageError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.opening import open_history
from forkpolicy.history.store import Store
from forkpolicy.settings import load_settings
from tests.console.changing import PARTNER, POLICY, Site
from tests.history_logs import NOON_S, begin, decision

FORGED = "sender=boss@example.com recipient=a@example.com client_address=198.51.100.7"


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_every_mistake_of_a_draft_has_its_place(site):
    """All of one run, with the words of check."""
    found = site.target.check("acl partner client_adress 198.51.100.7\naccess partnr\nfoo\n")
    assert {(each.line, each.column) for each in found.mistakes} >= {(2, 8), (3, 1)}
    assert not found.is_right
    assert not found.elsewhere


def test_warnings_that_a_draft_brings(site):
    """Also about a rule of another file that never fires any more, and not those that were there before."""
    found = site.target.check("access from_us\n")
    assert found.is_right
    assert [(each.path.rpartition("/")[2], each.line) for each in found.warnings] == [("policy.conf", 6)]
    assert not site.target.check(PARTNER).warnings


def test_a_mistake_of_the_administrator_is_elsewhere(site):
    """It is none of the draft, which cannot be applied all the same."""
    policy = site.settings.with_name("policy.conf")
    target = site.target
    policy.write_text(POLICY + "access nobody\n")
    found = target.check(PARTNER)
    assert (found.mistakes, [each.line for each in found.elsewhere]) == ((), [7])


def test_what_is_kept_is_of_the_files(site):
    """However often it was asked: a file that is another one, missing, mended, or a broken setting is seen at once."""
    policy, settings = site.settings.with_name("policy.conf"), site.settings.read_text()
    for text in (POLICY, f"{POLICY}access inside\n", f"{POLICY}include missing.conf\n", POLICY):
        policy.write_text(text)
        os.utime(policy, (1e9, 1e9))
        for _ in range(2):
            assert len(site.drafts.check(site.rules, "access nobody\n").mistakes) == 1
            if "missing" in text:
                with pytest.raises(ConfigError):
                    site.drafts.now()
            else:
                assert len(site.drafts.now().policy.model.rules) == text.count("\naccess")
    for text, error in (("[server]\nwrong = 1\n", ConfigError), (settings, None)):
        site.settings.write_text(text)
        os.utime(site.settings, (1e9, 1e9))
        for _ in range(2):
            if error:
                with pytest.raises(error):
                    site.drafts.path()
            else:
                assert site.drafts.path() == site.rules


def test_a_draft_is_bounded(site):
    """In size, and to what UTF-8 has."""
    assert "at most" in site.target.check("#" * (1 << 18) + "\n").mistakes[0].message
    assert "UTF-8" in site.target.check("# \ud800\n").mistakes[0].message


def test_a_policy_without_a_rule_file(site):
    """Says which line to add."""
    site.settings.with_name("policy.conf").write_text(POLICY.replace("include", "# include"))
    with pytest.raises(NoRuleFileError, match=r"put `include \S+/console/rules.conf restricted`"):
        site.drafts.path()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", {"access", "acl", "action"}),
        ("access from", {"from_us"}),
        ("access !ins", {"inside"}),
        ("access inside pro", {"prove_it"}),
        ("access pro", set()),
        ("acl x client_a", {"client_address"}),
        ("acl x any from", {"from_us"}),
        ("action no RE", {"REJECT"}),
        ("action no REJECT not {recip", {"recipient", "recipient_count"}),
        ("acl mine sender a@b.example\naccess mi", {"mine"}),
        ("access inside\n    fro", {"from_us"}),
        ("# acc", set()),
    ],
)
def test_names_are_completed(site, text, names):
    """Of the language, of the policy and of the draft, where they may stand."""
    found = suggest(text, len(text), site.drafts.now().policy.model)
    assert set(found.names) == names
    if names:
        assert all(name.startswith(text[found.begin : found.end]) for name in names)


def test_a_sample_is_explained_by_both(site):
    """What serves, and the draft."""
    now, draft = site.drafts.now(), site.target.check(PARTNER).loaded
    sample = sample_of(FORGED, now.policy.wanted, None, NOON_S)
    before, after = explain_with(sample, now, draft)
    assert (before.action, after.action) == ("REJECT 5.7.1 not as boss@example.com", "DUNNO")
    assert after.rule.endswith("rules.conf:2")
    assert [each["fired"] for each in after.why["lines"]] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        FORGED.replace(" ", "\n"),
        (
            "NOQUEUE: reject: RCPT from unknown[198.51.100.7]: 554 5.7.1 <a@example.com>: no; from=<boss@example.com> "
            "to=<a@example.com> proto=ESMTP helo=<x>"
        ),
    ],
)
def test_a_sample_may_be_pasted(site, text):
    """Attributes line by line, a line of Postfix's log."""
    now = site.drafts.now()
    (found,) = explain_with(sample_of(text, now.policy.wanted, None, NOON_S), now)
    assert found.action == "REJECT 5.7.1 not as boss@example.com"


def test_a_past_decision_is_a_sample(site, tmp_path):
    """By its id: with its time, and what was answered then."""
    line = json.loads(decision(code="0000frgd0000", client_address="198.51.100.7", sender="boss@example.com"))
    (tmp_path / "log.json").write_bytes(begin() + json.dumps(line).encode() + b"\n")
    site.settings.write_text(site.settings.read_text() + '[history]\nlog = "log.json"\npath = "history"\n')
    ingester = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S)
    ingester.turn()
    ingester.close()
    now = site.drafts.now()
    history = open_history(load_settings(str(site.settings)).history)
    sample = sample_of(" 0000FRGD0000 ", now.policy.wanted, history, NOON_S)
    assert sample.of == "0000frgd0000"
    (found,) = explain_with(sample, now)
    assert found.action == "REJECT 5.7.1 not as boss@example.com"
    with pytest.raises(UsageError, match="there is no decision"):
        sample_of("0000nthr0000", now.policy.wanted, history, NOON_S)


@pytest.mark.parametrize("text", ["", "hello", "sender", "sendr=a@example.com", "x" * 70_000])
def test_what_is_no_request_is_refused(site, text):
    """With what was expected."""
    with pytest.raises(UsageError):
        sample_of(text, site.drafts.now().policy.wanted, None, NOON_S)
