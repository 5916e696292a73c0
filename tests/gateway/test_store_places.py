"""`gateway check` about sockets and rights: what Postfix, the unit's user and the console's may not do."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from forkpolicy.gateway import store_places
from forkpolicy.gateway.settings import SOCKETS, GatewaySettings, ScannerSettings, StoreSettings
from forkpolicy.gateway.store_places import place_findings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
POSTFIX, STORE, CONSOLE = "daemon", "nobody", "games"


@pytest.fixture
def folder(monkeypatch):
    """Sockets and files as the units make them, of other users than on a host."""
    for name, value in (("STORE", STORE), ("GROUPS", ("adm",)), ("CONSOLE", CONSOLE)):
        monkeypatch.setattr(store_places, name, value)
    monkeypatch.setattr(store_places, "SERVICE", "forkpolicy-store-of-a-test.service")
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    kept = []
    places = {f"private/{name}": (POSTFIX, 0o660) for name in SOCKETS.values()}
    for name, (user, mode) in (places | {"policy": (STORE, 0o600), "api.sock": (STORE, 0o660)}).items():
        (path / name).parent.mkdir(exist_ok=True)
        kept.append(socket.socket(socket.AF_UNIX))
        kept[-1].bind(str(path / name))
        shutil.chown(path / name, user, "games" if name == "api.sock" else None)
        (path / name).chmod(mode)
    shutil.chown(path / "private", POSTFIX)
    (path / "private").chmod(0o700)
    for name, owner, group, mode in (
        ("gateway.toml", "root", "root", 0o644),
        ("mail.log", "root", "adm", 0o640),
        ("password", "root", "nogroup", 0o640),
    ):
        (path / name).touch()
        shutil.chown(path / name, owner, group)
        (path / name).chmod(mode)
    (path / "held").mkdir(mode=0o700)
    shutil.chown(path / "held", STORE)
    yield path
    for each in kept:
        each.close()
    shutil.rmtree(path)


def said(folder, policy="policy"):
    """What is found, an error or a warning each."""
    store = StoreSettings(
        path=str(folder / "held"),
        sockets=str(folder / "private"),
        api=str(folder / "api.sock"),
        policy=str(folder / policy),
        mail_log=str(folder / "mail.log"),
    )
    settings = GatewaySettings(store=store, scanner=ScannerSettings(password_file=str(folder / "password")))
    return [f"{each.severity}: {each}" for each in place_findings(settings, str(folder / "gateway.toml"), POSTFIX)]


def test_places_as_the_units_make_them_need_nothing(folder):
    """The log is read by the group that the unit gives its user."""
    assert said(folder) == []


@pytest.mark.parametrize(
    ("name", "mode", "severity", "message"),
    [
        ("private/store-spam", 0o600, "", ""),
        ("policy", 0o000, "error", "may not ask the policy server"),
        ("held", 0o500, "error", "the store cannot start"),
        ("mail.log", 0o600, "warning", "what became of released mail is not known"),
        ("password", 0o600, "warning", "nothing is learned"),
        ("gateway.toml", 0o600, "error", "the store cannot start"),
        ("api.sock", 0o600, "warning", "the console shows no held mail"),
    ],
)
def test_what_a_user_may_not_do_is_named(folder, name, mode, severity, message):
    """With the file, its rights, and what follows."""
    (folder / name).chmod(mode)
    found = said(folder)
    assert [each.partition(":")[0] for each in found] == ([severity] if severity else [])
    for each in found:
        assert message in each
        assert str(folder / name) in each


def test_a_policy_socket_in_postfixs_own_directory_is_of_no_use(folder):
    """The store's user may not go there."""
    (found,) = said(folder, policy="private/store")
    assert "may not ask the policy server" in found
    assert "forkpolicy-store-policy.socket" in found


def test_sockets_that_are_missing_are_named(folder):
    """Each of them, with the unit that makes it."""
    for name in ("private/store", "private/store-virus", "policy"):
        (folder / name).unlink()
    found = said(folder)
    assert len(found) == 3
    assert all("there is no such socket" in each for each in found)


def test_postfix_must_be_able_to_write_to_them(folder):
    """As its own user, who runs lmtp(8)."""
    shutil.chown(folder / "private" / "store", "root")
    (found,) = said(folder)
    assert f"user {POSTFIX}, which delivers there" in found


def test_a_store_of_another_user_has_that_users_rights(folder):
    """Somebody has started it by hand: what the unit's user may is of no interest."""
    (folder / "mail.log").chmod(0o600)
    shutil.chown(folder / "api.sock", "root")
    assert said(folder) == []
