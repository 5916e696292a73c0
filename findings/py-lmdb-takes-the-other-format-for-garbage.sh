#!/usr/bin/env bash
# py-lmdb 3.0.0, which brings two LMDB engines (0.9 and 1.0) with two file formats.
#
# Guess: a file of the other engine is refused with VersionMismatchError ("MDB_VERSION_MISMATCH"), as LMDB's manual has
#        it; a program can tell an operator "made by another release: compile it again" from "damaged".
# Seen:  either engine says InvalidError, "File is not an LMDB file", of a whole and healthy file of the other one. Only
#        the version number in the file's first page (1 or 3, a 32-bit number behind the magic one) tells them
#        apart. The default engine of 3.0.0 writes the old format, and reads both.
#
# Installs the package in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check lmdb==3.0.0
"$T/venv/bin/python" - "$T" <<'PY' | tee "$T/seen"
import struct, sys
from pathlib import Path

import lmdb

MAGIC = struct.pack("<I", 0xBEEFC0DE)
print("py-lmdb", lmdb.__version__)
for written in (0, 1):
    folder = f"{sys.argv[1]}/{written}"
    with lmdb.open(folder, lib_version=written) as env, env.begin(write=True) as transaction:
        transaction.put(b"key", b"value")
    page = Path(folder, "data.mdb").read_bytes()[:4096]
    number = struct.unpack_from("<I", page, page.index(MAGIC) + 4)[0]
    for read in ("default", 0, 1):
        engine = {} if read == "default" else {"lib_version": read}
        try:
            with lmdb.open(folder, readonly=True, **engine) as env:
                outcome = f"{env.stat()['entries']} entry"
        except lmdb.Error as error:
            outcome = f"{type(error).__name__}, {str(error).split(': ', 1)[1]}"
        print(f"written by engine {written} (version {number} in the file), read by {read}: {outcome}")
PY
diff "$T/seen" - <<'SEEN'
py-lmdb 3.0.0
written by engine 0 (version 1 in the file), read by default: 1 entry
written by engine 0 (version 1 in the file), read by 0: 1 entry
written by engine 0 (version 1 in the file), read by 1: InvalidError, MDB_INVALID: File is not an LMDB file
written by engine 1 (version 3 in the file), read by default: 1 entry
written by engine 1 (version 3 in the file), read by 0: InvalidError, MDB_INVALID: File is not an LMDB file
written by engine 1 (version 3 in the file), read by 1: 1 entry
SEEN
