"""The page Rules: the policy as it stands, hits that stay with their rule though lines move, and why there are none."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.rules.counts import Recorded, owners
from forkpolicy.console.rules.standing import Standing, standing
from forkpolicy.decisive_settings import DecisiveSettings
from forkpolicy.documents import plain
from forkpolicy.errors import NotRunningError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.history.versions import KeptPolicy, Version, VersionDirectory, policy_part
from forkpolicy.history.whatif.policies import load_now
from forkpolicy.loading import load_everything
from forkpolicy.settings import Settings, load_settings
from tests.console.asking import Browser, SignedIn
from tests.history_logs import NOON_S, begin, decision

POLICY = """\
# ours
acl from_us sender @example.com
acl partner
    client_address 192.0.2.0/24
acl everybody client_address 0.0.0.0/0
action prove_it REJECT 5.7.1 prove it
access partner from_us
include console/rules.conf restricted
access from_us prove_it
access everybody from_us prove_it
"""
RULES = "acl x sender <>\naccess x prove_it\n"
NOW_S = NOON_S
DAY_S = 86_400


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A policy of two files, and decisions of three days."""

    class Site:
        settings = tmp_path / "forkpolicy.toml"
        policy = tmp_path / "policy.conf"

        def take(self, *lines):
            (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
            ingester = Ingester(
                str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOW_S
            )
            ingester.turn()
            ingester.close()

        def browser(self, role=Role.OPERATOR, status=None):
            parts = Parts(load_settings(str(self.settings)))
            parts.rules._counts._clock = lambda: NOW_S

            def look():
                raise NotRunningError("no server runs in this test")

            monkeypatch.setattr(parts, "status", status or look)
            return Browser(application(parts, SignedIn(role)))

        def where(self, line):
            return f"{self.policy}:{line}"

    (tmp_path / "forkpolicy.toml").write_text(
        'policy = "policy.conf"\n[history]\nlog = "log.json"\npath = "history"\ndecisions = "all"\n'
        '[console]\npath = "console"\n'
    )
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "rules.conf").write_text(RULES)
    return Site()


def rules_of(found):
    """By line of the policy file: the gutter."""
    return {line["number"]: line["rule"] for line in found["lines"] if line["rule"] and line["depth"] == 0}


def test_the_policy_is_shown_as_it_stands(site):
    """With what it includes in its place, and the restricted file marked."""
    found = site.browser().json("/rules")
    shown = [(line["number"], line["kind"]) for line in found["lines"]]
    assert shown[:2] == [(0, "file"), (1, "comment")]
    assert shown[8:13] == [(8, "include"), (0, "file"), (1, "acl"), (2, "access"), (8, "file")]
    texts = ["".join(each["text"] for each in line["pieces"]) for line in found["lines"] if line["kind"] != "file"]
    assert texts == [*POLICY.splitlines()[:8], *RULES.splitlines(), *POLICY.splitlines()[8:]]
    assert [line["restricted"] for line in found["lines"]][8:13] == [False, True, True, True, False]
    page = site.browser().get("/rules")
    assert (page.status, "restricted" in page.text) == (200, True)


def test_words_lead_to_what_they_name(site):
    """An ACL and an action to their line, which has that anchor."""
    found = site.browser().json("/rules")
    line = next(each for each in found["lines"] if each["number"] == 9)
    links = {each["text"]: each["link"] for each in line["pieces"] if each["link"]}
    assert set(links) == {"from_us", "prove_it"}
    assert links["from_us"].endswith("policy.conf%3A2#policy.conf-2")
    assert 'id="policy.conf-2"' in site.browser().get(links["from_us"].partition("#")[0]).text


def test_hits_are_counted_by_hour_and_day(site):
    """Of 24 hours, and of thirty days; the last one to ten minutes."""
    line = site.where(9)
    at = [NOW_S - 60, NOW_S - 3700, NOW_S - 3 * DAY_S, NOW_S - 3 * DAY_S - 5000]
    site.take(*(decision(each, rule=line, action="REJECT 5.7.1 prove it") for each in at))
    rule = rules_of(site.browser().json("/rules"))[9]
    assert (rule["day"], rule["total"], rule["hours"][-2:]) == (2, 4, [1, 1])
    assert NOW_S - 660 <= rule["last_s"] <= NOW_S
    csv = site.browser().get("/rules?format=csv").text
    assert f"{site.policy},9,access from_us prove_it,2,4," in csv


