"""What Now says: counts by kind, what is usual, what makes an alarm; and what cannot be known is never 0."""

from __future__ import annotations

import os

import pytest

from forkpolicy.console.now.kinds import DEFERRED, OTHER, PASSED, REFUSED, kind_of
from forkpolicy.console.now.lateness import Lateness
from forkpolicy.console.now.looks import Looks
from forkpolicy.console.now.mostly import Share
from forkpolicy.console.now.now import Now
from forkpolicy.console.now.sentence import sentence
from forkpolicy.console.now.usual import ALARM_LEAST
from forkpolicy.errors import NotRunningError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.rollup_sums import SLOT_S, first_slot, slot_of
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision
from tests.statuses import status, worker

DAY_S, HOUR_S = 86400, 3600
NOW_S = NOON_S + 0.0


class Site:
    """A history of decisions at given times, and what Now makes of it at NOW_S."""

    def __init__(self, folder):
        self.log, self.directory = folder / "log.json", folder / "history"
        self.now_s = NOW_S
        settings = HistorySettings(log=str(self.log), path=str(self.directory))
        self.now = Now(settings, lambda: History(str(self.directory), lambda: self.now_s), status, lambda: self.now_s)
        self.log.write_bytes(begin())

    def log_only(self, lines):
        with self.log.open("ab") as log:
            log.writelines(lines)
        os.utime(self.log, (self.now_s, self.now_s))

    def take_in(self):
        ingester = Ingester(str(self.log), Store(str(self.directory)), 3650, print, lambda: self.now_s)
        ingester.turn()
        ingester.close()

    def add(self, *times_s, **fields):
        self.log_only([decision(at_s, **fields) for at_s in times_s])
        self.take_in()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def every_ten_minutes(begin_s, end_s, count=1):
    """Times, so many in each slot."""
    return [at_s + each for at_s in range(int(begin_s), int(end_s), SLOT_S) for each in range(count)]


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("REJECT", REFUSED),
        ("reject", REFUSED),
        ("554", REFUSED),
        ("DEFER_IF_PERMIT", DEFERRED),
        ("450", DEFERRED),
        ("DUNNO", PASSED),
        ("OK", PASSED),
        ("250", PASSED),
        ("DISCARD", OTHER),
        ("5000", OTHER),
    ],
)
def test_each_verb_has_a_kind(verb, kind):
    """As Postfix takes it."""
    assert kind_of(verb) == kind


def test_counts_are_by_slot_and_kind(site):
    """Over midnight, and as the days change."""
    midnight_s = NOON_S - 12 * HOUR_S
    site.add(midnight_s - 1, midnight_s, midnight_s + 1)
    first = first_slot("2026-11-28")
    counts = site.now.rates.counts(first - 1, first + 1)
    assert counts.kinds[REFUSED] == (1, 2, 0)
    assert counts.kinds[DEFERRED] == (0, 0, 0)
    site.add(midnight_s + 2)
    assert site.now.rates.counts(first - 1, first + 1).total(REFUSED) == 4


