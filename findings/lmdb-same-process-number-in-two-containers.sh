#!/usr/bin/env bash
# py-lmdb 3.0.0 (LMDB 0.9.36): one map, shared by two containers (PID namespaces) through a volume.
#
# Guess: any process on the kernel may join; the lock file is shared memory, and its mutexes do not care who is who.
# Seen:  a process whose number is that of a process which has the map open in another namespace cannot open it:
#        LockError, "Resource temporarily unavailable". LMDB locks the byte of the lock file at its process number for
#        as long as it has the map open, so that others see that it lives; that byte is taken. And in a container the
#        main program is number 1: two equal containers always meet. The same program under another number joins.
#
# Needs root (unshare). Installs the package in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
HOLDER=
trap '[ -z "$HOLDER" ] || { exec 7>&-; wait "$HOLDER" || true; }; rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check lmdb==3.0.0
cat >"$T/join.py" <<'PY'
"""Open the map, read, say so; then wait for the end of standard input. Status 3: it could not be opened."""
import os, sys

import lmdb

try:
    env = lmdb.open(sys.argv[1])
except lmdb.Error as error:
    print(f"process number {os.getpid()}: {type(error).__name__}: {error}", flush=True)
    sys.exit(3)
with env.begin() as txn:
    txn.get(b"key")
print(f"process number {os.getpid()}: joined", flush=True)
sys.stdin.read()
PY
"$T/venv/bin/python" -c 'import lmdb; print("py-lmdb", lmdb.__version__, "LMDB", ".".join(map(str, lmdb.version())))'

mkfifo "$T/stdin" "$T/stdout"
unshare --fork --pid --mount-proc "$T/venv/bin/python" "$T/join.py" "$T/map" <"$T/stdin" >"$T/stdout" &
HOLDER=$!
exec 7>"$T/stdin"
read -r -t 20 line <"$T/stdout"
echo "first container, $line"

same=0
unshare --fork --pid --mount-proc "$T/venv/bin/python" "$T/join.py" "$T/map" </dev/null >"$T/same" || same=$?
echo "second container, $(cat "$T/same")"
other=0
# A shell as number 1, the program as its child.
unshare --fork --pid --mount-proc sh -c '"$@"; exit $?' sh "$T/venv/bin/python" "$T/join.py" "$T/map" </dev/null \
    >"$T/other" || other=$?
echo "third container, $(cat "$T/other")"
[ "$same" = 3 ] && grep -q "number 1: LockError.*Resource temporarily unavailable" "$T/same" && [ "$other" = 0 ]
