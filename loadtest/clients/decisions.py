"""A process that loads the policy of one shape and times its decisions: `decisions.py SHAPE SEED`.

Prints the CPU seconds that loading took, then, for each line of standard input, the CPU microseconds of a decision in a
round. A process of its own, so that builds are measured in turn: it runs with the forkpolicy that PYTHONPATH finds.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from loadtest.traffic.policy_shapes import policy_text, requests


def main(shape: str, seed: int) -> None:
    """Load, then measure round after round."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.conf").write_text(policy_text(shape, seed))
        (Path(folder) / "forkpolicy.toml").write_text("")
        start_s = time.process_time()
        policy = load_everything(Path(folder) / "forkpolicy.toml").policy
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
