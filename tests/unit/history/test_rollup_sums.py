"""How often rules fired: sums by slot, verb and rule, of days with a file, of days that are gone, and of days that
cannot be read.
"""

import pytest

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.rollup_sums import SLOT_S, DayRollups, Fired, day_of_slot, first_slot, slot_of, sums_of
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision

DAY_S = 86400
DAY = "2026-11-28"


def ingest(folder, lines, keep_days=3650, now_s=NOON_S):
    """A history of these lines."""
    log = folder / "log.json"
    log.write_bytes(begin() + b"".join(lines))
    ingester = Ingester(str(log), Store(str(folder / "history")), keep_days, list[str]().append, lambda: now_s)
    ingester.turn()
    ingester.close()
    return DayRollups(str(folder / "history"))


def test_sums_are_by_slot_verb_and_rule(tmp_path):
    """And by the ACLs that it showed; texts of actions make no difference."""
    rollups = ingest(
        tmp_path,
        [
            decision(NOON_S),
            decision(NOON_S + 1, action="REJECT go away"),
            decision(NOON_S + SLOT_S, rule="policy.conf:9", action="DEFER_IF_PERMIT later"),
        ],
    )
    noon = slot_of(NOON_S)
    expected = [
        Fired(noon, "policy.conf:7", "REJECT", 2, "from_us"),
        Fired(noon + 1, "policy.conf:9", "DEFER_IF_PERMIT", 1, "from_us"),
    ]
    assert sorted(rollups.fired(DAY)) == expected
    assert rollups.fired(DAY, noon + 1) == expected[1:]
    sums = sums_of(DAY, rollups.fired(DAY))
    assert sums.verbs["REJECT"][72] == 2
    assert sums.verbs["DEFER_IF_PERMIT"][73] == 1
    assert sum(map(sum, sums.verbs.values())) == 3
    assert sums.rules == {("policy.conf:7", "REJECT"): 2, ("policy.conf:9", "DEFER_IF_PERMIT"): 1}
    assert day_of_slot(first_slot(DAY)) == day_of_slot(first_slot(DAY) + 143) == DAY


def test_days_that_were_removed_are_known(tmp_path):
    """Their sums are kept longer than their decisions."""
    old = decision(NOON_S - 3 * DAY_S)
    rollups = ingest(tmp_path, [old, decision(NOON_S)], keep_days=1)
    assert not (tmp_path / "history" / "2026-11-25.sqlite").exists()
    assert [each.decisions for each in rollups.fired("2026-11-25")] == [1]
    assert [each.decisions for each in rollups.fired(DAY)] == [1]


def test_the_stamp_of_a_day_changes_with_it(tmp_path):
    """And of a day without anything it is none."""
    rollups = ingest(tmp_path, [decision(NOON_S)])
    before = rollups.stamp(DAY)
    assert before == rollups.stamp(DAY) is not None
    assert rollups.stamp("2026-11-20") is None
    ingest(tmp_path, [decision(NOON_S + each) for each in range(2000)])
    assert rollups.stamp(DAY) != before


def test_how_far_the_log_was_taken_in_is_known(tmp_path):
    """To its end, after a turn."""
    rollups = ingest(tmp_path, [decision(NOON_S)])
    assert rollups.taken() == {(tmp_path / "log.json").stat().st_size}
    assert DayRollups(str(tmp_path / "none")).taken() == set()


def test_a_damaged_day_is_an_error_that_names_its_file(tmp_path):
    """And no day without decisions."""
    rollups = ingest(tmp_path, [decision(NOON_S)])
    path = tmp_path / "history" / f"{DAY}.sqlite"
    path.write_bytes(b"x" * 9000)
    with pytest.raises(HistoryError, match=str(path)):
        rollups.fired(DAY)
