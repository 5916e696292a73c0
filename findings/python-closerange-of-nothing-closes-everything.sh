#!/usr/bin/env bash
# CPython 3.10 to 3.13 on Linux: os.closerange(0, 0), which a daemon's "close all but these" loop asks for when 0 is kept.
#
# Guess: nothing happens. The documentation says "from fd_low (inclusive) to fd_high (exclusive)", and range(0, 0) and the
#        loop of close() calls that it is equivalent to are empty; so it was until 3.9.
# Seen:  every descriptor of the process is closed, the standard ones included: the exclusive end becomes the inclusive -1,
#        which close_range(2) takes for the largest number. Other empty ranges (1, 1) do nothing. No error is raised, and
#        since standard error is closed too, the process ends without a word.
#
# Needs no package but the Python that runs it (3.10 or newer, Linux 5.9 or newer). Exit status 0: as described; 1: not.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cat >"$T/ranges.py" <<'PY'
import os
import sys


def survives(low, high):
    """Whether a pipe is still open in a child that has closed that range."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.closerange(low, high)
        try:
            os.fstat(write_end)
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    os.close(read_end)
    os.close(write_end)
    return status == 0


print("Python", sys.version.split()[0], "on Linux", os.uname().release)
print("expected: an empty range closes nothing")
seen = {bounds: survives(*bounds) for bounds in ((0, 0), (1, 1), (5, 5))}
for bounds, open_still in seen.items():
    print(f"os.closerange{bounds}: the pipe is", "open" if open_still else "CLOSED")
sys.exit(0 if seen == {(0, 0): False, (1, 1): True, (5, 5): True} else 1)
PY
python3 "$T/ranges.py"
