#!/usr/bin/env bash
# pyspf 2.0.14: `ptr`, and one of the client's names for which the DNS fails.
#
# Guess: RFC 7208 5.5: if a DNS error occurs while the address of one of the client's names is looked up, that name is
#        skipped and the search goes on; an error for the PTR records themselves is "no match".
# Seen:  both end the whole check with temperror. A client with two names, one of them in a zone whose servers are down,
#        has no result at a domain with `ptr` in its record, though the other name would make it pass; without its reverse
#        zone it has none either, though "no match" would bring the check to the next term.
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

RECORDS = {
    ("example.com", "TXT"): [(b"v=spf1 ptr -all",)],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["dead.example.net", "mx.example.com"],
    ("mx.example.com", "A"): ["192.0.2.1"],
    ("dead.example.net", "A"): ["192.0.2.1"],
}


def result(*failing):
    def look_up(name, kind, *_):
        if name in failing:
            raise spf.TempError("no answer")
        return [((name, kind), record) for record in RECORDS.get((name, kind), [])]

    spf.DNSLookup = look_up
    seen, text = spf.check2(i="192.0.2.1", s="anna@example.com", h="mx.example.com")
    print(f"the DNS fails for {' '.join(failing) or 'nothing':<24} {seen}: {text}")
    return seen


print("pyspf", version("pyspf"), "dnspython", version("dnspython"))
seen = [result(), result("dead.example.net"), result("1.2.0.192.in-addr.arpa")]
sys.exit(seen != ["pass", "temperror", "temperror"])
PY
