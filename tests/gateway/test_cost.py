"""`python -m loadtest cost`: what it measures through a whole gateway, and when it says that a promise is missed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.commands.cost import Round, report
from loadtest.measure.processes import tree_cpu_us
from loadtest.servers import rspamd
from loadtest.servers.postfix import missing

CHECKOUT = Path(__file__).parents[2]
BURN = "import time\nwhile time.process_time() < 0.3: pass"


@pytest.mark.skipif(bool(missing() or rspamd.missing()), reason=missing() or rspamd.missing() or "both are there")
@pytest.mark.timeout(400)  # the first start of rspamd
def test_both_kinds_of_mail_cost_every_part_something():
    """Few of them: the figures are noise, but Postfix, scanner and policy server are in them."""
    words = ["--made", "--rounds", "2", "--sessions", "30", "--mails", "5"]
    command = [sys.executable, "-m", "loadtest", "cost", *words]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "15 mails sent, 15 delivered" in done.stdout
    rows = {line[:15]: re.findall(r"(-?[\d,]+) us", line) for line in done.stdout.splitlines()}
    policy, postfix, scanner, *_ = (int(each.replace(",", "")) for each in rows["refused session"])
    assert min(policy, postfix, scanner) > 0
    scanned = [int(each.replace(",", "")) for each in rows["scanned mail   "]]
    assert scanned[-1] > scanned[2] > 500
    assert re.search(
        r"a whole refused session: [\d.]+ % of a scanned mail at least, [\d.]+ % in the median", done.stdout
    )


@pytest.mark.parametrize(("policy", "postfix", "status"), [(99, 500, 0), (101, 400, 1), (50, 560, 1)])
def test_a_promise_that_is_missed_is_status_1(capsys, policy, postfix, status):
    """By the medians: one per cent for the policy server, six for the session."""
    rounds = [
        Round({"policy server": policy * noise, "Postfix": postfix}, {"policy server": 0, "Postfix": 10_000}, {
            "policy server": 0, "Postfix": 0
        })
        for noise in (0.5, 1, 3)
    ]  # fmt: skip
    assert report(rounds) == status
    assert ("missed" in capsys.readouterr().out) is bool(status)


def test_processes_that_ended_are_in_the_cost_of_a_tree():
    """Those that were waited for: an smtpd ends after a hundred sessions."""
    before = tree_cpu_us(os.getpid())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert tree_cpu_us(os.getpid()) - before > 250_000
