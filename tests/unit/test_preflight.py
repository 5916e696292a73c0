"""The conditions of a start, judged by the kernel for a user that may little."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from forkpolicy import process
from forkpolicy.preflight import Start, find_obstacles, find_remarks, unreadable
from forkpolicy.process import Identity, answer_as
from forkpolicy.settings import load_settings
from tests.owners import owner_lines

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def nobody():
    user = pwd.getpwnam("nobody")
    return Identity("nobody", user.pw_uid, user.pw_gid, (user.pw_gid,))


@pytest.fixture
def folder():
    """A directory that everybody may search, which pytest's own are not, and one below it that is root's alone."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "closed").mkdir(mode=0o700)
        (path / "closed" / "inner").mkdir()
        (path / "open").mkdir()
        (path / "open").chmod(0o777)
        yield path


def obstacles(nobody, folder, server="", log=""):
    """What keeps nobody from starting a master."""
    path = folder / "forkpolicy.toml"
    usual = 'listen = ["unix:open/policy"]\ncontrol = "unix:open/control"\n'
    lines = [line for line in usual.splitlines() if line.split()[0] not in server]
    path.write_text("[server]\n" + "\n".join(lines) + f"\n{server}\n[log]\n{log}\n")
    settings = load_settings(path)
    return answer_as(nobody, lambda _: [each.message for each in find_obstacles(Start(settings))], [])


@pytest.mark.parametrize(
    ("server", "log", "told"),
    [
        ('listen = ["unix:closed/policy"]', "", "may not write to the directory {folder}/closed"),
        ('listen = ["unix:closed/inner/policy"]', "", "may not search the directory {folder}/closed"),
        ('control = "unix:closed/new/control"', "", "may not write to the directory {folder}/closed"),
        ("", 'target = "closed/log"', "may not write to the directory {folder}/closed"),
        ("", 'target = "closed/inner/log"', "may not search the directory {folder}/closed"),
        ("", 'target = "closed/new/deep/log"', "may not search the directory {folder}/closed"),
        ("", 'target = "mine"', "may not write to {folder}/mine"),
        ("", 'target = "new"', "may not write to the directory {folder}"),
    ],
)
def test_what_a_user_may_not(nobody, folder, server, log, told):
    """Each is one diagnostic that names the user, and the directory or file that is in the way."""
    (folder / "mine").touch(mode=0o644)
    (said,) = obstacles(nobody, folder, server, log)
    assert said.endswith("user nobody " + told.format(folder=folder))


def test_nothing_is_in_the_way_of_who_may(nobody, folder):
    """A user of the settings that does not exist included: only root changes owners."""
    assert obstacles(nobody, folder, 'user = "no-such"') == []


def test_files_are_read_as_the_kernel_would(nobody, folder):
    """Directories on the way count, and the file's own mode; a file that is not there is another's to report."""
    paths = {name: folder / name for name in ("closed/inner/a", "open/b", "open/c", "open/missing")}
    for name, mode in (("closed/inner/a", 0o644), ("open/b", 0o640), ("open/c", 0o644)):
        paths[name].touch()
        paths[name].chmod(mode)
    found = dict(unreadable(nobody, map(str, paths.values())))
    assert set(found) == {str(paths["closed/inner/a"]), str(paths["open/b"])}
    assert found[str(paths["closed/inner/a"])] == f"it may not search the directory {folder}/closed"
    assert found[str(paths["open/b"])].endswith("mode 0640")


def test_a_child_that_cannot_answer_is_an_error(nobody):
    """Nobody takes silence for a yes."""

    def die(_):
        os._exit(1)

    with pytest.raises(OSError, match="cannot become user nobody"):
        answer_as(nobody, die, [])


def test_who_asks_stays_who_it_is(nobody):
    """The child alone has changed."""
    assert answer_as(nobody, lambda _: [str(os.geteuid())], []) == [str(nobody.uid)]
    assert os.geteuid() == 0


def test_root_that_cannot_become_the_workers_user(folder, monkeypatch):
    """As in a container without CAP_SETUID: a diagnostic, since the workers could not either."""

    def refuse(_identity):
        raise PermissionError

    monkeypatch.setattr(process, "become", refuse)
    path = folder / "forkpolicy.toml"
    path.write_text(f'[server]\nlisten = ["unix:open/policy"]\ncontrol = "unix:open/control"\n{owner_lines()}')
    (said,) = find_obstacles(Start(load_settings(path), (str(path),)))
    assert "this process may not become user" in said.message


def state_start(folder, state):
    """A start of a policy that remembers, with these lines in [state]."""
    path = folder / "forkpolicy.toml"
    path.write_text(f"[server]\n{owner_lines()}[state]\n{state}\n")
    return Start(load_settings(path), remembers=True)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (
            'live = "closed/live"\nkept = "open/kept"',
            "live: user nobody may not write to the directory {folder}/closed",
        ),
        (
            'live = "open/live"\nkept = "closed/kept"',
            "kept: user nobody may not write to the directory {folder}/closed",
        ),
        ('live = "file"\nkept = "open/kept"', "live: {folder}/file is not a directory"),
    ],
)
def test_the_maps_need_a_place(nobody, folder, state, told):
    """Reported at their setting, as everything that keeps a server from starting; only where a policy remembers."""
    (folder / "file").touch()
    start = state_start(folder, state)
    found = answer_as(nobody, lambda _: [f"{each.line} {each.message}" for each in find_obstacles(start)], [])
    wanted = told.format(folder=folder)
    assert [each.partition(" ")[2] for each in found if each.split()[1] in ("live:", "kept:")] == [wanted]
    assert int(next(each for each in found if wanted in each).split()[0]) > 0
    forgetful = Start(start.settings)
    assert wanted not in answer_as(nobody, lambda _: [each.message for each in find_obstacles(forgetful)], [])


def test_what_the_workers_cannot_write_is_an_obstacle_for_root(nobody, folder):
    """A directory that is there already, and is another user's."""
    (folder / "kept").mkdir(mode=0o755)
    path = folder / "forkpolicy.toml"
    path.write_text(
        '[server]\nuser = "nobody"\ngroup = "nogroup"\nsocket_user = "nobody"\nsocket_group = "nogroup"\n'
        'listen = ["unix:policy"]\ncontrol = "unix:control"\n[state]\nlive = "live"\nkept = "kept"\n'
    )
    (found,) = find_obstacles(Start(load_settings(path), remembers=True))
    assert f"kept: user nobody may not write to {folder}/kept: owner 0, group 0, mode 0755" in found.message


def test_places_that_surprise_are_remarked(folder):
    """A live map on a disk, a kept one in memory, and a file system that is too small; nothing where none is needed."""
    start = state_start(folder, 'live = "live"\nkept = "/dev/shm/forkpolicy-kept"\nmax_size = "1T"')
    found = {each.line: each for each in find_remarks(start)}
    assert {each.severity for each in found.values()} == {"warning"}
    text = "\n".join(str(each) for each in found.values())
    assert "bytes are missing" in text
    assert "kept: /dev/shm/forkpolicy-kept is on a tmpfs: a reboot forgets everything" in text
    assert find_remarks(Start(start.settings)) == []
    assert find_remarks(state_start(folder, 'live = "/dev/shm/forkpolicy-live"\nkept = "kept"\nmax_size = "1M"')) == []
