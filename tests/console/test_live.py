"""New decisions reach all who listen, by one thread; a slow listener loses and knows it; who comes back goes on."""

import threading

import pytest

from forkpolicy.console.errors import TooMany
from forkpolicy.console.now.live import MOST_A_LOOK, MOST_OF_SESSION, ROOM, Live
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision, new_id
from tests.process.waiting import eventually


def everything(_found):
    """A scope without bounds."""
    return True


class Site:
    """A history that grows, and its live list."""

    def __init__(self, folder):
        self.log = folder / "log.json"
        self.log.write_bytes(begin())
        self.ingester = Ingester(str(self.log), Store(str(folder / "history")), 30, print, lambda: NOON_S)
        self.opened = 0
        self.folder = folder
        self.live = Live(self.open_history, lambda: NOON_S, look_s=0.01)
        self.heard = threading.Event()

    def open_history(self):
        self.opened += 1
        return History(str(self.folder / "history"), lambda: NOON_S)

    def add(self, count=1, **attributes):
        """Decisions that the ingester takes in; their ids."""
        codes = [new_id() for _ in range(count)]
        with self.log.open("ab") as log:
            log.writelines(decision(NOON_S - 1, code=code, **attributes) for code in codes)
        self.ingester.turn()
        return codes

    def listen(self, session="a", accepts=everything, last_id=""):
        listener = self.live.listen(session, accepts, self.heard.set, last_id)
        eventually(lambda: self.live._has_looked)
        return listener

    def hear(self, listener, count):
        """The ids of the next decisions, once so many have come."""
        found = []

        def take():
            found.extend(each.id for each in self.live.take(listener).found)
            return len(found) >= count

        eventually(take)
        return found


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    made.add()
    yield made
    made.ingester.close()


def test_all_listeners_hear_what_is_new_once(site):
    """And not what was there before; one thread reads for both."""
    first, second = site.listen("a"), site.listen("b")
    codes = site.add(3)
    assert site.hear(first, 3) == site.hear(second, 3) == codes
    assert site.opened == 1
    later = site.add(2)
    assert site.hear(first, 2) == later
    for each in (first, second):
        site.live.leave(each)
    assert not site.live.is_looking


def test_a_listener_hears_what_its_scope_has(site):
    """Others' mail is not for it."""
    listener = site.listen(accepts=lambda found: found.recipient == "own@example.net")
    site.add(2)
    own = site.add(recipient="own@example.net")
    assert site.hear(listener, 1) == own
    site.live.leave(listener)


def test_a_slow_listener_loses_the_oldest_and_knows_how_many(site):
    """Its queue has bounds, others lose nothing."""
    slow, quick = site.listen("a"), site.listen("b")
    every = []
    for _ in range(4):
        some = site.add(MOST_A_LOOK)
        assert site.hear(quick, len(some)) == some
        every += some
    taken = site.live.take(slow)
    assert [each.id for each in taken.found] == every[-ROOM:]
    assert taken.lost == len(every) - ROOM
    for each in (slow, quick):
        site.live.leave(each)


def test_more_than_anybody_reads_in_a_second_is_said(site):
    """The newest are shown."""
    listener = site.listen()
    codes = site.add(3 * MOST_A_LOOK)
    eventually(lambda: listener.has_more)
    assert [each.id for each in site.live.take(listener).found] == codes[-MOST_A_LOOK:]
    site.live.leave(listener)


def test_one_that_comes_back_goes_on_where_it_was(site):
    """Also where nobody listened meanwhile; what is not known any more is said."""
    listener = site.listen()
    (last,) = site.add()
    assert site.hear(listener, 1) == [last]
    site.live.leave(listener)
    missed = site.add(2)
    back = site.listen(last_id=last)
    assert site.hear(back, 2) == missed
    lost = site.listen(last_id=new_id())
    assert site.live.take(lost).has_more
    for each in (back, lost):
        site.live.leave(each)


def test_a_history_that_cannot_be_read_is_said_and_heard_again(site):
    """A damaged day is set aside by its ingester."""
    listener = site.listen()
    day = next((site.folder / "history").glob("2026-*.sqlite"))
    kept = day.read_bytes()
    day.write_bytes(b"x" * len(kept))
    eventually(lambda: str(day) in listener.trouble)
    day.write_bytes(kept)
    eventually(lambda: not listener.trouble)
    site.live.leave(listener)


def test_a_history_that_cannot_be_opened_is_said_and_opened_later(site):
    """Its packages are missing, or its server is away."""
    opening = [HistoryError("psycopg is not installed")]

    def open_history():
        if opening:
            raise opening.pop()
        return site.open_history()

    site.live._open_history = open_history
    listener = site.listen()
    codes = site.add()
    assert site.hear(listener, 1) == codes
    site.live.leave(listener)


def test_listeners_have_bounds(site):
    """So many of a session; others may listen."""
    listeners = [site.listen() for _ in range(MOST_OF_SESSION)]
    with pytest.raises(TooMany):
        site.listen()
    listeners.append(site.listen("b"))
    for each in listeners:
        site.live.leave(each)
    assert not site.live.is_looking
