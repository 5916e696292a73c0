"""Policies of every length and kind, and requests for them: what `python -m loadtest policies` measures.

A shape is a policy text and requests of which most meet no rule and some meet one, as in the long rule sets of
postfwd: a rule for each recipient, domain, client or login. Values stand in the policy, or in a table that has an entry
for each recipient. Knows no forkpolicy.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

REQUESTS: Final = 2000
ACTIONS: Final = ("turn_away", "let_in", "keep")
HEAD: Final = (
    "action turn_away REJECT",
    "action let_in OK",
    "action keep HOLD",
    "acl signed_in authenticated",
    "acl from_inside client_address 10.0.0.0/8 192.0.2.0/24",
    "acl from_us sender @example.com",
    "acl to_us recipient @example.com",
)
TABLE: Final = "levels"
FOUNDING: Final = "access !from_inside from_us to_us !signed_in turn_away"

Attributes = dict[str, str]
Rules = Callable[[int, random.Random], list[str]]


def one_acl(count: int, chance: random.Random) -> list[str]:
    """Rules of one ACL each, of five kinds."""
    rules = []
    for number in range(count):
        kind = chance.choices(("recipient", "sender", "client", "network", "login"), (4, 2, 2, 1, 1))[0]
        more = " !signed_in" if kind == "network" else ""
        rules += [f"acl a{number} {_values(kind, number, chance)}"]
        rules += [f"access a{number}{more} {chance.choice(ACTIONS)}"]
    return rules


def founding_first(count: int, chance: random.Random) -> list[str]:
    """The founding rule in front of rules of one ACL."""
    return [FOUNDING, *one_acl(count - 1, chance)]


def two_acls(count: int, chance: random.Random) -> list[str]:
    """Rules of two ACLs each: one of their own, of six kinds, and one of fifty, half of them negated, in any order."""
    kinds = ("recipient", "sender", "client", "network", "login", "expression")
    others = (*kinds, "size")
    rules = [f"acl b{number} {_values(chance.choice(others), number, chance)}" for number in range(min(count, 50))]
    for number in range(count):
        kind = chance.choices(kinds, (4, 2, 2, 1, 1, 0.5))[0]
        other = f"{chance.choice(('', '!'))}b{chance.randrange(min(count, 50))}"
        rules += [f"acl a{number} {_values(kind, number, chance)}"]
        rules += [f"access {' '.join(chance.sample([f'a{number}', other], 2))} {chance.choice(ACTIONS)}"]
    return rules


def unguarded(count: int, chance: random.Random) -> list[str]:
    """Rules of one ACL each, of which no index knows whether they fire: logins, encryption, bounces."""
    kinds = ("authenticated", "encrypted", "null_sender")
    acls = [f"acl a{number} {chance.choice(kinds)}" for number in range(count)]
    return [*acls, *(f"access a{number} {chance.choice(ACTIONS)}" for number in range(count))]


def networks(count: int, chance: random.Random) -> list[str]:
    """A network a rule."""
    return _of_kind("network", count, chance)


def expressions(count: int, chance: random.Random) -> list[str]:
    """An expression a rule."""
    return _of_kind("expression", count, chance)


def table_values(count: int, _chance: random.Random) -> list[str]:
    """A value of a table a rule."""
    acls = [f"acl a{number} recipient table:{TABLE}=v{number}" for number in range(count)]
    return [f"table {TABLE} address {TABLE}", *acls, *(f"access a{number} turn_away" for number in range(count))]


# Rules, how many of them, and which share of the requests is forged.
SHAPES: Final[dict[str, tuple[Rules, int, float]]] = {
    **{f"{count} rules of one ACL": (one_acl, count, 0.1) for count in (10, 100, 1000, 10_000)},
    "the founding rule": (founding_first, 1, 0.5),
    **{f"{count} rules, founding first": (founding_first, count, 0.1) for count in (12, 40)},
    **{f"{count} rules, founding first, forged": (founding_first, count, 1.0) for count in (12, 40)},
    "64 rules without a guard": (unguarded, 64, 0.1),
    **{f"{count} values of a table": (table_values, count, 0.1) for count in (3, 10, 1000, 10_000)},
    "7 networks": (networks, 7, 0.1),
    "7 expressions": (expressions, 7, 0.1),
    **{f"{count} rules of two ACLs": (two_acls, count, 0.1) for count in (10, 10_000)},
}


def policy_text(shape: str, seed: int) -> str:
    """The policy of a shape."""
    rules, count, _ = SHAPES[shape]
    return "\n".join([*HEAD, *rules(count, random.Random(seed))]) + "\n"


def table_text(shape: str) -> str:
    """The source of the table that a shape asks: an entry for each recipient; empty where it asks none."""
    rules, count, _ = SHAPES[shape]
    known = 10_000 + REQUESTS if rules is table_values else 0
    assert count <= 10_000
    return "".join(f"user{number}@example.com v{number}\n" for number in range(known))


def requests(shape: str, seed: int) -> list[Attributes]:
    """Requests of which about a tenth meet a rule, and some are forged: mail as one of our domains from outside."""
    chance, (_, count, forged) = random.Random(seed + 1), SHAPES[shape]
    made = []
    for number in range(REQUESTS):
        known = chance.randrange(count) if chance.random() < 0.1 else count + number
        domain = "example.com" if chance.random() < forged else f"domain{known}.example"
        made.append(
            {
                "request": "smtpd_access_policy",
                "protocol_state": "RCPT",
                "client_address": f"203.0.{chance.randrange(256)}.{chance.randrange(256)}",
                "sender": f"somebody{number}@{domain}",
                "recipient": f"user{known}@example.com",
                "size": str(chance.randrange(100_000)),
            }
        )
    return made


def _of_kind(kind: str, count: int, chance: random.Random) -> list[str]:
    acls = [f"acl a{number} {_values(kind, number, chance)}" for number in range(count)]
    return [*acls, *(f"access a{number} {chance.choice(ACTIONS)}" for number in range(count))]


def _values(kind: str, number: int, chance: random.Random) -> str:
    """An ACL's type and value."""
    high, low = number >> 8 & 255, number & 255
    return {
        "recipient": f"recipient user{number}@example.com",
        "sender": f"sender @domain{number}.example",
        "client": f"client_address 10.{high}.{low}.{chance.randrange(256)}",
        "network": f"client_address 172.{16 + high % 16}.{low}.0/24",
        "login": f"sasl_username login{number}",
        "size": f"size >{number + 1}M",
        "expression": f"sender /^newsletter{number}-.*@/",
    }[kind]
