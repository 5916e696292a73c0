#!/usr/bin/env bash
# mmdb-writer 0.2.7: networks within networks, in either order.
#
# Guess: a database has the record of the most specific network, as every list of networks has, in whatever order they
#        were inserted.
# Seen:  the one that was inserted last wins. A /24 that is inserted after the /8 around it is an exception of it; before,
#        it is gone without a word.
#
# Installs maxminddb and mmdb-writer in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check maxminddb==3.2.0 mmdb-writer==0.2.7
"$T/venv/bin/python" - "$T/x.mmdb" <<'PY'
import sys
from importlib.metadata import version

import maxminddb
from mmdb_writer import MMDBWriter
from netaddr import IPSet

path = sys.argv[1]
print("maxminddb", version("maxminddb"), "mmdb-writer", version("mmdb-writer"))
records = {"10.0.0.0/8": "wide", "10.1.2.0/24": "narrow"}


def record_of(address, order):
    writer = MMDBWriter(ip_version=4, database_type="Test")
    for network in order:
        writer.insert_network(IPSet([network]), records[network])
    writer.to_db_file(path)
    with maxminddb.open_database(path) as reader:
        return reader.get(address)


seen = []
for order in (list(records), list(reversed(records))):
    seen.append(record_of("10.1.2.3", order))
    print(f"inserted {' then '.join(order)}: 10.1.2.3 is {seen[-1]}")
sys.exit(seen != ["narrow", "wide"])
PY
