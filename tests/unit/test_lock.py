"""Locks that no other user can hold, and that nobody waits for without end."""

from __future__ import annotations

import contextlib
import fcntl
import os

import pytest

from forkpolicy.errors import CannotWriteError
from forkpolicy.lock import LockHeldError, locked


def test_the_file_is_private_and_leaves_with_its_holder(tmp_path):
    """Mode 0600 whatever the umask; gone at the end, also after an exception."""
    path = tmp_path / "lock"
    umask = os.umask(0)
    try:
        with contextlib.suppress(ZeroDivisionError), locked(path, 0):
            assert path.stat().st_mode & 0o777 == 0o600
            raise ZeroDivisionError
    finally:
        os.umask(umask)
    assert list(tmp_path.iterdir()) == []


def test_who_waited_in_vain_learns_who_holds_it(tmp_path):
    """The process by number and name; the holder's file stays."""
    path = tmp_path / "lock"
    with locked(path, 0):
        for patience_s in (0, 0.05):
            holder = rf"locked by process {os.getpid()} \(.+\): try again"
            with pytest.raises(LockHeldError, match=holder), locked(path, patience_s):
                pass
        assert path.exists()


def test_a_waiter_does_not_take_a_removed_file_for_the_lock(tmp_path):
    """The file that it had open is gone: it begins anew, and who comes next finds it there."""
    path = tmp_path / "lock"
    holder = contextlib.ExitStack()
    holder.enter_context(locked(path, 0))
    with locked(path, 60, lambda _holder: holder.close()), pytest.raises(LockHeldError), locked(path, 0):
        pass


def test_only_one_of_two_holds_a_file_that_was_removed_between_opening_and_locking(tmp_path, monkeypatch):
    """The moment in which the holder ends between the waiter's open and its lock."""
    path = tmp_path / "lock"
    holder = contextlib.ExitStack()
    holder.enter_context(locked(path, 0))
    flock = fcntl.flock

    def end_first(fd, kind):
        holder.close()
        flock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", end_first)
    with locked(path, 60):
        assert path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_open_is_no_lock(tmp_path, mode):
    """Refused at once, whichever process holds it: with its mode and what to do."""
    path = tmp_path / "lock"
    path.touch()
    path.chmod(mode)
    with path.open() as stranger:
        fcntl.flock(stranger, fcntl.LOCK_EX)
        refused = f"with mode {mode:04o}, which another user could lock for ever"
        with pytest.raises(CannotWriteError, match=refused), locked(path, 60):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_of_another_user_is_no_lock(tmp_path):
    """Whose it is, and what to do."""
    path = tmp_path / "lock"
    path.touch(mode=0o600)
    os.chown(path, 12345, 12345)
    refused = r"is a file of 12345 with mode 0600, .*: remove it"
    with pytest.raises(CannotWriteError, match=refused), locked(path, 60):
        pass


def test_what_is_not_a_file_is_no_lock(tmp_path):
    """A link is not followed, a FIFO not waited for, a directory not opened."""
    path, elsewhere = tmp_path / "lock", tmp_path / "elsewhere"
    for make, unmake in (
        (lambda: path.symlink_to(elsewhere), path.unlink),
        (lambda: os.mkfifo(path, 0o600), path.unlink),
        (path.mkdir, path.rmdir),
    ):
        make()
        with pytest.raises(CannotWriteError), locked(path, 60):
            pass
        unmake()
    assert not elsewhere.exists()
