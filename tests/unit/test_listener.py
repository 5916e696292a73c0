"""Where a socket file is made: a directory that nobody else could have made, or none at all."""

from __future__ import annotations

import os

import pytest

from forkpolicy.errors import CannotWriteError
from forkpolicy.master.sockets.listener import Ownership, open_unix


def of_another_user(name, dir_fd):
    os.chown(name, 12345, -1, dir_fd=dir_fd)


def open_to_others(name, dir_fd):
    os.chmod(name, 0o711, dir_fd=dir_fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize("replace", [of_another_user, open_to_others])
def test_a_directory_that_was_replaced_is_not_used(tmp_path, monkeypatch, replace):
    """Its owner may have put another one in its place in the moment between making and opening it."""
    make = os.mkdir

    def make_and_replace(name, mode, dir_fd):
        make(name, mode, dir_fd=dir_fd)
        replace(name, dir_fd)

    monkeypatch.setattr(os, "mkdir", make_and_replace)
    with pytest.raises(CannotWriteError, match="another user has replaced"):
        open_unix(str(tmp_path / "policy"), Ownership(0o660), 16)
    assert list(tmp_path.iterdir()) == []
