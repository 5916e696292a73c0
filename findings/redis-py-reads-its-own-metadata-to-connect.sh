#!/usr/bin/env bash
# redis-py 8.1.0: what a client costs that is made, asks once and is closed.
#
# Guess: once the module is imported, a client needs a socket and nothing else; its cost is that of the connection.
# Seen:  each client looks up its own release for CLIENT SETINFO, and reads redis-*.dist-info/METADATA from the disk for
#        that: two thirds or more of its CPU. A process that makes a client a job (a hook, a cron task, a pre-forked worker
#        that has given up the right to read its libraries) reads a file whenever it connects. With driver_info=None
#        nothing is opened.
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
for _ in $(seq 100); do [ -S "$T/socket" ] && break; sleep 0.1; done
T=$T "$T/venv/bin/python" - <<'PY' | tee "$T/seen"
import os, sys, time

import redis

path, opened = os.environ["T"] + "/socket", []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)


def one(**options):
    with redis.Redis(unix_socket_path=path, protocol=2, **options) as client:
        client.ping()


def cpu_us(**options):
    began_s = time.process_time()
    for _ in range(300):
        one(**options)
    return (time.process_time() - began_s) / 300 * 1e6


def files(**options):
    one(**options)
    opened.clear()
    one(**options)
    return sorted({os.path.basename(name) for name in opened if name.endswith("METADATA")}) or "none"


print("redis-py", redis.__version__)
print("files that a further client opens:", files(), "| with driver_info=None:", files(driver_info=None))
default, without = min(cpu_us() for _ in range(5)), min(cpu_us(driver_info=None) for _ in range(5))
print(f"{default:.0f} us of CPU a client, {without:.0f} us with driver_info=None", file=sys.stderr)
print("two times the CPU or more:", default > 2 * without)
PY
diff "$T/seen" - <<'SEEN'
redis-py 8.1.0
files that a further client opens: ['METADATA'] | with driver_info=None: none
two times the CPU or more: True
SEEN
