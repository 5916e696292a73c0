#!/usr/bin/env bash
# io of Python 3.11: closing a file whose write has failed for want of room.
#
# Guess: when write() or flush() has raised "No space left on device" and the program has dealt with that, close() lets go
#        of the file; so `finally: file.close()` after an error is safe, and what the function returns is returned.
# Seen:  close() tries once more to write what is buffered, raises again, and in `finally` its exception takes the place of
#        the value that is returned. A server that answers "452 Insufficient system storage" that way answers nothing, and
#        what stands behind close(), such as the removal of the half file, is not run. The descriptor is closed all the
#        same. `with open(...)` is not different.
#
# Writes to /dev/full, which every Linux has; installs nothing. Exit status 0: as described; 1: not so any more.
set -euo pipefail
python3 - <<'PY'
import os
import platform
import sys

print(f"Python {platform.python_version()}")
removed = []


def answer():
    file = open("/dev/full", "wb")
    answer.file, answer.fd = file, file.fileno()
    try:
        file.write(b"a mail")
        file.flush()
        return "250 Ok"
    except OSError as error:
        return f"452 {error.strerror}"
    finally:
        file.close()
        removed.append("the half file")


try:
    said = answer()
except OSError as error:
    said = f"OSError: {error.strerror}"
try:
    os.fstat(answer.fd)
    descriptor = "open"
except OSError:
    descriptor = "closed"
print(f"the function gave: {said}; removed: {removed or 'nothing'}; closed: {answer.file.closed}, descriptor {descriptor}")
sys.exit(0 if said.startswith("OSError") and not removed and answer.file.closed and descriptor == "closed" else 1)
PY
