"""The turn of a connection in C and its reference in Python: whatever arrives, they do the same.

FORKPOLICY_EXAMPLES=100000, the nightly size, is three million requests, each changed at random.
"""

from __future__ import annotations

import os
import random

import pytest

from forkpolicy.worker.implementation import PYTHON, C
from tests.turns import REQUESTS, WANTED, Scene, mutated, odd_names, request_of

EXAMPLES = int(os.environ.get("FORKPOLICY_EXAMPLES", "1000"))
LAYOUTS_AN_EXAMPLE, REQUESTS_A_LAYOUT = 0.1, 150

needs_both = pytest.mark.skipif(C is None, reason="no C compiler, or no headers of Python")


@needs_both
@pytest.mark.parametrize("read_bytes", [65536, 300], ids=["whole", "in-parts"])
def test_both_turns_do_the_same(read_bytes):
    """Values, bytes sent, what is passed on, what is raised and counted: the same for tens of thousands of requests,
    whole, changed, cut and joined, with layouts of usual and odd names, learnt and out of date.
    """
    scenes = [Scene(PYTHON, read_bytes), Scene(C, read_bytes)]
    decided = 0
    for seed in range(max(1, int(EXAMPLES * LAYOUTS_AN_EXAMPLE))):
        chance = random.Random(seed)
        names = odd_names(chance)
        wanted = tuple(chance.sample(WANTED, chance.randrange(2, len(WANTED))))
        for scene in scenes:
            scene.turn.learn(scene.implementation.layout(names, wanted))
            # A reload came in between: nothing of that layout may be used.
            scene.decider.layouts_epoch += seed % 20 == 0
        for number in range(REQUESTS_A_LAYOUT):
            raw = mutated(request_of(names, chance) if number % 10 else chance.choice(REQUESTS), chance)
            reference, compiled = [scene.ask(raw) for scene in scenes]
            assert compiled == reference, f"seed {seed}, request {number}: {raw!r}"
            decided += len(reference[3])
    for scene in scenes:
        scene.hang_up()
    # Otherwise this test would compare what is left to the connection.
    assert decided > EXAMPLES * LAYOUTS_AN_EXAMPLE * REQUESTS_A_LAYOUT / 20
