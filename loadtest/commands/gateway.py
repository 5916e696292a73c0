"""`gateway`: a day of mail of a site of some hundred mailboxes through a whole gateway, each copy's fate checked.

Two Postfix, rspamd, policy server and store, on loopback. Each hour people change their welcome and block lists, and
release or delete some of what is held for them. An oracle knows for each recipient of each mail whether it is refused,
held or delivered: by the lists of that hour, the founding rule, the backend's word, the scanner, a rule that holds.
Status 1 where a copy has another fate, is lost, or came twice without a kill of the store that the ledger lists for it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from loadtest.measure.heading import heading, heading_lines
from loadtest.measure.processes import cpu_us, descendants
from loadtest.options import at_least, not_negative
from loadtest.servers.gateway_fates import found_at, ledger_of
from loadtest.servers.gateway_run import GatewayRun, killed_meanwhile
from loadtest.servers.gateway_site import DOMAINS, FRIEND, GatewaySite
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.gateway_day import FRIENDS_NETWORK, HOURS, SHARES, STRANGE_HELO, GatewayDay
from loadtest.traffic.gateway_oracle import GatewayOracle
from loadtest.traffic.gateway_verdicts import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.gateway.store_messages import LedgerReply
    from loadtest.servers.gateway_fates import Copy, Found
    from loadtest.traffic.gateway_verdicts import Seen

_DATABASE: Final = Path("build/rspamd")
_RULES: Final = f"""
acl    strange       helo_name {STRANGE_HELO}
action hold_it       FILTER quarantine:unix:private/store
access late strange hold_it
"""
_MOST_SHOWN: Final = 20
_COLUMNS: Final = ("mails", "copies", "refused", "held", "delivered", "released", "deleted", "wrong")


class Outcome(NamedTuple):
    """A day that is over. `cpu_us`: by process; `kills`: of the store."""

    run: GatewayRun
    found: Found
    ledger: LedgerReply
    took_s: float
    cpu_us: dict[str, float]
    kills: int


class Wrong(NamedTuple):
    """A copy that is not as it must be. `kind`: wrong, lost, doubled, listed (doubled, and the ledger says so)."""

    kind: str
    seen: Seen


def main(argv: Sequence[str]) -> int:
    """Run a day, compare, print."""
    options = _options(argv)
    head = heading(f"a day, {options.mails} mails, {options.mailboxes} mailboxes, {options.clients} clients at once")
    outcome = _day(options)
    wrong = dict(_wrong(outcome))
    kinds, figures = _by_kind(outcome.run, wrong), _figures(outcome, wrong, options.mails)
    if options.json:
        print(json.dumps({**head, "kinds": kinds, **figures}))
    else:
        print("\n".join((*heading_lines(head), *_lines(kinds, figures, wrong))))
    is_bad = any(each.kind != "listed" for each in wrong.values())
    return 1 if is_bad or outcome.ledger.wrong or len(outcome.ledger.twice) > outcome.kills else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest gateway", description=__doc__)
    add = parser.add_argument
    add("--mailboxes", type=at_least(50), default=500, help="default %(default)s")
    add("--mails", type=at_least(100), default=8000, help="of the day, refused ones included (default %(default)s)")
    add("--hours", type=at_least(1), default=HOURS, help="end after so many, from eight o'clock on (default: a day)")
    add("--clients", type=at_least(1), default=6, help="that send at once (default %(default)s)")
    add("--seed", type=at_least(0), default=1, help="of the day (default %(default)s)")
    add("--kill-store-every", type=not_negative, default=0.0, metavar="S", help="kill the store so often meanwhile")
    add("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _day(options: argparse.Namespace) -> Outcome:
    _DATABASE.mkdir(parents=True, exist_ok=True)
    day = GatewayDay(DOMAINS, FRIEND, options.mailboxes, options.mails, options.seed)
    oracle = GatewayOracle(day.people, DOMAINS, FRIEND, FRIENDS_NETWORK, STRANGE_HELO)
    with (
        traversable_directory() as base,
        GatewaySite(base, _DATABASE, people=day.people, rules=_RULES, workers=2) as site,
    ):
        run = GatewayRun(site, day, oracle, options.clients, options.seed)
        run.know_recipients()
        before_us, began_s = _cpu_us(site), time.monotonic()
        with killed_meanwhile(site, options.kill_store_every) as kills:
            for hour in islice(day.hours(), options.hours):
                run.run_hour(hour)
        took_s = time.monotonic() - began_s
        run.settle()
        spent_us = {name: us - before_us[name] for name, us in _cpu_us(site).items()}
        if kills:
            # What the killed ones have used is not known.
            del spent_us["store"]
        return Outcome(run, found_at(site), ledger_of(site), took_s, spent_us, len(kills))


def _cpu_us(site: GatewaySite) -> dict[str, float]:
    """CPU so far. Postfix's processes come and go."""
    assert site.policy.process
    pids = {"rspamd": site.rspamd.pid, "forkpolicy": site.policy.process.pid, "store": site.store.pid}
    return {name: cpu_us([pid, *descendants(pid)]) for name, pid in pids.items()}


