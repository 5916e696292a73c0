"""What `check` says of the rights of the console's user."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from forkpolicy import console_places
from forkpolicy.console_places import remarks
from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.history_settings import HistorySettings
from forkpolicy.settings import ServerSettings, Settings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")


@pytest.fixture
def folder(monkeypatch):
    """A console of user nobody, as the package makes it, with a history that its group may read."""
    monkeypatch.setattr(console_places, "CONSOLE", "nobody")
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    for name, mode in (("console", 0o711), ("console/tables", 0o755), ("days", 0o755)):
        (path / name).mkdir()
        (path / name).chmod(mode)
    for name, mode in (("console/accounts.sqlite", 0o600), ("console/rules.conf", 0o644)):
        (path / name).touch()
        (path / name).chmod(mode)
    for each in (path / "console").rglob("*"):
        shutil.chown(each, "nobody")
    shutil.chown(path / "console", "nobody")
    yield path
    shutil.rmtree(path)


def said(folder, control_group="nogroup"):
    """Where something is to be said, and what."""
    settings = Settings(
        path=str(folder / "forkpolicy.toml"),
        console=ConsoleSettings(path=str(folder / "console")),
        history=HistorySettings(log="/var/log/x", path=str(folder / "days")),
        server=ServerSettings(user="daemon", control_group=control_group),
    )
    return [f"{each.section}: {each.message}" for each in remarks(settings, str(folder / "control"))]


def test_a_console_as_installed_needs_nothing(folder):
    """Modes, groups and owners are right, so nothing is said."""
    assert said(folder) == []


def test_nothing_is_said_before_somebody_uses_it(folder):
    """A console that has no account yet may be half installed."""
    (folder / "console" / "accounts.sqlite").unlink()
    assert said(folder, control_group="") == []


def test_files_that_root_has_made_are_named(folder):
    """After a restore, say: the console may not write them."""
    shutil.chown(folder / "console" / "accounts.sqlite", "root")
    (message,) = said(folder)
    assert message.startswith(f"console: path: user nobody may not write to {folder}/console/accounts.sqlite: owner 0,")


def test_rules_that_the_server_may_not_read_are_named(folder):
    """They would not count after the next reload."""
    (folder / "console" / "rules.conf").chmod(0o600)
    (message,) = said(folder)
    assert message.startswith(f"console: path: user daemon may not read {folder}/console/rules.conf: owner ")


def test_a_history_that_the_console_may_not_read_is_named(folder):
    """Its group is missing."""
    (folder / "days").chmod(0o700)
    (message,) = said(folder)
    assert message.startswith(f"history: path: user nobody may not read {folder}/days: owner 0,")


def test_who_may_not_ask_the_server_is_named(folder):
    """No group, or one of others."""
    assert said(folder, "")[0].startswith("server: control_group: empty, so user nobody may not ask the server")
    (message,) = said(folder, "daemon")
    assert message == "server: control_group: user nobody is not a member of daemon, and may not ask the server"


def test_a_socket_of_another_group_is_named(folder):
    """The group was set, and the server was not started again."""
    (folder / "control").touch(mode=0o600)
    (message,) = said(folder)
    assert message.startswith(f"server: control_group: user nobody may not ask {folder}/control: owner 0,")
