"""Rule files of postfwd of any length, and requests for them: what `python -m loadtest bench-import` measures.

A realistic mix: a rule for a sender, a recipient, a network, HELO names of one pattern, or three items together. Most
requests meet no rule; a tenth meets one. Knows no forkpolicy.
"""

from __future__ import annotations

import random
from typing import Final

ACTIONS: Final = ("REJECT 5.7.1 blocked", "450 4.7.1 try again later", "dunno")
MEETING: Final = 0.1


def rule_file(count: int, seed: int = 1) -> str:
    """The text of a rule file of that many rules."""
    chance = random.Random(seed)
    return "".join(f"id=R{number}; {_items(number)}; action={chance.choice(ACTIONS)}\n" for number in range(count))


def _items(number: int) -> str:
    high, low = number >> 8 & 255, number & 255
    return (
        f"sender==user{number}@d{number % 977}.example.com",
        f"recipient==box{number}@example.org",
        f"client_address=10.{high}.{low}.0/24",
        rf"helo_name=~^(dsl|dyn)[0-9]+\.pool{number}\.example\.net$",
        rf"client_address=172.{16 + high % 16}.{low}.7; sender=~@d{number}\.example\.com$; recipient_count<=100",
    )[number % 5]


def requests(rules: int, count: int, seed: int = 2) -> list[dict[str, str]]:
    """Requests at RCPT, of which a tenth meets one of the first `rules` rules."""
    chance = random.Random(seed)
    return [_request(chance.randrange(rules) if chance.random() < MEETING else None, chance) for _ in range(count)]


def _request(met: int | None, chance: random.Random) -> dict[str, str]:
    number = chance.randrange(1 << 20)
    request = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": f"203.0.113.{chance.randrange(256)}",
        "client_name": f"mail{number % 500}.example.net",
        "reverse_client_name": f"mail{number % 500}.example.net",
        "helo_name": f"mail{number % 500}.example.net",
        "sender": f"someone{number}@d{number % 5000}.example",
        "recipient": f"staff{number % 3000}@example.org",
        "recipient_count": "0",
        "queue_id": "",
        "instance": f"{number:x}.{chance.randrange(1 << 30):x}.0",
        "size": str(chance.randrange(100_000)),
        "sasl_method": "",
        "sasl_username": "",
        "sasl_sender": "",
    }
    return request if met is None else request | _meeting(met)


def _meeting(number: int) -> dict[str, str]:
    high, low = number >> 8 & 255, number & 255
    return (
        {"sender": f"user{number}@d{number % 977}.example.com"},
        {"recipient": f"box{number}@example.org"},
        {"client_address": f"10.{high}.{low}.9"},
        {"helo_name": f"dsl{number}.pool{number}.example.net"},
        {"client_address": f"172.{16 + high % 16}.{low}.7", "sender": f"x@d{number}.example.com"},
    )[number % 5]