def _wrong(outcome: Outcome) -> list[tuple[Copy, Wrong]]:
    """Each copy with which something is wrong."""
    run, found = outcome.run, outcome.found
    listed = {held for held, _, _ in outcome.ledger.twice}
    bad = [(copy, Wrong("wrong", run.seen(copy, found))) for copy in {*found.delivered, *found.rows} - {*run.expected}]
    for copy, expected in run.expected.items():
        seen = run.seen(copy, found)
        kind = verdict(expected, seen)
        if kind == "doubled" and outcome.kills and {row.id for row in found.rows.get(copy, ())} & listed:
            kind = "listed"
        if kind:
            bad.append((copy, Wrong(kind, seen)))
    return bad


def _by_kind(run: GatewayRun, wrong: Mapping[Copy, Wrong]) -> dict[str, dict[str, int]]:
    """Of each kind of mail: mails, copies, what must become of them, and of how many it did not."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in SHARES}
    for each in {each.mail.number: each for each in run.expected.values()}.values():
        found[each.mail.kind]["mails"] += 1
    for copy, each in run.expected.items():
        counts = found[each.mail.kind]
        counts["copies"] += 1
        counts[each.fate.partition(":")[0]] += 1
        counts["released"] += each.wish == "release"
        counts["deleted"] += each.wish == "delete"
        counts["wrong"] += copy in wrong
    return {kind: {name: counts[name] for name in _COLUMNS} for kind, counts in found.items()}


def _figures(outcome: Outcome, wrong: Mapping[Copy, Wrong], mails: int) -> dict[str, object]:
    counts, clients = Counter(each.kind for each in wrong.values()), outcome.run.clients
    return {
        "wrong": counts["wrong"],
        "lost": counts["lost"],
        "doubled": counts["doubled"],
        "doubled_and_listed": counts["listed"],
        "kills": outcome.kills,
        "ledger_twice": len(outcome.ledger.twice),
        "ledger_wrong": list(outcome.ledger.wrong),
        "seconds": round(outcome.took_s, 1),
        "sessions": clients.sessions,
        "recipients_put_off": clients.put_off,
        "lists_in_force_after_s": round(max(outcome.run.live_s), 2),
        "cpu_ms_a_mail": {name: round(us / mails / 1000, 2) for name, us in outcome.cpu_us.items()},
    }


def _lines(
    kinds: Mapping[str, Mapping[str, int]], figures: Mapping[str, object], wrong: Mapping[Copy, Wrong]
) -> list[str]:
    """As text for people."""
    every = {name: sum(each[name] for each in kinds.values()) for name in _COLUMNS}
    lines = [f"{'kind':<16}{''.join(f'{name:>10}' for name in _COLUMNS)}"]
    for kind, counts in {**kinds, "all": every}.items():
        lines.append(f"{kind:<16}{''.join(f'{counts[name]:>10,}' for name in _COLUMNS)}")
    lines += ["", *(f"{name.replace('_', ' ')}: {value}" for name, value in figures.items())]
    shown = [*wrong.items()][:_MOST_SHOWN]
    return lines + [f"{each.kind}: mail {copy[0]} to {copy[1]}: {each.seen}" for copy, each in shown]
