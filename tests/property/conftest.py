"""Properties run as many examples as are asked for, and have time for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# An example takes milliseconds. Hypothesis calls a test that ran into its time limit "flaky" and shows a wrong trail,
# so the limit is for what hangs, also where ten others share the cores.
SECONDS_AN_EXAMPLE = 0.05
LEAST_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    examples = int(os.environ.get("FORKPOLICY_EXAMPLES", "1000"))
    limit = pytest.mark.timeout(max(LEAST_SECONDS, examples * SECONDS_AN_EXAMPLE))
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(limit)
