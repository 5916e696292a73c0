#!/usr/bin/env bash
# maxminddb 3.2.0: which networks iterating over a database gives.
#
# Guess: `for network, record in reader` gives every network that `reader.get` has an answer for, whichever of the two
#        readers is used: the C extension, or the one in Python (MODE_MEMORY, MODE_FD and where no extension was built).
# Seen:  1. When all of IPv4 is one record, the reader in Python leaves out every IPv6 network with an equal record: it
#           takes them for aliases of IPv4.
#        2. A network that has IPv4 in it, such as ::/64, ends the iteration of both readers with ValueError: the length
#           of its prefix is taken for one of IPv4, 64 - 96 = -32.
#        3. The network next to IPv4, ::1:0:0/96, ends that of the reader in Python: its first address is 2 ** 32, which
#           is still taken for IPv4.
#        `get` answers for an address of each of them, with both.
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


def readers(*networks):
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test")
    for network in networks:
        writer.insert_network(IPSet([network]), "A")
    writer.to_db_file(path)
    return [maxminddb.open_database(path, mode) for mode in (maxminddb.MODE_MMAP_EXT, maxminddb.MODE_MEMORY)]


def listed(reader):
    try:
        return [str(network) for network, _ in reader]
    except ValueError as error:
        return f"ValueError: {error}"


seen = []
for networks, address in (
    (("0.0.0.0/0", "2001:db8::/32"), "2001:db8::1"),
    (("::/64",), "192.0.2.1"),
    (("::1:0:0/96",), "::1:0:1"),
):
    for name, reader in zip(("extension", "Python"), readers(*networks)):
        seen.append((listed(reader), reader.get(address)))
        print(f"{', '.join(networks):26} {name:9} lists {seen[-1][0]}; get({address}) is {seen[-1][1]}")

assert all(answer == "A" for _, answer in seen)
lists = [found for found, _ in seen]
as_seen = (
    lists[:2] == [["0.0.0.0/0", "2001:db8::/32"], ["0.0.0.0/0"]]
    and all(isinstance(each, str) for each in (lists[2], lists[3], lists[5]))
    and lists[4] == ["::1:0:0/96"]
)
sys.exit(not as_seen)
PY
