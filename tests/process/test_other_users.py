"""What another user of the machine can do to a start, a stop and a compile: hold every lock that it can open, and
change every name in a directory that is its own. Real other users: as root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket

import pytest

from forkpolicy.compile.output.writer import TableWriter
from forkpolicy.compile_failures import failures, note
from forkpolicy.errors import CannotWriteError
from forkpolicy.master.sockets import listener
from forkpolicy.tables import format as layout
from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import FORGED, REJECT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
# Any user but root and the one that the workers run as.
STRANGER = 12345


def become_stranger():
    os.setgroups([])
    os.setresgid(STRANGER, STRANGER, STRANGER)
    os.setresuid(STRANGER, STRANGER, STRANGER)


def as_stranger(do):
    """Run a function as another user, in a child, to its end."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            become_stranger()
            do()
        os._exit(0)
    os.waitpid(pid, 0)


@contextlib.contextmanager
def stranger_holds(*directories):
    """Meanwhile another user holds a lock on each of these and on every file in them that it can open. Their names."""
    told, tell = os.pipe()
    rest, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(end)
            become_stranger()
            os.write(tell, "\n".join(hold_all(directories)).encode())
            os.close(tell)
            os.read(rest, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(rest)
    with os.fdopen(told) as words:
        held = words.read().splitlines()
    try:
        yield held
    finally:
        os.close(end)
        os.waitpid(pid, 0)


def hold_all(directories):
    held = []
    for path in [each for directory in directories for each in (directory, *directory.iterdir())]:
        with contextlib.suppress(OSError):
            fcntl.flock(os.open(path, os.O_RDONLY | os.O_NONBLOCK), fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(path.name)
    return held


def test_locks_of_another_user_keep_nobody_waiting(make_server):
    """Start, compile, reload and stop, while another user holds what it can open."""
    server = make_server(workers=1)
    tables = server.directory / "compiled"
    with stranger_holds(server.directory, tables) as held:
        assert {"server", "compiled", "domains.lmdb"} <= set(held)
        server.compile()
        server.start()
        with stranger_holds(server.directory, tables):
            server.compile("--if-changed")
            assert server.reload().returncode == 0
            with PolicyClient(server.socket_path) as client:
                assert client.ask(FORGED) == REJECT
            assert server.stop() == 0
    assert not server.socket_path.exists()
    assert not {path.name for path in (*server.directory.iterdir(), *tables.iterdir()) if path.suffix == ".lock"}


def test_a_lock_that_its_owner_lays_out_is_refused_at_once(folder):
    """In a directory of its own another user can have a file under the lock's name: whose it is, and what to do."""
    os.chown(folder, STRANGER, STRANGER)
    lock = folder / ".policy.lock"
    as_stranger(lambda: lock.touch(mode=0o600))
    with stranger_holds(folder) as held:
        assert ".policy.lock" in held
        with pytest.raises(CannotWriteError, match=r"\.policy\.lock is a file of 12345 with mode 0600, .*: remove it"):
            listener.open_unix(str(folder / "policy"), listener.Ownership(0o666), 8)


@pytest.mark.parametrize("moment", ["mkdir", "chmod", "chown", "replace"])
def test_a_name_that_is_changed_in_between_changes_nothing_else(folder, monkeypatch, moment):
    """Before any step that makes the socket file, the owner of the directory puts links to a file of root's under every
    name in it: that file keeps its mode and owner, and its content.
    """
    yard, secret = folder / "yard", folder / "secret"
    yard.mkdir()
    os.chown(yard, STRANGER, STRANGER)
    secret.write_text("root's own")
    secret.chmod(0o600)
    swaps = []
    original = getattr(os, moment)

    def swap_first(*arguments, **more):
        swaps.append(moment)
        as_stranger(lambda: put_links(yard, secret))
        return original(*arguments, **more)

    monkeypatch.setattr(os, moment, swap_first)
    opened = listener.open_unix(str(yard / "policy"), listener.Ownership(0o666, STRANGER, STRANGER), 8)
    monkeypatch.undo()
    found = secret.stat()
    assert (oct(found.st_mode & 0o7777), found.st_uid, found.st_gid) == ("0o600", 0, 0)
    assert secret.read_text() == "root's own"
    made = (yard / "policy").lstat()
    assert (oct(made.st_mode), made.st_uid, made.st_gid) == ("0o140666", STRANGER, STRANGER)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(yard / "policy"))
    assert swaps == [moment]
    opened.close(remove=True)
    assert not (yard / "policy").exists()


def put_links(yard, target):
    for number, path in enumerate(list(yard.iterdir())):
        path.rename(yard / f"aside{number}")
        path.symlink_to(target)


@pytest.fixture
def yard(folder):
    """A directory of another user's, next to a file `secret` of root's."""
    secret = folder / "secret"
    secret.write_text("root's own")
    secret.chmod(0o600)
    yard = folder / "yard"
    yard.mkdir()
    os.chown(yard, STRANGER, STRANGER)
    yield yard
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("root's own", 0o600)


def test_a_link_under_the_name_aside_is_not_written_through(yard):
    """The name of an unfinished table can be guessed."""
    aside = yard / ".t.lmdb.1.tmp"
    for target in ("secret", "nowhere"):
        as_stranger(lambda target=target: aside.symlink_to(yard.parent / target))
        with pytest.raises(CannotWriteError, match="File exists"):
            TableWriter(aside, "key")
        aside.unlink()
    assert not (yard.parent / "nowhere").exists()


def test_a_link_laid_while_a_table_is_written_is_not_sealed(yard):
    """The end of a table goes where its beginning is; no other file is cut or gets a mode."""
    aside = yard / ".t.lmdb.1.tmp"
    writer = TableWriter(aside, "key")
    with aside.open("rb") as written:
        as_stranger(lambda: (aside.unlink(), aside.symlink_to(yard.parent / "secret")))
        writer.put([(b"key", b"value")])
        writer.finish(layout.TableInfo("t", "key", "", 1, 0.0, ()))
        writer.close()
        assert layout.verify(written.fileno()).lmdb_bytes


@pytest.mark.timeout(20)
def test_a_pipe_for_the_list_of_failures_keeps_nobody_waiting(yard):
    """Neither a compile nor `status`, which read that list; a link is not followed."""
    as_stranger(lambda: os.mkfifo(yard / ".failures"))
    assert failures(yard) == {}
    note(yard, {"t": "why"}, yard / "aside")
    assert failures(yard)["t"].reason == "why"
    (yard / ".failures").rename(yard.parent / "elsewhere")
    (yard / ".failures").symlink_to(yard.parent / "elsewhere")
    assert failures(yard) == {}
