#!/usr/bin/env bash
# PostgreSQL 15: does a transaction that waited for another one see the tables that it made?
#
# Guess: in READ COMMITTED each statement sees what was committed before it began. So a session that waits for an advisory lock,
#        and then asks to_regclass() or to_regnamespace() again, sees the schema and the table that the previous holder
#        of the lock has made and committed: the usual "lock, look, make what is missing".
# Seen:  a query of pg_class sees them, to_regclass() and to_regnamespace() go on saying NULL, in the same transaction.
#        They look names up in a cache that a session refreshes when it locks a table, which an advisory lock is not; had
#        the session not asked before, they would be right. So the second one runs CREATE and fails.
#
# Needs Debian 12 and the right to install postgresql-15 (its service is not needed). The server has a UNIX socket in a
# temporary folder and is ended. Exit status 0: as described; 1: not so any more.
set -euo pipefail
BIN=/usr/lib/postgresql/15/bin
if [ ! -x $BIN/initdb ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-15 >/dev/null
fi
T=$(mktemp -d)
OWNER=$(id -un)
if [ "$(id -u)" = 0 ]; then OWNER=postgres; chown postgres "$T"; fi
as_owner() { if [ "$(id -u)" = 0 ]; then (cd "$T" && setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); else "$@"; fi; }
cleanup() { as_owner $BIN/pg_ctl -D "$T/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$T"; }
trap cleanup EXIT
as_owner $BIN/initdb -D "$T/data" -A trust -U "$OWNER" -E UTF8 --locale=C -N >/dev/null
as_owner $BIN/pg_ctl -D "$T/data" -w -l "$T/log" -o "-k $T -c listen_addresses=" start >/dev/null
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'
T=$T OWNER=$OWNER "$T/venv/bin/python" - <<'PY'
import os, sys, threading, time

import psycopg

where = f"postgresql://{os.environ['OWNER']}@/postgres?host={os.environ['T']}"
QUESTIONS = {
    "to_regnamespace('s')": "SELECT to_regnamespace('s') IS NOT NULL",
    "to_regclass('s.t')": "SELECT to_regclass('s.t') IS NOT NULL",
    "pg_class": "SELECT EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname = 's' AND relname = 't')",
}
ORDERS = [list(QUESTIONS), [*QUESTIONS][::-1]]


def waited(order, asks_before):
    """What the second holder of the lock sees, in this order."""
    first, second = psycopg.connect(where), psycopg.connect(where)
    with psycopg.connect(where, autocommit=True) as watcher:
        watcher.execute("DROP SCHEMA IF EXISTS s CASCADE")
        seen = {}
        first.execute("SELECT pg_advisory_xact_lock(1)")
        first.execute("CREATE SCHEMA s; CREATE TABLE s.t ()")

        def ask():
            for name in order if asks_before else ():
                second.execute(QUESTIONS[name])
            second.execute("SELECT pg_advisory_xact_lock(1)")
            for name in order:
                seen[name] = second.execute(QUESTIONS[name]).fetchone()[0]

        thread = threading.Thread(target=ask)
        thread.start()
        end = time.monotonic() + 10
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not watcher.execute(waits).fetchone() and time.monotonic() < end:
            time.sleep(0.01)
        first.commit()
        thread.join()
        first.close()
        second.close()
    print(f"asked before: {asks_before!s:<5}", ", ".join(f"{name}: {seen[name]}" for name in order))
    return seen


with psycopg.connect(where) as connection:
    print("psycopg", psycopg.__version__, "server", connection.info.parameter_status("server_version"))
name_lookups = list(QUESTIONS)[:2]
stale = waited(name_lookups, asks_before=True)
fresh = waited(["pg_class"], asks_before=True)
unasked = waited(name_lookups, asks_before=False)
sys.exit((list(stale.values()), list(fresh.values()), list(unasked.values())) != ([False, False], [True], [True, True]))
PY
