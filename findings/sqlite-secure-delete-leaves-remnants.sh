#!/usr/bin/env bash
# SQLite's PRAGMA secure_delete, by apsw (a SQLite of its own), on a table of addresses.
#
# Guess: with secure_delete on, a deleted text is in the file no more: "overwrites deleted content with zeros".
# Seen:  25 of 300 deleted addresses are still there in plain text; 1 where secure_delete was on from the start. What is
#        overwritten is the row that is deleted. When a page was split before, copies of its rows stayed in the part of
#        it that no row uses, and a delete knows nothing of those. VACUUM writes a file without them.
#
# Installs apsw in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check apsw==3.53.2.0
"$T/venv/bin/python" - "$T" <<'PY'
import random, sys
import apsw

def left(path, secure_from_the_start):
    """Of 300 deleted addresses, those whose text is in the file before and after VACUUM."""
    db, at_random = apsw.Connection(path), random.Random(1)
    list(db.execute(f"PRAGMA secure_delete = {'on' if secure_from_the_start else 'off'}"))
    db.execute("CREATE TABLE names (n INTEGER PRIMARY KEY, text TEXT UNIQUE)")
    names = [f"user{at_random.randrange(10**9)}@example{at_random.randrange(1000)}.com" for _ in range(20_000)]
    for first in range(0, len(names), 500):
        with db:
            db.executemany("INSERT OR IGNORE INTO names (text) VALUES (?)", [(name,) for name in names[first : first + 500]])
    list(db.execute("PRAGMA secure_delete = on"))
    gone = at_random.sample(names, 300)
    with db:
        db.executemany("DELETE FROM names WHERE text = ?", [(name,) for name in gone])
    found = []
    for after in ("SELECT 1", "VACUUM"):
        list(db.execute(after))
        text = open(path, "rb").read()
        found.append(sum(name.encode() in text for name in gone))
    return found

print(f"apsw {apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}")
late, early = left(f"{sys.argv[1]}/late", False), left(f"{sys.argv[1]}/early", True)
print(f"of 300 deleted addresses in the file: {late[0]}, after VACUUM {late[1]}")
print(f"secure_delete from the start: {early[0]}, after VACUUM {early[1]}")
sys.exit(not (late[0] > 0 and early[0] > 0 and late[1] == early[1] == 0))
PY
