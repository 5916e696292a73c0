"""How long it takes to answer what an exception for one sender and one recipient would have changed: in the process, as
the console will ask, warm and cold, in milliseconds of a clock; and the whole command, with its start.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Final

from forkpolicy.history.opening import open_history
from forkpolicy.history.whatif.judging import what_if
from forkpolicy.history.whatif.policies import lines_of, load_now, load_tried
from loadtest.errors import SetupError
from loadtest.history.searching import drop_from_memory
from loadtest.servers.server import FORKPOLICY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forkpolicy.history.whatif.judging import WhatIf
    from forkpolicy.loading import Loaded
    from loadtest.traffic.past_decisions import Values

_EXCEPTION: Final = "acl x_from sender {} / acl x_to recipient {} / action x_pass DUNNO / access x_from x_to x_pass"


def settings_for(server_settings: Path, folder: Path) -> Path:
    """Settings of a server whose history is in a folder; [history] is their last section."""
    settings = server_settings.with_name("whatif.toml")
    settings.write_text(f'{server_settings.read_text()}path = "{folder / "history"}"\n')
    return settings


def exceptions_cost(settings: Path, folder: Path, sample: Sequence[Values], questions: int) -> dict[str, float]:
    """The median and the most of so many questions; how many past requests were looked at, in the median."""
    asked = [_EXCEPTION.format(values.sender, values.recipient) for values in sample[:questions]]
    now = load_now(str(settings))
    try:
        cold = []
        for exception in asked:
            drop_from_memory(folder / "history")
            cold.append(_asked(now, exception)[0])
        warm = [_asked(now, exception) for exception in asked]
    finally:
        for table in now.tables.values():
            table.close()
    return {
        "warm_median_ms": statistics.median(ms for ms, _ in warm),
        "warm_most_ms": max(ms for ms, _ in warm),
        "cold_median_ms": statistics.median(cold),
        "cold_most_ms": max(cold),
        "looked_at": statistics.median(found.looked_at for _, found in warm),
        "command_ms": _command_ms(settings, asked[0]),
    }


def _asked(now: Loaded, exception: str) -> tuple[float, WhatIf]:
    started_s = time.perf_counter()
    found = what_if(open_history(now.settings.history), now, load_tried(now, lines_of(exception)))
    elapsed_ms = (time.perf_counter() - started_s) * 1000
    if not found.looked_at:
        raise SetupError(f"the decision that this exception is about was not looked at: {exception}")
    return elapsed_ms, found


def _command_ms(settings: Path, exception: str) -> float:
    started_s = time.perf_counter()
    done = subprocess.run(
        [*FORKPOLICY, "whatif", "-c", str(settings), "--except", exception], capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 1}:
        raise SetupError(f"forkpolicy whatif ended with exit status {done.returncode}: {done.stderr[-300:]}")
    return (time.perf_counter() - started_s) * 1000
