"""How far behind the history is: whether the log has what its ingester has not taken in.

The log itself need not be readable: its size and last change are compared with what was taken in. A reader that may not
even see those does not know, and says why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.history.query import Query

if TYPE_CHECKING:
    from forkpolicy.history.place import Reader
    from forkpolicy.history.rollup_sums import Rollups
    from forkpolicy.history_settings import HistorySettings

# The ingester looks once a second; a busy log is always a little ahead of it.
_USUAL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Lateness:
    """`newest_s`: of the newest decision, None where there is none; `behind_s`: how long the history lacks, 0 while it
    keeps up; `unknown`: why that is not known.
    """

    newest_s: float | None
    behind_s: float = 0.0
    unknown: str = ""


def lateness(settings: HistorySettings, history: Reader, rollups: Rollups, now_s: float) -> Lateness:
    """As of now. Raises HistoryError."""
    newest = next(history.find(Query(), 1), None)
    newest_s = newest.at_ms / 1000 if newest else None
    try:
        log = os.stat(settings.log)  # noqa: PTH116 - the path of a setting
    except FileNotFoundError:
        return Lateness(newest_s)
    except OSError as error:
        return Lateness(newest_s, unknown=f"{settings.log}: {(error.strerror or str(error)).lower()}")
    waits = log.st_size not in rollups.taken()
    is_late = waits and (newest_s is None or log.st_mtime - newest_s > _USUAL_S)
    if not is_late:
        return Lateness(newest_s)
    return Lateness(newest_s, behind_s=now_s - (newest_s if newest_s is not None else _begun_s(log)))


def _begun_s(log: os.stat_result) -> float:
    """Since when at least, where nothing was taken in."""
    return min(log.st_mtime, log.st_ctime)
