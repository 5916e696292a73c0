#!/usr/bin/env bash
# redis-py 8.1.0 against Redis 7.0.15: one client, made before a fork.
#
# Guess: a client may be made before the workers are forked: its pool knows by the process id that it is in a child, and
#        connects anew. With single_connection_client=True the same holds, or the child gets an error.
# Seen:  with the pool it is so. With single_connection_client=True all children go on with the one socket: each reads
#        whatever comes next, so that many of their GETs return the value of another child's key. Nothing is raised.
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
cleanup() { [ -z "$SERVER" ] || { kill "$SERVER" && wait "$SERVER"; } 2>/dev/null || true; rm -rf "$T"; }
trap cleanup EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0
ln -s "$(command -v redis-check-rdb)" "$T/redis-server"
"$T/redis-server" --port 0 --unixsocket "$T/socket" --save '' --dir "$T" >/dev/null &
SERVER=$!
T=$T timeout 60 "$T/venv/bin/python" - <<'PY'
import os, signal, sys, time

import redis

CHILDREN, QUESTIONS = 4, 2000
path = os.environ["T"] + "/socket"
end = time.monotonic() + 10
while not os.path.exists(path) and time.monotonic() < end:
    time.sleep(0.02)


def child(client, name):
    """Ask for one's own key again and again; (wrong values, errors)."""
    wrong = errors = 0
    for _ in range(QUESTIONS):
        try:
            wrong += client.get(name) != f"value of {name}"
        except redis.RedisError:
            errors += 1
    return wrong, errors


def run(single):
    client = redis.Redis(unix_socket_path=path, single_connection_client=single, decode_responses=True)
    for number in range(CHILDREN):
        client.set(f"child{number}", f"value of child{number}")
    read_end, write_end = os.pipe()
    for number in range(CHILDREN):
        if not os.fork():
            signal.alarm(20)
            os.write(write_end, b"%d %d\n" % child(client, f"child{number}"))
            os._exit(0)
    for _ in range(CHILDREN):
        os.wait()
    os.close(write_end)
    results = [tuple(map(int, line.split())) for line in os.read(read_end, 1000).decode().splitlines()]
    wrong, errors = (sum(each) for each in zip(*results))
    print(f"single_connection_client={single!s:<5}: {wrong} wrong values, {errors} errors in {CHILDREN * QUESTIONS} GETs")
    return len(results), wrong, errors


print("redis-py", redis.__version__, "server", redis.Redis(unix_socket_path=path).info()["redis_version"])
pool, single = run(False), run(True)
sys.exit(not (pool == (CHILDREN, 0, 0) and single[0] == CHILDREN and single[1] > 100 and single[2] == 0))
PY