def test_hits_stay_with_a_rule_that_moves(site):
    """By its ACLs and its reply; of several alike the nearest; and a rule that was changed begins anew."""
    site.take(*(decision(NOW_S - 60, rule=site.where(9), action="REJECT no") for _ in range(3)))
    assert rules_of(site.browser().json("/rules"))[9]["day"] == 3
    site.policy.write_text(POLICY.replace("# ours\n", "# ours\n# and\n# more\n"))
    found = site.browser().json("/rules")
    assert (rules_of(found)[11]["day"], rules_of(found)[9]["day"], found["gone"]) == (3, 0, 0)
    site.policy.write_text(POLICY.replace("access from_us prove_it", "access !from_us prove_it"))
    found = site.browser().json("/rules")
    assert (rules_of(found)[9]["day"], found["gone"]) == (0, 3)


def test_of_rules_alike_the_nearest_has_the_hits(site):
    """Two rules of the same ACLs and word."""
    site.policy.write_text(POLICY + "access from_us prove_it\n")
    rules = load_now(str(site.settings)).policy.model.rules
    lines = {rule.number: rule.place.line for rule in rules}
    found = owners(rules, [Recorded(f"{site.policy}:{line}", "from_us", "REJECT") for line in (8, 9, 11, 15)])
    assert [lines[each] for each in found.values()] == [9, 9, 11, 11]
    assert owners(rules, [Recorded("default", "", "DUNNO"), Recorded("other.conf:9", "from_us", "REJECT")]) == {}


def test_a_rule_that_never_fired_says_why(site):
    """What check knows, or since when nobody met it; what is not recorded is unknown, never 0."""
    site.take(decision(NOW_S - 60, rule=site.where(9), action="REJECT no"))
    rules = rules_of(site.browser().json("/rules"))
    assert rules[9]["never"] == ""
    assert "shadowed by line 9" in rules[10]["never"]
    assert rules[7]["never"].startswith("no request has met it since 2026-11")
    site.settings.write_text(site.settings.read_text().replace('"all"', '"acted"'))
    rules = rules_of(site.browser().json("/rules"))
    assert (rules[7]["day"], rules[7]["never"]) == (None, "")
    page = site.browser().get("/rules").text
    assert "unknown" in page


def test_rules_that_never_fired_are_listed_alone(site):
    """With a link to the place of each."""
    site.take(decision(NOW_S - 60, rule=site.where(9), action="REJECT no"))
    found = site.browser().json("/rules?only=never")
    assert [(line["depth"], line["number"]) for line in found["lines"]] == [(0, 7), (1, 2), (0, 10)]
    page = site.browser().get("/rules?only=never").text
    assert "#policy.conf-10" in page
    assert "access from_us prove_it" not in page


def test_nothing_is_known_without_a_history(site):
    """And nothing is said to be 0."""
    rules = rules_of(site.browser().json("/rules"))
    assert {rule["day"] for rule in rules.values()} == {None}
    assert {rule["never"] for rule in rules.values()} == {""}
    assert site.browser().json("/rules")["sentence"] == "The policy has 4 rules; how often they fired is not known."


def test_one_rule(site):
    """Its ACLs with their lines, its reply, whom it hit."""
    site.take(decision(NOW_S - 60, code="0000hhhh0000", rule=site.where(9), action="REJECT no"))
    found = site.browser().json(f"/rules/{site.where(9)}")
    assert [(each["name"], each["lines"]) for each in found["acls"]] == [
        ("from_us", ["acl from_us sender @example.com"])
    ]
    assert found["action"]["lines"] == ["action prove_it REJECT 5.7.1 prove it"]
    assert [each["id"] for each in found["newest"]] == ["0000hhhh0000"]
    assert "It fired once in 24 hours, once in 30 days" in found["sentence"]
    page = site.browser().get(f"/rules/{site.where(9)}")
    assert (page.status, "/why/0000hhhh0000" in page.text) == (200, True)
    assert site.browser().get("/rules/nowhere:1").status == 404


