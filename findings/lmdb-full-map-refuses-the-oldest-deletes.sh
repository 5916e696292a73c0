#!/usr/bin/env bash
# py-lmdb 3.0.0 (LMDB 0.9.36): making room in a map that is full.
#
# Guess: MapFullError means that nothing more can be put in; a program that deletes the oldest entries, one a transaction,
#        has room again.
# Seen:  deleting in key order is refused, too, after some two dozen entries, and stays so: a delete needs fresh pages
#        for its copies, and freed ones come back only when a page is empty. The same deletes in random order all go
#        through. A sweeper that removes the oldest of a full map stands still; it must stop taking entries in long
#        before.
#
# Installs the package in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check lmdb==3.0.0
T=$T "$T/venv/bin/python" - <<'PY'
import os, random, sys

import lmdb

MAP_BYTES = 1 << 20
print("py-lmdb", lmdb.__version__, "LMDB", ".".join(map(str, lmdb.version())))


def full_map(name):
    """An environment in which numbers were put, one a transaction, until it was full; and how many there are."""
    env = lmdb.open(f"{os.environ['T']}/{name}", map_size=MAP_BYTES, sync=False)
    count = 0
    while True:
        try:
            with env.begin(write=True) as txn:
                txn.put(b"%08d" % count, b"x" * 100)
        except lmdb.MapFullError:
            return env, count
        count += 1


def delete(env, numbers):
    """Delete each in a transaction of its own; how many went before one was refused."""
    done = 0
    for number in numbers:
        try:
            with env.begin(write=True) as txn:
                txn.delete(b"%08d" % number)
        except lmdb.MapFullError:
            break
        done += 1
    return done


env, count = full_map("ordered")
oldest = delete(env, range(1000))
env, count = full_map("scattered")
scattered = delete(env, random.Random(1).sample(range(count), 1000))
print(f"{count} entries; of 1,000 deletes went through: the oldest {oldest}, scattered ones {scattered}")
sys.exit(not (oldest < 100 and scattered == 1000))
PY
