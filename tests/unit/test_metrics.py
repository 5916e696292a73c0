"""The Prometheus text of a status answer, and the dashboard that reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from forkpolicy.compile_failures import Failure
from forkpolicy.feed_copies import FeedNote
from forkpolicy.metrics import METRICS, render
from forkpolicy.scoreboard import BUCKETS
from forkpolicy.status import (
    ASKED_LIMITS_S,
    AskedStatus,
    LogStatus,
    LostLines,
    ShadowStatus,
    StateFigures,
    StateStatus,
    TableStatus,
    ZoneStatus,
)
from tests.statuses import status, worker

ASKED = {
    "rate busy over": 2,
    "rate busy under": 7,
    "rate other over": 1,
    "greylisting grey early": 4,
    "listed banned failed": 1,
    "dnsbl bad listed": 5,
    "spf forged fail": 2,
    "spf vouched fail": 1,
    "spf vouched pass": 6,
}
STATE = StateStatus("/run/s", "/var/s", True, StateFigures(1 << 20, 1 << 28, 77, 0, 1, ""), 1.5)
DASHBOARD = Path(__file__).parents[2] / "contrib" / "grafana" / "dashboard.json"


def page(**changed):
    """The page about one busy worker, which differs in these fields."""
    latency = [0] * BUCKETS
    latency[1], latency[9], latency[BUCKETS - 1] = 5, 3, 1
    fields = {
        "slot": 0,
        "shadow": ShadowStatus(8, 3, 1, {"policy.conf:4 -> other.conf:5": 3}),
        "tables": (TableStatus("nets", "cidr", "", 7, 1700000000.5, 0, "damaged", "2026-12-24"),),
        "actions": {"DUNNO": 9},
        "latency": tuple(latency),
        "line_hits": (2, 7, 0),
        "exempted": (3, 0, 0),
        "asked": AskedStatus(ASKED, 0.5, (0, 2, *(0 for _ in ASKED_LIMITS_S[2:]), 1)),
        "lists": {"bl.example not-listed": 5, "bl.example listed": 2},
        "services": {"unix:/run/postgrey/socket replied": 7, "unix:/run/postgrey/socket late": 1},
        **changed,
    }
    zones = (ZoneStatus("bl.example"), ZoneStatus("dbl.example", off="lists INVALID"))
    lines = ('policy.conf:4: access !inside "a\\b"', "default: no rule fired", "on_error: an evaluation failed")
    one = worker({"requests": 9, "busy_ns": 2_500_000, "sampled": 4}, **fields)
    feeds = [FeedNote("nets", "https://example.org/list", "", 9, 1.0, each) for each in (1700000099.5, 1700000009.5)]
    failed = {"nets": Failure(1700000000.5, "no such file")}
    return render(
        status(one, lines=lines, state=STATE, zones=zones, history=LogStatus("history.json", LostLines(1, 2), 0)),
        failed,
        feeds,
    )


def test_every_metric_is_rendered_and_declared():
    """A busy server has a sample of every declared metric, each with its HELP and TYPE once."""
    text = page()
    for metric in METRICS:
        assert text.count(f"# TYPE {metric.name} {metric.kind}\n") == 1
        assert re.search(rf"^{metric.name}(_bucket)?(\{{.*\}})? ", text, re.MULTILINE), metric.name


def test_numbers_are_exact():
    """A time of the clock is not rounded to ten seconds, nor is a counter that has run for years."""
    text = page()
    for name, value in (
        ("table_created", 1700000000.5),
        ("compile_failed", 1700000000.5),
        ("feed_confirmed", 1700000009.5),
    ):
        assert re.search(rf"^forkpolicy_{name}_timestamp_seconds\{{.*\}} (.*)$", text, re.MULTILINE)[1] == str(value)
    busy = render(status(worker({"busy_ns": 123_456_789_123_456_789}, slot=0)), {})
    assert float(re.search(r"^forkpolicy_busy_seconds_total\{.*\} (.*)$", busy, re.MULTILINE)[1]) == 123456789.12345679


def test_labels_are_escaped():
    """Quotes and backslashes of a policy's line do not end its label."""
    assert r'text="access !inside \"a\\b\""} 2' in page()


def test_histogram_is_cumulative_and_ends_in_everything():
    """Buckets only grow, and the last has all."""
    counts = [int(each) for each in re.findall(r"duration_seconds_bucket\{.*\} (\d+)", page())]
    assert counts == sorted(counts)
    assert counts[-1] == 9
    assert counts[-2] == 8


