"""`python -m loadtest bench-import`: what it costs to import rules of postfwd, and to decide with them.

How long `forkpolicy import postfwd` takes for a long rule file, its check by loading included. What a decision costs
with 10 and with 10,000 imported rules: rounds take turns, the least and the median of each, growth in the median round.
And what a request costs here and in postfwd with the same 10,000 rules and requests, replies compared: here from the
bytes that Postfix sends to those that it gets, without system calls; there CPU of the whole process, without its start.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs, load_format
from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.reply import encode
from forkpolicy.protocol.request import Request
from loadtest.errors import SetupError
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least
from loadtest.traffic.rule_files import requests, rule_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkpolicy.policy.policy import Policy

FEW, MANY = 10, 10_000
ASKED = 2000
Figures = dict[str, float]


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtest bench-import", description=__doc__)
    parser.add_argument("--rules", type=at_least(1), default=50_000, help="to import (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=15, help="of decisions (default %(default)s)")
    parser.add_argument("--postfwd", type=at_least(0), default=40, metavar="N", help="requests for it (default 40)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args(argv)
    head = heading(f"{options.rounds} rounds of {ASKED:,} decisions each, taking turns")
    with tempfile.TemporaryDirectory() as folder:
        figures = _importing(Path(folder), options.rules) | _deciding(Path(folder), options.rounds)
        if options.postfwd:
            figures |= _postfwd(Path(folder), options.postfwd)
    if options.json:
        print(json.dumps(head | figures, indent=2))
    else:
        print(*heading_lines(head), *(f"{name:<52}{value:>12,.2f}" for name, value in figures.items()), sep="\n")
    return 0


def _importing(folder: Path, rules: int) -> Figures:
    """One run of the command."""
    path = folder / "long.cf"
    path.write_text(rule_file(rules))
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "forkpolicy", "import", "postfwd", str(path)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode or f"{rules} rules" not in done.stderr:
        raise SetupError(f"the import did not carry over {rules} rules: {done.stderr[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {f"import of {rules:,} rules, s": time.perf_counter() - start_s, "its CPU, s": cpu_s}


def _policy(folder: Path, rules: int) -> Policy:
    """The policy of a rule file, imported and loaded as a server loads it."""
    place = folder / str(rules)
    place.mkdir(exist_ok=True)
    (place / "rules.cf").write_text(rule_file(rules))
    draft = Draft()
    load_format("postfwd").read(Inputs((str(place / "rules.cf"),), Files()), draft)
    assert not draft.left_out
    (place / "policy.conf").write_text(draft.policy_text())
    (place / "forkpolicy.toml").write_text('tables = "tables"\n')
    return load_everything(place / "forkpolicy.toml").policy


def _deciding(folder: Path, rounds: int) -> Figures:
    """Decisions with few and with many rules, in turn."""
    policies = {rules: _policy(folder, rules) for rules in (FEW, MANY)}
    gc.freeze()
    raw = [_bytes(each) for each in requests(FEW, ASKED)]
    asked = {
        rules: [wanted_values(Request.parse(each), policy.wanted) for each in raw] for rules, policy in policies.items()
    }
    timed = [
        {rules: _round_us(policy.decide, asked[rules]) for rules, policy in policies.items()} for _ in range(rounds)
    ]
    figures = {}
    for rules in policies:
        each = [one[rules] for one in timed]
        figures[f"decision with {rules:,} rules, least, us"] = min(each)
        figures[f"decision with {rules:,} rules, median, us"] = statistics.median(each)
    figures["growth, median of rounds"] = statistics.median(one[MANY] / one[FEW] for one in timed)
    figures["growth, least of each"] = min(one[MANY] for one in timed) / min(one[FEW] for one in timed)
    return figures


def _round_us(decide: Callable[..., object], asked: Sequence[object]) -> float:
    start_s = time.process_time()
    for values in asked:
        decide(values)
    return (time.process_time() - start_s) / len(asked) * 1e6


def _postfwd(folder: Path, count: int) -> Figures:
    """The same requests for both, with the same rules."""
    form, path = load_format("postfwd"), folder / str(MANY) / "rules.cf"
    asked = requests(MANY, ASKED)
    policy = _policy(folder, MANY)
    start_s = time.process_time()
    ours = [_reply(policy, _bytes(each)) for each in asked]
    ours_us = (time.process_time() - start_s) / len(asked) * 1e6
    assert form.original is not None
    with form.original(Inputs((str(path),), Files())) as original:
        original.replies(asked[:1])
        before_s = _cpu_of_children_s()
        theirs = original.replies(asked[:count])
        theirs_us = (_cpu_of_children_s() - before_s) / count * 1e6
    for mine, its in zip(ours, theirs, strict=False):
        if not form.same_reply(its, mine.decode().strip().removeprefix("action=")):
            raise SetupError(f"postfwd replied {its!r}, and the import {mine!r}")
    return {
        f"a request here, {MANY:,} rules, us": ours_us,
        f"a request of postfwd, {MANY:,} rules, us": theirs_us,
        "times": theirs_us / ours_us,
    }


def _cpu_of_children_s() -> float:
    """Of the running children of this process: there is one, postfwd."""
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        # A thread may have ended since it was listed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _reply(policy: Policy, raw: bytes) -> bytes:
    values = wanted_values(Request.parse(raw), policy.wanted)
    return encode(policy.text(policy.decide(values).rule, values))


def _bytes(attributes: Mapping[str, str]) -> bytes:
    return "".join(f"{name}={value}\n" for name, value in attributes.items()).encode() + b"\n"
