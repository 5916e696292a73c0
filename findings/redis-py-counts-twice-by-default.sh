#!/usr/bin/env bash
# redis-py 8.1.0 against Redis 7.0.15: one INCR and a server that pauses.
#
# Guess: incr() without any option adds one, or raises when no answer came in time; whether a command with an effect is
#        sent again is the caller's decision. (valkey-py 6.2.0, of the same ancestry, keeps to that.)
# Seen:  the client sends a command again when its socket_timeout is over, by default, INCR too. A server that stands
#        still for a moment (a fork for a snapshot, a slow disk, a stopped machine) then executes both: the counter
#        goes from 0 to 2, incr() returns 2, and nothing is raised or logged. With Retry(NoBackoff(), 0) the caller
#        gets TimeoutError and the counter is 1.
#
# Needs Debian 12 and the right to install redis-tools (whose redis-check-rdb is the server, too; no service comes with
# it). The rest stays in a temporary folder; the server listens on a UNIX socket there and is ended. Exit status 0: as
# described; 1: not so any more.
set -euo pipefail
if ! command -v redis-check-rdb >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-tools >/dev/null
fi
T=$(mktemp -d)
SERVER=
cleanup() { [ -z "$SERVER" ] || { kill -CONT "$SERVER" && kill "$SERVER" && wait "$SERVER"; } 2>/dev/null || true; rm -rf "$T"; }
trap cleanup EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkey==6.2.0
ln -s "$(command -v redis-check-rdb)" "$T/redis-server"
"$T/redis-server" --port 0 --unixsocket "$T/socket" --save '' --dir "$T" >/dev/null &
SERVER=$!
SERVER=$SERVER T=$T "$T/venv/bin/python" - <<'PY'
import os, signal, sys, threading, time

import redis, valkey
from redis.backoff import NoBackoff
from redis.retry import Retry

pid, path = int(os.environ["SERVER"]), os.environ["T"] + "/socket"
end = time.monotonic() + 10
while not os.path.exists(path) and time.monotonic() < end:
    time.sleep(0.02)
TIMEOUT_S, PAUSE_S = 0.5, 0.8


def count_once(name, client):
    """Add one while the server stands still for longer than the client waits; (what incr did, the counter)."""
    client.set("counter", 0)
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(PAUSE_S, os.kill, (pid, signal.SIGCONT)).start()
    try:
        outcome = client.incr("counter")
    except (redis.TimeoutError, valkey.TimeoutError):
        outcome = "TimeoutError"
    time.sleep(PAUSE_S)  # until the server goes on and has done what it was sent
    counter = int(redis.Redis(unix_socket_path=path).get("counter"))
    print(f"{name:<34} incr() gave {outcome}, counter is {counter}")
    return outcome, counter


print("redis-py", redis.__version__, "valkey-py", valkey.__version__, end=", server ")
print(redis.Redis(unix_socket_path=path).info()["redis_version"])
seen = [
    count_once("redis-py, defaults", redis.Redis(unix_socket_path=path, socket_timeout=TIMEOUT_S)),
    count_once("redis-py, retry=Retry(NoBackoff(), 0)", redis.Redis(unix_socket_path=path, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0))),
    count_once("valkey-py, defaults", valkey.Valkey(unix_socket_path=path, socket_timeout=TIMEOUT_S)),
]
sys.exit(seen != [(2, 2), ("TimeoutError", 1), ("TimeoutError", 1)])
PY
