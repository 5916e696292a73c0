#!/usr/bin/env bash
# pyspf 2.0.14: the limit of two void look-ups, and mail hosts without IPv6.
#
# Guess: RFC 7208 4.6.4 limits the *terms* of a record that find nothing to two, so one `mx` is one at most, whatever the
#        number of the domain's mail hosts.
# Seen:  each address that is not there counts. `v=spf1 mx ip6:2001:db8::/32 -all` of a domain with three mail hosts that
#        have IPv4 alone: a client in 2001:db8::/32 gets permerror and not pass. With two such hosts it is pass; clients
#        with IPv4 notice nothing. Who refuses for permerror refuses such mail.
#
# Installs pyspf with dnspython in a temporary folder; its look-ups are answered from a dictionary through the hook of its
# module. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pyspf==2.0.14 dnspython==2.9.2
"$T/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import spf


def result(hosts, client):
    records = {
        ("example.com", "TXT"): [(b"v=spf1 mx ip6:2001:db8::/32 -all",)],
        ("example.com", "MX"): [(10, f"mx{number}.example.com") for number in range(hosts)],
        **{(f"mx{number}.example.com", "A"): [f"192.0.2.{number}"] for number in range(hosts)},
    }
    spf.DNSLookup = lambda name, kind, *_: [((name, kind), record) for record in records.get((name, kind), [])]
    seen, text = spf.check2(i=client, s="anna@example.com", h="mx0.example.com")
    print(f"{hosts} mail hosts with IPv4, client {client:<12} {seen}: {text}")
    return seen


print("pyspf", version("pyspf"), "dnspython", version("dnspython"))
seen = [result(hosts, client) for hosts in (2, 3) for client in ("192.0.2.1", "2001:db8::25")]
sys.exit(seen != ["pass", "pass", "pass", "permerror"])
PY
