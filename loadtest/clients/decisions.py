"""A process that loads the policy of one shape and times its decisions: `decisions.py SHAPE SEED`.

Compiles the shape's table, if it has one. Prints the CPU seconds that loading took, then, for each line of standard
input, the CPU microseconds of a decision in a round. A process of its own, so that builds are measured in turn: it runs
with the forkpolicy that PYTHONPATH finds.
"""

from __future__ import annotations

import contextlib
import gc
import io
import sys
import tempfile
import time
from pathlib import Path

from forkpolicy.compile.command import compile_tables
from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from loadtest.traffic.policy_shapes import TABLE, policy_text, requests, table_text


def main(shape: str, seed: int) -> None:
    """Load, then measure round after round."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.conf").write_text(policy_text(shape, seed))
        (Path(folder) / "forkpolicy.toml").write_text('tables = "tables"\n')
        if text := table_text(shape):
            (Path(folder) / TABLE).write_text(text)
            with contextlib.redirect_stdout(io.StringIO()):
                compile_tables(["-c", f"{folder}/forkpolicy.toml"])
        start_s = time.process_time()
        loaded = load_everything(Path(folder) / "forkpolicy.toml")
        policy = loaded.policy
        for table in loaded.tables.values():
            table.refresh()
        print(time.process_time() - start_s, flush=True)
    # As a worker does: what was loaded is never garbage.
    gc.freeze()
    asked = [wanted_values(Request(each, None), policy.wanted) for each in requests(shape, seed)]
    decide = policy.decide
    for _ in sys.stdin:
        start_s = time.process_time()
        for values in asked:
            decide(values)
        print((time.process_time() - start_s) / len(asked) * 1e6, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