def test_what_was_not_recorded_is_unknown(site):
    """Before the first decision, in days without any, behind the last one of such; not at the end of today."""
    site.add(NOON_S - 4 * DAY_S, NOON_S - HOUR_S)
    first = slot_of(NOON_S - 4 * DAY_S)
    column = site.now.rates.counts(first - 1, slot_of(NOON_S)).kinds[REFUSED]
    assert column[:3] == (None, 1, None)
    assert set(column[3 : -HOUR_S // SLOT_S - 1]) == {None}
    assert column[-HOUR_S // SLOT_S - 1 :] == (1, 0, 0, 0, 0, 0, 0)
    assert site.now.rates.counts(first - 300, first - 200).total(REFUSED) is None


def test_a_day_that_cannot_be_read_is_named_and_unknown(site):
    """Other days are shown."""
    site.add(NOON_S - DAY_S, NOON_S)
    (site.directory / "2026-11-27.sqlite").write_bytes(b"x" * 9000)
    counts = site.now.rates.counts(first_slot("2026-11-27"), slot_of(NOON_S))
    assert "2026-11-27.sqlite" in counts.unread[0]
    assert set(counts.kinds[REFUSED][:144]) == {None}
    assert counts.total(REFUSED) == 1


def test_usual_is_the_median_of_this_hour_on_other_days(site):
    """One bad night does not move it; the current slot counts as far as it is over."""
    site.now_s = NOON_S + 300
    for day in range(1, 8):
        begin_s = NOON_S - day * DAY_S - HOUR_S
        count = 100 if day == 3 else 2
        site.add(*every_ten_minutes(begin_s - 12 * HOUR_S, begin_s + 12 * HOUR_S, count))
    site.add(*every_ten_minutes(NOON_S - HOUR_S, NOON_S + 1, 3))
    hour = site.now.last_hour()
    assert hour.since_s == NOON_S - 50 * 60
    assert hour.refused == 18
    # Five slots of 2, and half of one.
    assert hour.usual == 11
    assert "7 of the previous 14 days" in hour.compared
    assert not hour.is_alarm


def test_what_is_usual_is_whole_mails(site):
    """Of a quiet hour, too: 12 times a usual that the page shows as 1 are 12, whatever part of a mail the median is."""
    site.now_s = NOON_S + 420
    for day in range(1, 8):
        site.add(NOON_S - day * DAY_S, NOON_S - day * DAY_S - 12 * HOUR_S, NOON_S - day * DAY_S + 11 * HOUR_S)
    site.add(*every_ten_minutes(NOON_S - HOUR_S, NOON_S + 1, 2))
    hour = site.now.last_hour()
    assert (hour.refused, hour.usual) == (12, 1)
    assert sentence(hour, Lateness(0, 0), 0, "").startswith(
        "12 mails were refused in the last hour, 12.0 times the usual"
    )


def test_a_short_history_compares_with_hours(site):
    """And a shorter one with nothing."""
    site.add(NOON_S - 60)
    hour = site.now.last_hour()
    assert (hour.refused, hour.usual) == (1, None)
    assert "too short" in hour.compared
    site.add(*every_ten_minutes(NOON_S - 10 * HOUR_S, NOON_S - HOUR_S))
    hour = site.now.last_hour()
    assert hour.usual == 5
    assert "previous 24 hours" in hour.compared


def test_an_alarm_names_what_makes_most_of_it(site):
    """The rule, the network and the domain; a page that is shown again soon asks nothing."""
    site.add(*every_ten_minutes(NOON_S - 10 * HOUR_S, NOON_S - HOUR_S))
    assert site.now.alarm() is None
    flood = [NOON_S - 60 + each / 10 for each in range(ALARM_LEAST)]
    site.add(*flood, rule="policy.conf:12", client_address="198.51.100.9", sender="x@bad.example")
    assert site.now.alarm() is None
    site.now_s += 31
    alarm = site.now.alarm()
    assert alarm.mostly.rule == Share("policy.conf:12", ALARM_LEAST, ALARM_LEAST)
    assert alarm.mostly.network == Share("198.51.100.0/24", ALARM_LEAST, ALARM_LEAST)
    assert alarm.mostly.domain == Share("bad.example", ALARM_LEAST, ALARM_LEAST)


def test_three_instead_of_one_is_no_alarm(site):
    """Below a floor nobody is called."""
    site.add(*every_ten_minutes(NOON_S - 10 * HOUR_S, NOON_S - HOUR_S))
    site.add(*(NOON_S - 60 + each / 10 for each in range(ALARM_LEAST - 1)))
    assert site.now.last_hour().refused == ALARM_LEAST - 1
    assert site.now.alarm() is None


def test_a_history_that_is_behind_says_how_far(site):
    """Its log has what was not taken in."""
    site.add(NOON_S - 14 * 60)
    assert site.now.lateness().behind_s == 0
    site.log_only([decision(NOON_S)])
    assert site.now.lateness().behind_s == 14 * 60
    site.take_in()
    assert site.now.lateness().behind_s == 0
    assert site.now.lateness().newest_s == NOON_S


def test_a_quiet_server_is_not_behind(site):
    """Nothing was logged for a day, and all of it was taken in."""
    site.add(NOON_S - DAY_S)
    assert site.now.lateness().behind_s == 0


def test_an_empty_history_behind_its_log_is_behind(site):
    """Its ingester never ran."""
    site.log_only([decision(NOON_S)])
    site.directory.mkdir()
    site.now_s += HOUR_S
    late = site.now.lateness()
    assert late.newest_s is None
    assert late.behind_s > 0


def test_looks_at_a_server_are_shared():
    """One a second; rates are over some seconds; another master is not compared with; a failure holds a second."""
    seen, clock = [], [1000.0]

    def look():
        if clock[0] == 1100:
            raise NotRunningError("no master is running there")
        seen.append(status(worker(), pid=7 if clock[0] < 1050 else 8))
        return seen[-1]

    looks = Looks(look, lambda: clock[0])
    assert looks.now() == (None, seen[0])
    assert looks.now() == (None, seen[0])
    clock[0] += 3
    assert looks.now() == (seen[0], seen[1])
    clock[0] += 3
    assert looks.now() == (seen[0], seen[2])
    clock[0] = 1050
    assert looks.now() == (None, seen[3])
    clock[0] = 1100
    for _ in range(2):
        with pytest.raises(NotRunningError):
            looks.now()
    clock[0] += 2
    looks.now()
