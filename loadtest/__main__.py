"""`python -m loadtest`: the commands, one file each."""

from __future__ import annotations

import importlib
import sys

from loadtest.errors import SetupError, VerdictError

# Imported only when asked for: locust patches the standard library as it is imported.
COMMANDS = {
    "corpus": ("loadtest.commands.corpus", "a public corpus of ham and spam through a whole gateway"),
    "gateway": (
        "loadtest.commands.gateway",
        "a day of a site of 500 mailboxes through a whole gateway, every copy's fate checked",
    ),
    "cost": ("loadtest.commands.cost", "what a mail costs a gateway that is refused in front, and one that is scanned"),
    "held": ("loadtest.commands.held", "pages of 200,000 held mails, and the memory of store and console over time"),
    "site": (
        "loadtest.commands.site",
        "a whole gateway on loopback: Postfix, rspamd, policy server, store, backend",
    ),
    "demo": ("loadtest.commands.demo", "the founding use case, each verdict explained"),
    "bench": ("loadtest.commands.bench", "CPU per request of one worker, next to bare echo servers and earlier builds"),
    "latency": (
        "loadtest.commands.latency",
        "how long one worker takes to reply at a steady rate, next to an echo server",
    ),
    "workers": ("loadtest.commands.workers", "what 1, 2 and 4 workers do and cost, and where the cores' time goes"),
    "start": ("loadtest.commands.start", "how long it takes from `forkpolicy serve` to the first reply"),
    "startup": ("loadtest.commands.startup", "CPU of `--help` and of `explain`, next to `python -c pass`"),
    "policies": ("loadtest.commands.policies", "what the length of a policy costs"),
    "tables": ("loadtest.commands.tables", "how long tables take to compile and to look up"),
    "state": ("loadtest.commands.state", "what remembering costs, next to LMDB alone; its latency and its room"),
    "verify-advise": (
        "loadtest.commands.verify_advise",
        "the p99 that forkpolicy advise expects next to a measured one",
    ),
    "day": ("loadtest.commands.day", "a day of mail through a real Postfix or at the protocol, every verdict checked"),
    "saturate": ("loadtest.commands.saturate", "the highest rate, and latency against offered load"),
    "compare": ("loadtest.commands.compare", "other policy servers of Debian on the same machine in the same run"),
    "peers": (
        "loadtest.commands.peers",
        "what remembering costs, next to postgrey, mtpolicyd and policyd-rate-limit",
    ),
    "limit": (
        "loadtest.commands.limit",
        "a limit lets exactly as many pass while workers are killed and replaced",
    ),
    "bench-state": ("loadtest.commands.bench_state", "what a rate limit and greylisting add to a request"),
    "dns": ("loadtest.commands.dns", "what a question to the DNS costs, next to c-ares alone"),
    "name-server": ("loadtest.commands.name_server", "a name server that answers rightly, wrongly, late or never"),
    "bench-import": ("loadtest.commands.bench_import", "what it costs to import 50,000 rules, and to decide with them"),
    "history": ("loadtest.commands.history", "what a history costs: to log it, to take it in, to search"),
    "console": ("loadtest.commands.console", "how long pages of the console take, and its memory over time"),
    "bench-world": ("loadtest.commands.bench_world", "what an ACL that asks an engine or the DNS adds to a request"),
    "drills": (
        "loadtest.commands.drills",
        "a name server or an engine goes wrong; what the clients saw, and what others noticed",
    ),
    "chaos": ("loadtest.commands.chaos", "reloads, scaling, upgrades and deaths under full load; what the clients saw"),
    "arrivals": ("loadtest.commands.arrivals", "how long new connections wait while old ones are busy"),
    "balance": ("loadtest.commands.balance", "how evenly connections and skewed traffic are spread over the workers"),
    "soak": ("loadtest.commands.soak", "hours of mail with reloads, table swaps and killed workers"),
}


def main(argv: list[str]) -> int:
    """Run one command; its exit code, 2 for a wrong set-up."""
    if not argv or argv[0] not in COMMANDS:
        print("usage: python -m loadtest COMMAND [--help]\n")
        for name, (_, what) in COMMANDS.items():
            print(f"  {name:<15}{what}")
        return 0 if argv[:1] in (["--help"], ["-h"]) else 2
    module = importlib.import_module(COMMANDS[argv[0]][0])
    try:
        return int(module.main(argv[1:]))
    except (SetupError, VerdictError) as error:
        print(f"loadtest {argv[0]}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
