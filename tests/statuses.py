"""Status documents for tests: one that a master of status version 1 has sent, and variations of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from forkpolicy.documents import parse
from forkpolicy.status import Status, WorkerCounters, WorkerStatus

DATA = Path(__file__).parent / "data"


def recorded_fields() -> dict[str, object]:
    """What a master sends, as JSON has it. `status.json` and `status.txt` are what was made of it at that time."""
    fields: dict[str, object] = json.loads((DATA / "status-reply.json").read_text())
    return fields


def status(*workers: WorkerStatus, **changed: object) -> Status:
    """The recorded one with these workers and other fields."""
    return dataclasses.replace(parse(Status, recorded_fields(), others=True), workers=workers, **changed)


def worker(counters: dict[str, int] | None = None, **changed: object) -> WorkerStatus:
    """The first worker of the recorded one, with these counters and other fields."""
    first = parse(Status, recorded_fields(), others=True).workers[0]
    return dataclasses.replace(first, counters=WorkerCounters(**counters or {}), **changed)
