"""`python -m tests.sanitize`: the turn in C under the address and undefined-behaviour sanitizers.

Builds `_turn.c` with them into build/sanitize/ and runs the tests of it with that build: the property test with as
many examples as FORKPOLICY_EXAMPLES says (3 million requests: 100000), and the unit tests. Exit status 0: no finding.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from loadtest.native import extension

ROOT = Path(__file__).parent.parent
FLAGS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
TESTS = ("tests/property/test_turn_twins.py", "tests/unit/test_turn.py", "tests/unit/test_connection.py")


def main() -> int:
    """Build, run; the exit status of pytest."""
    built = extension(ROOT / "forkpolicy" / "worker" / "_turn.c", ROOT / "build" / "sanitize", *FLAGS)
    if built is None:
        print("it cannot be built: apt-get install gcc python3-dev", file=sys.stderr)
        return 1
    libraries = [
        subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        # The interpreter frees little at its end, and each object must be an allocation of its own to be watched.
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "FORKPOLICY_TURN_FILE": str(built),
    }
    # Without -s what a sanitizer says would end with the process.
    words = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *TESTS, *sys.argv[1:]]
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
