"""Messages on standard error are one line each, whatever a stranger has written into them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging
from forkpolicy.one_line_logging import log_to_stderr
log_to_stderr("%(levelname)s %(name)s: %(message)s")
log = logging.getLogger("forkpolicy.console")
words = "no\\nINFO forkpolicy.audit: who=admin what=deleted\\x1b[2J\\u202e \\r ü"
log.warning("it says %s", words)
try:
    raise ValueError(words)
except ValueError:
    log.exception("a bug")
log.info("not shown")
"""


def test_a_message_is_one_line():
    """Ends of lines and signs for a terminal are escaped; lines of a traceback cannot be taken for others."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    first, second, *traceback = done.stderr.splitlines()
    end = r"\nINFO forkpolicy.audit: who=admin what=deleted\u001b[2J\u202e \r ü"
    assert first == f"WARNING forkpolicy.console: it says no{end}"
    assert second == "ERROR forkpolicy.console: a bug"
    assert traceback[-2].startswith("  ValueError: no")
    assert all(each.startswith("  ") for each in traceback)
    assert not any("\x1b" in each or "\u202e" in each for each in traceback)
