#!/usr/bin/env bash
# authres 1.2.0: the name of the server in Authentication-Results.
#
# Guess: the authserv-id is a `value` of RFC 8601, 2.2, so a token or a quoted string: `"mx example"` is as good as `mx`.
# Seen:  SyntaxError "Expected authserv-id" for a quoted one, although the same parser takes quoted strings as values of
#        properties and of reason=. A server that quotes its own name to be on the safe side has results nobody reads.
#
# Installs authres in a temporary folder; nothing is asked of a network. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check authres==1.2.0
"$T/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import authres

print("authres", version("authres"))
seen = []
for name in ("mx.example.com", '"mx.example.com"'):
    header = f'Authentication-Results: {name}; dkim=pass reason="good signature" header.d="example.org"'
    try:
        parsed = authres.AuthenticationResultsHeader.parse(header)
        seen.append("read")
        print(f"{header}\n  {[(each.method, each.result) for each in parsed.results]}")
    except authres.core.SyntaxError as error:
        seen.append("refused")
        print(f"{header}\n  {error}")
sys.exit(seen != ["read", "refused"])
PY
