"""The name server in a process of its own, so that its CPU is not that of who asks."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def name_server_process(zones: Mapping[str, str]) -> Iterator[str]:
    """Zones with behaviours in words (spec.py); everything else is not there. Gives its address, `127.0.0.1:port`."""
    words = [word for zone, behaviour in zones.items() for word in ("--zone", f"{zone}={behaviour}")]
    command = [sys.executable, "-m", "loadtest", "name-server", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            # It ends with its standard input.
            process.stdin.close()
            process.stdout.read()
