"""What `check` says of the places of `[history]`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from forkpolicy import history_places
from forkpolicy.history_places import remarks
from forkpolicy.history_settings import HistorySettings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users, and mounting, needs root")


@pytest.fixture
def folder():
    """A directory that every user may enter."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def said(folder, server_user="no-such-user", **others):
    """The messages."""
    given = {"log": str(folder / "log" / "decisions.json"), "path": str(folder / "days"), **others}
    return [f"{each.key}: {each.message}" for each in remarks(HistorySettings(**given), server_user)]


def test_without_a_log_there_is_nothing_to_say(folder):
    """Whatever the path is."""
    assert said(folder / "missing", log="") == []


def test_a_log_within_the_directory_of_the_days_is_named(folder):
    """However deep."""
    (folder / "log").mkdir()
    (message,) = said(folder, path=str(folder))
    assert (
        message
        == f"log: log: {folder}/log/decisions.json is below path ({folder}), where only the ingester should write"
    )


def test_a_disk_that_is_not_mounted_is_named(folder):
    """The directory above the days is not there."""
    (message,) = said(folder, path=str(folder / "disk" / "days"))
    assert message == f"path: path: the directory {folder}/disk does not exist"


@as_root
def test_a_full_disk_is_named(folder):
    """Where less is left than the log takes before it is renamed."""
    (folder / "log").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder / "log"], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (message,) = said(folder)
    finally:
        subprocess.run(["umount", folder / "log"], check=True)
    assert message == f"log: log: the file system of {folder}/log has 1024 KiB left"


@as_root
def test_rights_of_both_users_are_named(folder, monkeypatch):
    """The server writes the log, the ingester reads and renames it, and writes days."""
    monkeypatch.setattr(history_places, "INGESTER", "nobody")
    (folder / "log").mkdir(mode=0o755)
    (folder / "days").mkdir(mode=0o755)
    (folder / "log" / "decisions.json").touch(mode=0o600)
    (folder / "days" / "2026-11-28.sqlite").touch(mode=0o600)
    found = "\n".join(said(folder, "daemon"))
    assert f"log: user daemon may not write to {folder}/log: owner 0, group 0, mode 0755" in found
    assert f"log: user daemon may not write to {folder}/log/decisions.json: owner 0, group 0, mode 0600" in found
    assert f"log: user nobody may not read {folder}/log/decisions.json: owner 0, group 0, mode 0600" in found
    assert f"log: user nobody may not rename files in {folder}/log: owner 0, group 0, mode 0755" in found
    assert f"path: user nobody may not write to {folder}/days: owner 0, group 0, mode 0755" in found
    assert f"path: user nobody may not write to {folder}/days/2026-11-28.sqlite" in found
    for path in (folder / "log", folder / "days"):
        path.chmod(0o777)
    for path in (folder / "log" / "decisions.json", folder / "days" / "2026-11-28.sqlite"):
        path.chmod(0o666)
    assert said(folder, "daemon") == []


@as_root
def test_a_unit_that_is_not_installed_is_no_mistake(folder, monkeypatch):
    """Its user does not exist."""
    monkeypatch.setattr(history_places, "INGESTER", "no-such-user")
    (folder / "log").mkdir(mode=0o700)
    assert said(folder) == []