def test_first_acl_is_the_label_of_what_it_exempts():
    """Lines without ACLs (the end of the policy) exempt nothing."""
    lines = [line for line in page().splitlines() if line.startswith("forkpolicy_exempted")]
    assert lines == ['forkpolicy_exempted_requests_total{worker="0",line="policy.conf:4",acl="!inside"} 3']


def test_a_shadow_is_counted_by_the_lines_responsible():
    """The pair's two lines are two labels; without a shadow there is nothing of it."""
    lines = [line for line in page().splitlines() if line.startswith("forkpolicy_shadow_")]
    assert lines == [
        'forkpolicy_shadow_compared_total{worker="0"} 8',
        'forkpolicy_shadow_differs_total{worker="0"} 3',
        'forkpolicy_shadow_failed_total{worker="0"} 1',
        'forkpolicy_shadow_pair_differs_total{worker="0",line="policy.conf:4",shadow="other.conf:5"} 3',
    ]
    assert "shadow" not in page(shadow=None)


def test_a_worker_that_starts_has_no_age():
    """Before it is ready its slot still has its predecessor's times."""
    assert "worker_age_seconds{" not in page(ready=False)


def test_dashboard_uses_exactly_these_metrics():
    """Every metric is on the dashboard, and the dashboard asks for no other."""
    text = DASHBOARD.read_text()
    json.loads(text)
    used = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bforkpolicy_[a-z_]+", text)}
    assert used == {metric.name for metric in METRICS}


def test_questions_to_the_store_are_counted_without_keys():
    """By kind and result; greylisting and limits have metrics of their own, the latter by the name of the ACL."""
    lines = [
        line
        for line in page().splitlines()
        if line.startswith(("forkpolicy_state_q", "forkpolicy_greylist", "forkpolicy_rate"))
    ]
    assert lines == [
        'forkpolicy_state_questions_total{worker="0",result="over",kind="rate"} 3',
        'forkpolicy_state_questions_total{worker="0",result="under",kind="rate"} 7',
        'forkpolicy_state_questions_total{worker="0",result="early",kind="greylisting"} 4',
        'forkpolicy_state_questions_total{worker="0",result="failed",kind="listed"} 1',
        'forkpolicy_greylist_total{worker="0",result="early"} 4',
        'forkpolicy_rate_over_total{worker="0",acl="busy"} 2',
        'forkpolicy_rate_over_total{worker="0",acl="other"} 1',
    ]
    assert 'forkpolicy_state_seconds_bucket{worker="0",le="6.4e-05"} 2' in page()
    assert 'forkpolicy_state_seconds_bucket{worker="0",le="+Inf"} 3' in page()


def test_spf_is_counted_by_result():
    """Over all ACLs, and also where no ACL remembers."""
    for asked in (AskedStatus(ASKED, 0.5, (3,)), AskedStatus(ASKED)):
        text = page(asked=asked)
        assert [line for line in text.splitlines() if line.startswith("forkpolicy_spf")] == [
            'forkpolicy_spf_total{worker="0",result="fail"} 3',
            'forkpolicy_spf_total{worker="0",result="pass"} 6',
        ]
        assert ("forkpolicy_state_seconds_sum{" in text) is bool(asked.times)


def test_services_are_counted_by_endpoint():
    """Questions with their results."""
    samples = [line for line in page().splitlines() if line.startswith("forkpolicy_service_questions_total{")]
    assert samples == [
        'forkpolicy_service_questions_total{worker="0",service="unix:/run/postgrey/socket",result="replied"} 7',
        'forkpolicy_service_questions_total{worker="0",service="unix:/run/postgrey/socket",result="late"} 1',
    ]


def test_dns_lists_are_counted_by_zone():
    """Questions with their results, and which lists are off."""
    assert [line for line in page().splitlines() if line.startswith("forkpolicy_dns")] == [
        'forkpolicy_dns_questions_total{worker="0",zone="bl.example",result="not-listed"} 5',
        'forkpolicy_dns_questions_total{worker="0",zone="bl.example",result="listed"} 2',
        'forkpolicy_dns_zone_off{zone="bl.example"} 0',
        'forkpolicy_dns_zone_off{zone="dbl.example"} 1',
    ]


def test_the_maps_have_a_size_and_an_age():
    """Without an ACL that remembers there is nothing of them."""
    text = page()
    assert 'forkpolicy_state_bytes{what="max"} 268435456\n' in text
    assert "forkpolicy_state_save_age_seconds 1.5\n" in text
    assert "forkpolicy_state_" not in render(status(), {})