@pytest.mark.parametrize("query", ["begin=99999", "begin=-1", "at=nowhere:1"])
def test_a_line_that_is_not_there(site, query):
    """Is said."""
    assert site.browser().get(f"/rules?{query}").status == 422


def test_a_long_policy_is_paged(site):
    """So that it stays small, and a link leads to the page that has its line."""
    site.policy.write_text("# one\n" * 300 + POLICY)
    found = site.browser().json("/rules")
    assert (len(found["lines"]), found["previous"], found["next"]) == (150, "", "/rules?begin=150")
    page = site.browser().get(f"/rules?at={site.policy}:302").text
    assert 'id="policy.conf-302"' in page
    assert len(page) < 60_000


def test_only_those_who_may_see_the_server_see_rules(site):
    """Domains and users do not."""
    for role in (Role.DOMAIN, Role.USER):
        assert site.browser(role).get("/rules").status == 403
        assert site.browser(role).get("/rules/x:1").status == 403


def reports(site, **tables):
    """What a server says that has this policy."""
    lines = load_everything(str(site.settings)).line_texts
    shadow = SimpleNamespace(pairs={f"{site.where(9)} -> shadow.conf:3": 4, f"{site.where(7)} -> default": 1})
    served = [SimpleNamespace(name=name, entries=entries) for name, entries in tables.items()]
    worker = SimpleNamespace(line_hits=tuple(range(len(lines))), shadow=shadow, tables=served)
    return lambda: SimpleNamespace(lines=lines, workers=[worker, worker], generation_age_s=60.0)


def test_the_server_counts_what_the_history_has_not(site):
    """What passes, where the history has what acted."""
    site.settings.write_text(site.settings.read_text().replace('"all"', '"acted"'))
    rules = rules_of(site.browser(status=reports(site)).json("/rules"))
    assert [(rules[line]["day"], rules[line]["of_server"]) for line in (7, 9)] == [(None, 0), (None, 4)]
    assert rules[7]["never"].startswith("no request has met it since")
    found = site.browser(status=reports(site)).json(f"/rules/{site.where(9)}")
    assert [each["decisions"] for each in found["differences"]] == [8]
    assert "It fired 4 times since the server has loaded this policy" in found["sentence"]


def test_an_empty_table_is_why_a_rule_never_fired(site):
    """Where a term needs an entry of it."""
    site.policy.write_text(
        POLICY.replace("client_address 192.0.2.0/24", "client_address table:t").replace(
            "acl from_us", "table t cidr entries\nacl from_us"
        )
    )
    rules = rules_of(site.browser(status=reports(site, t=0)).json("/rules"))
    assert rules[8]["never"] == 'table "t" is empty'
    rules = rules_of(site.browser(status=reports(site, t=2)).json("/rules"))
    assert rules[8]["never"].startswith("no request has met it")


def test_a_rule_stands_so_since_the_version_that_brought_it(tmp_path):
    """White space and its place in the file do not count; without an older version it may be older."""
    versions = VersionDirectory(str(tmp_path))
    versions.begin()
    settings = DecisiveSettings.of(Settings())
    for at, text in enumerate(("access a\n", "access a\naccess b\n", "# new\naccess  b\n")):
        kept = KeptPolicy("policy.conf", settings, {"policy.conf": text}, {})
        versions.write(policy_part(f"p{at}", "s"), [json.dumps(plain(kept)).encode()])
        versions.write_version(Version(f"v{at}", 1000 * at, f"p{at}", "s", {}, ()))
    assert standing(versions, "policy.conf", "access b") == Standing(2, 1.0, is_oldest=False)
    assert standing(versions, "policy.conf", "access a") is None
    versions.write_version(Version("v0", 0, "p1", "s", {}, ()))
    assert standing(versions, "policy.conf", "access b").is_oldest
