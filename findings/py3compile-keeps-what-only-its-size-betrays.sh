#!/usr/bin/env bash
# Debian's py3compile (python3-minimal 3.11.2-1+b1): a module whose contents change and whose time does not.
#
# Guess: py3compile writes a .pyc that Python would refuse as out of date again. Python compares time and size of the source.
# Seen:  py3compile compares the time alone, and leaves such a file; Python then compiles the module at each start of a
#        user who may not write there. Files of packages all have one time, that of the changelog: two builds with the same
#        SOURCE_DATE_EPOCH are such a case, where prerm has not removed the .pyc files (py3clean) in between.
#
# Works in a temporary folder; needs python3-minimal. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
dpkg-query -W python3-minimal
write() {
    echo "$1" > "$T/module.py"
    touch -d @1700000000 "$T/module.py"
    py3compile "$T/module.py"
}
# Behind magic number, flags and time (PEP 552).
recorded() {
    od -An -t u4 -j 12 -N 4 "$T"/__pycache__/module.*.pyc | tr -d ' '
}
write "X = 1"
first=$(recorded)
write "X = 1 + 1"
size=$(stat -c %s "$T/module.py") second=$(recorded)
echo "py3compile has recorded $first bytes, then $second; the source has $size"
/usr/bin/python3 -v -c "import sys; sys.path.insert(0, '$T'); sys.dont_write_bytecode = True; import module; print(module.X)" 2>&1 |
    grep -E "bytecode is stale|^2$" || true
[ "$first" = 6 ] && [ "$second" = 6 ] && [ "$size" = 10 ]
