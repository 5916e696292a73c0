#!/usr/bin/env bash
# asyncio of Python 3.11, and uvicorn 0.54.0 on it: a UNIX socket on which somebody listens.
#
# Guess: a second server for the same path fails with "address already in use", as on TCP and as bind(2) says.
# Seen:  asyncio removes a socket file that it finds, without asking whether anybody listens. The second server starts
#        without a word; the first goes on and is asked by nobody any more. uvicorn with --uds does the same. A second
#        start by mistake (by hand beside a unit, say) takes a daemon away from its clients, and when that second one ends,
#        the path leads nowhere while the first still runs.
#
# Installs uvicorn in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'kill ${FIRST:-} ${SECOND:-} 2>/dev/null || true; wait; rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0
cat >"$T/app.py" <<'PY'
import os

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": os.environ["NAME"].encode()})
PY
ask() { # The name of the server that answers, or why none does.
    "$T/venv/bin/python" - "$1" <<'PY'
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(5)
    try:
        client.connect(sys.argv[1])
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        print(b"".join(iter(lambda: client.recv(1000), b"")).decode().rpartition("\r\n")[2])
    except OSError as error:
        print(error.strerror)
PY
}
until_it_is() { # $1 name: wait until that one answers, ten seconds at most
    for _ in $(seq 100); do [ "$(ask "$T/socket")" = "$1" ] && return; sleep 0.1; done
    echo "no $1"; return 1
}
echo "Python $("$T/venv/bin/python" -c 'import platform; print(platform.python_version())'), uvicorn 0.54.0"
cd "$T"
NAME=first "$T/venv/bin/uvicorn" --log-level error --uds "$T/socket" app:app & FIRST=$!
until_it_is first; ONE=$(ask "$T/socket")
NAME=second "$T/venv/bin/uvicorn" --log-level error --uds "$T/socket" app:app & SECOND=$!
until_it_is second; TWO=$(ask "$T/socket")
kill "$SECOND"; wait "$SECOND" 2>/dev/null || true; SECOND=
THREE=$(ask "$T/socket")
kill -0 "$FIRST" && RUNS=yes || RUNS=no
echo "alone: $ONE answers; after the second start: $TWO; after its end: $THREE; the first still runs: $RUNS"
[ "$ONE/$TWO/$RUNS" = "first/second/yes" ] && [ "$THREE" != first ]
