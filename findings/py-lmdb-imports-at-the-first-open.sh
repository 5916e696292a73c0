#!/usr/bin/env bash
# py-lmdb 3.0.0: what is still imported after `import lmdb`.
#
# Guess: `import lmdb` loads a C extension, and from then on no file of the package is needed. So a server may import
#        it as root, fork, give root up (or enter a chroot) and open its environments there. So it was up to 1.7.5.
# Seen:  the first lmdb.open() imports another module, lmdb._envid. In a process that cannot reach the package any more
#        (a virtual environment below a directory of mode 0700, a chroot) that open fails with ModuleNotFoundError,
#        though `import lmdb` succeeded. One `import lmdb._envid` beforehand is enough.
#
# Installs both releases in a temporary folder. The package is made unreachable by an empty module search path, which
# needs no root. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cat >"$T/late.py" <<'PY'
import os, sys, tempfile

import lmdb

if sys.argv[1] == "imported":
    import lmdb._envid
with tempfile.TemporaryDirectory() as folder:
    before = set(sys.modules)
    sys.path.clear()
    sys.path_importer_cache.clear()
    lmdb.__path__[:] = []  # as if the package's directory could not be entered any more
    try:
        lmdb.open(folder).close()
        outcome = "opened"
    except ModuleNotFoundError as error:
        outcome = f"ModuleNotFoundError: {error.name}"
print(f"py-lmdb {lmdb.__version__}, _envid {sys.argv[1]} beforehand: {outcome}")
PY
for release in 1.7.5 3.0.0; do
    python3 -m venv "$T/$release"
    "$T/$release/bin/pip" install --quiet --disable-pip-version-check "lmdb==$release"
    "$T/$release/bin/python" "$T/late.py" not
done | tee "$T/seen"
"$T/3.0.0/bin/python" "$T/late.py" imported | tee -a "$T/seen"
diff "$T/seen" - <<'SEEN'
py-lmdb 1.7.5, _envid not beforehand: opened
py-lmdb 3.0.0, _envid not beforehand: ModuleNotFoundError: lmdb._envid
py-lmdb 3.0.0, _envid imported beforehand: opened
SEEN
