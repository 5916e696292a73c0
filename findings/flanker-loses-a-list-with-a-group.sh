#!/usr/bin/env bash
# flanker 0.9.11: lists of addresses that have a group (RFC 5322, 3.4), as in the To of a real mail.
#
# Guess: parse_list() returns the addresses of a list, those within `Team: ...;` too, or at least those in front of it.
# Seen:  one group, and the list is empty: also the addresses outside the group are gone, without an exception. As for
#        `undisclosed-recipients:;`, which has none, nothing says that something was not understood.
#
# Installs flanker in a temporary folder; nothing is asked of a network. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check flanker==0.9.11 chardet==5.2.0
"$T/venv/bin/python" - <<'PY' 2>/dev/null
import sys
from email.utils import getaddresses
from importlib.metadata import version

from flanker.addresslib import address

print("flanker", version("flanker"))
seen = {}
for text in ("carl@example.com, anna@example.com", "carl@example.com, Team: anna@example.com, bert@example.com;"):
    seen[text] = [each.address for each in address.parse_list(text)]
    print(f"{text!r}\n  flanker: {seen[text]}\n  Python's getaddresses: {[each for _, each in getaddresses([text])]}")
plain, group = seen.values()
sys.exit(not (plain == ["carl@example.com", "anna@example.com"] and group == []))
PY
