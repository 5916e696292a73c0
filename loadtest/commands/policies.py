"""`python -m loadtest policies`: what the length of a policy costs.

Generates policies in the style of long postfwd rule sets (a line for each recipient, domain, client or login; one
ACL a line), loads each, and asks it about requests of which most meet no line and some meet one. CPU time of this
process, a decision.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from loadtest.options import counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values

ACTIONS = ("turn_away", "let_in", "keep")
REQUESTS = 2000
ROUNDS = 5


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtest policies", description=__doc__)
    parser.add_argument("--lines", type=counts, default="10,100,1000,10000", help="lengths (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args(argv)
    rows = [measure(count, options.seed) for count in options.lines]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'lines':>8}{'load s':>9}{'decide us':>11}{'ratio':>8}")
    for row in rows:
        ratio = row["decide_us"] / rows[0]["decide_us"]
        print(f"{row['lines']:>8}{row['load_s']:>9.2f}{row['decide_us']:>11.2f}{ratio:>8.2f}")
    return 0


def measure(count: int, seed: int) -> dict[str, float]:
    """Load a policy of `count` lines and time its decisions."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.conf").write_text(generate(count, random.Random(seed)))
        (Path(folder) / "forkpolicy.toml").write_text("")
        start = time.process_time()
        policy = load_everything(Path(folder) / "forkpolicy.toml").policy
        load_s = time.process_time() - start
    # As a worker does: what was loaded is never garbage.
    gc.freeze()
    asked = [wanted_values(each, policy.wanted) for each in requests(count, random.Random(seed + 1))]
    return {"lines": count, "load_s": load_s, "decide_us": min(_decide_us(policy, asked) for _ in range(ROUNDS))}


def _decide_us(policy: Policy, asked: list[Values]) -> float:
    start = time.process_time()
    for values in asked:
        policy.decide(values)
    return (time.process_time() - start) / len(asked) * 1e6


def generate(count: int, chance: random.Random) -> str:
    """A policy of `count` access lines, each with an ACL of its own."""
    text = ["action turn_away REJECT", "action let_in OK", "action keep HOLD", "acl signed_in authenticated"]
    for number in range(count):
        kind = chance.choices(("recipient", "sender", "client", "network", "login"), (4, 2, 2, 1, 1))[0]
        value, more = _acl(kind, number, chance)
        text.append(f"acl a{number} {value}")
        text.append(f"access a{number}{more} {chance.choice(ACTIONS)}")
    return "\n".join(text) + "\n"


def _acl(kind: str, number: int, chance: random.Random) -> tuple[str, str]:
    high, low = number >> 8 & 255, number & 255
    if kind == "recipient":
        return f"recipient user{number}@example.com", ""
    if kind == "sender":
        return f"sender @domain{number}.example", ""
    if kind == "client":
        return f"client_address 10.{high}.{low}.{chance.randrange(256)}", ""
    if kind == "network":
        return f"client_address 172.{16 + high % 16}.{low}.0/24", " !signed_in"
    return f"sasl_username login{number}", ""


def requests(count: int, chance: random.Random) -> list[Request]:
    """Requests of which about a tenth meet a line."""
    made = []
    for number in range(REQUESTS):
        known = chance.randrange(count) if chance.random() < 0.1 else count + number
        attributes = {
            "request": "smtpd_access_policy",
            "protocol_state": "RCPT",
            "client_address": f"203.0.{chance.randrange(256)}.{chance.randrange(256)}",
            "sender": f"somebody{number}@domain{known}.example",
            "recipient": f"user{known}@example.com",
        }
        made.append(Request(attributes, None))
    return made
