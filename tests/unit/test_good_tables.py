"""The last good file of each table: descriptors that the master keeps for workers to come."""

from __future__ import annotations

import os

import pytest

from forkpolicy.master.good_tables import GoodTables


@pytest.fixture
def opened():
    """A function that opens a file, as a worker would pass it; those that are still open are closed at the end."""
    fds = []

    def open_one():
        fds.append(os.open("/dev/null", os.O_RDONLY))
        return fds[-1]

    yield open_one
    for fd in fds:
        if is_open(fd):
            os.close(fd)


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_newer_file_takes_the_place_of_the_older(opened):
    """Of each table one is kept, and no descriptor more."""
    tables, older, newer = GoodTables(), opened(), opened()
    tables.keep("/t", older, ("/t",))
    tables.keep("/t", newer, ("/t",))
    assert tables.fds == {"/t": newer}
    assert not is_open(older)


def test_a_table_that_is_declared_nowhere_is_not_kept(opened):
    """A worker of the generation that goes may still pass one."""
    tables, fd = GoodTables(), opened()
    tables.keep("/gone", fd, ("/t",))
    assert tables.fds == {}
    assert not is_open(fd)


def test_what_a_reload_has_taken_out_is_let_go(opened):
    """What an earlier master has passed, too."""
    stays, goes = opened(), opened()
    tables = GoodTables({"/t": stays, "/gone": goes})
    tables.drop_others(("/t", "/new"))
    assert tables.fds == {"/t": stays}
    assert is_open(stays)
    assert not is_open(goes)
