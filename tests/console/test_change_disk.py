"""Changes on a full disk: a real file system of a few pages, filled up to each of its last ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FILL = """
import sys
from pathlib import Path
from forkpolicy.errors import CannotWriteError
from forkpolicy.control_messages import ReloadReply
from tests.console.changing import PARTNER, Site

folder = Path(sys.argv[1])
site = Site(folder)
site.apply(PARTNER)
filler = folder / "filler"
with filler.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(1024))
    except OSError:
        size_bytes = file.tell()
found = {"failed": 0, "refused": 0, "applied": 0}
number = 0
while not found["applied"]:
    number += 1
    before = site.rules.read_text()
    for outcome in ("refused", "applied"):
        text = PARTNER + f"# {'x' * 8000} {number} {outcome}\\n"
        site.server.replies = [ReloadReply(False, 1, ("no",))] if outcome == "refused" else []
        try:
            site.apply(text)
        except CannotWriteError as error:
            assert "/console/" in str(error), error
            outcome = "failed"
        found[outcome] += 1
        assert site.rules.read_text() == (text if outcome == "applied" else before), outcome
    with filler.open("r+b") as file:
        file.truncate(max(0, size_bytes - 1024 * number))
site.server.replies = []
site.new_engine().mend(site.target)
assert not site.engine.versions.pending()
print(*found.values())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, so it needs root")
def test_a_full_disk_changes_nothing(tmp_path):
    """It says so, and as soon as there is room for a change it is applied. A refusal needs no room."""
    script = 'mount -t tmpfs -o size=512k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FILL]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    failed, refused, applied = map(int, done.stdout.split())
    assert (failed > 10, refused > 0, applied) == (True, True, 1)
