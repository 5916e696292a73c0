"""Where nothing is found, it is said what the history has."""

from __future__ import annotations

import pytest

from forkpolicy.history.asking.nothing import hints
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision

DAY_S = 86400
ACTED = '[history] decisions is "acted": it has no mail that no rule acted on: history mail finds those'


def taken_in(directory, *lines):
    """A history of these."""
    (directory / "log.json").write_bytes(begin() + b"".join(lines))
    taken = Ingester(str(directory / "log.json"), Store(str(directory / "history")), 30, print, lambda: NOON_S)
    taken.turn()
    taken.close()
    return History(str(directory / "history"))


@pytest.mark.parametrize(("days", "first"), [((0,), "28"), ((1, 0), "27"), ((9, 1), "19"), ((27, 12, 3), "01")])
@pytest.mark.parametrize("seconds", [-11 * 3600, 0, 11 * 3600])
def test_the_first_day_and_the_newest_decision(tmp_path, days, first, seconds):
    """At any time of a day."""
    history = taken_in(tmp_path, *(decision(NOON_S - day * DAY_S + seconds) for day in days))
    said = list(hints(history, HistorySettings(), NOON_S + 11.5 * 3600))
    newest = f"2026-11-{28 - days[-1]}T{12 + seconds // 3600:02}:00:00.000Z"
    assert said == [f"the history begins on 2026-11-{first}; its newest decision is of {newest}", ACTED]


def test_what_is_recorded_is_said_only_where_it_is_not_all(tmp_path):
    """With all decisions there is nothing that it never has; an empty one says what fills it."""
    history = taken_in(tmp_path, decision())
    assert [each for each in hints(history, HistorySettings(decisions="all"), NOON_S) if "acted" in each] == []
    (tmp_path / "empty").mkdir()
    (said,) = hints(taken_in(tmp_path / "empty"), HistorySettings(), NOON_S)
    assert "does forkpolicy history ingest run?" in said
