#!/usr/bin/env bash
# uvicorn 0.54.0: the end after SIGTERM, from a program that runs uvicorn.Server itself.
#
# Guess: TERM ends it gracefully, `serve` returns, what stands behind it runs (a log line, a file to remove), and the exit
#        status is the program's own.
# Seen:  it ends gracefully, and then sends itself the signal that it has caught, with the handler from before in force:
#        the process is killed by SIGTERM (status 143 in a shell, -15 in Python), and nothing behind `serve` runs, not even
#        a `finally`. For what waits for an exit status of 0 the clean end is a failure. Its `capture_signals` is the place
#        to change that.
#
# Installs uvicorn in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'kill ${SERVER:-} 2>/dev/null || true; wait; rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0
cat >"$T/serve.py" <<'PY'
import asyncio, socket, uvicorn

async def app(scope, receive, send):
    pass

sock = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))

async def main():
    serving = asyncio.create_task(server.serve([sock]))
    while not server.started:
        await asyncio.sleep(0.02)
    print("serves", flush=True)
    await serving
    print("returned", flush=True)

try:
    asyncio.run(main())
finally:
    print("finally", flush=True)
PY
echo "Python $("$T/venv/bin/python" -c 'import platform; print(platform.python_version())'), uvicorn 0.54.0"
: >"$T/said"
"$T/venv/bin/python" "$T/serve.py" >"$T/said" & SERVER=$!
for _ in $(seq 100); do grep -q serves "$T/said" && break; sleep 0.1; done
kill -TERM "$SERVER"
STATUS=0; wait "$SERVER" || STATUS=$?
SERVER=
echo "exit status $STATUS, printed: $(tr '\n' ' ' <"$T/said")"
[ "$STATUS" = 143 ] && [ "$(cat "$T/said")" = serves ]
