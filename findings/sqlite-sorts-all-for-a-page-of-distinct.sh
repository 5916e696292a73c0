#!/usr/bin/env bash
# SQLite: the next fifty names behind one, of rows in a state.
#
# Guess: with an index on (name, state) `SELECT DISTINCT name ... WHERE name > ? AND state = ? ORDER BY name LIMIT 50` walks
#        that index and stops after fifty: it has the order and all that is asked.
# Seen:  where another index begins with state, the planner takes that one: it reads every row of the state and sorts the
#        names, for each page. INDEXED BY cures it.
#
# Needs python3 alone, and no network. Exit status 0: as described; 1: not so any more.
set -euo pipefail
python3 - <<'PY'
import sqlite3
import sys
import time

print("sqlite", sqlite3.sqlite_version)
base = sqlite3.connect(":memory:")
base.execute("CREATE TABLE held (id INTEGER PRIMARY KEY, name TEXT, state TEXT, at REAL)")
rows = ((f"u{n // 2:06}", "held", n) for n in range(200_000))
base.executemany("INSERT INTO held (name, state, at) VALUES (?, ?, ?)", rows)
base.execute("CREATE INDEX by_name ON held (name, state, at, id)")
base.execute("CREATE INDEX by_state ON held (state, at, id)")


def pages(hint):
    """The plan, and the CPU seconds of a hundred pages."""
    query = f"SELECT DISTINCT name FROM held {hint} WHERE name > ? AND state = 'held' ORDER BY name LIMIT 50"
    plan = "; ".join(row[3] for row in base.execute(f"EXPLAIN QUERY PLAN {query}", ("",)))
    begun, after = time.process_time(), ""
    for _ in range(100):
        after = base.execute(query, (after,)).fetchall()[-1][0]
    took = time.process_time() - begun
    print(f"{took:.2f} s of CPU: {plan}")
    return plan, took


(plan, took), (_, hinted) = pages(""), pages("INDEXED BY by_name")
sys.exit("by_state" not in plan or took < 5 * hinted)
PY
