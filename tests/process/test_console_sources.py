"""Sources of tables that the console writes: whatever its user puts there, a compile shows no file of others."""

from __future__ import annotations

import os
import subprocess

import pytest

from forkpolicy.compile.sources import registry
from loadtest.servers.server import COMPILE
from tests.process.conftest import POLICY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
THEIRS = 12345
SECRET = "root:$6$secret.example\n"
CONSOLE = f"table friends domain may-shrink theirs/tables/friends\nacl friend sender table:friends\n{POLICY}"


@pytest.fixture
def server(make_server):
    """A server with a table of the console, which is compiled once."""
    server = make_server()
    (server.directory / "secret").write_text(SECRET)
    (server.directory / "secret").chmod(0o600)
    server.source = server.directory / "theirs" / "tables" / "friends"
    server.source.parent.mkdir(parents=True)
    server.source.write_text("friend.example\n")
    for path in (server.source, server.source.parent, server.source.parent.parent):
        os.chown(path, THEIRS, THEIRS)
    server.settings.write_text(f'{server.settings.read_text()}\n[console]\npath = "theirs"\n')
    server.write_policy(CONSOLE)
    assert compiled(server).returncode == 0
    return server


def compiled(server, *arguments):
    """A compile as a program: it must end by itself."""
    command = [*COMPILE, "-c", str(server.settings), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def link(path, secret):
    path.symlink_to(secret)
    os.lchown(path, THEIRS, THEIRS)


HOSTILE = {
    "a link": link,
    "a hard link": lambda path, secret: path.hardlink_to(secret),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a device": lambda path, _: link(path, "/dev/zero"),
    "a directory": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("named", [(), ("--if-changed", "--console")], ids=["all", "of the console"])
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_other_file_is_read(server, make, named):
    """The table in use stays, and no message, note or table has a word of what is elsewhere."""
    server.source.unlink()
    make(server.source, server.directory / "secret")
    done = compiled(server, *named)
    assert done.returncode == 78
    assert "secret.example" not in done.stdout + done.stderr
    assert server.command("lookup", "friends", "friend.example").returncode == 0
    noted = [each.read_bytes() for each in (server.directory / "compiled").iterdir() if each.is_file()]
    assert not any(b"secret.example" in each for each in noted)


def test_a_directory_that_becomes_a_link_is_not_followed(server):
    """Nor one above it."""
    (server.directory / "elsewhere").mkdir()
    (server.directory / "elsewhere" / "friends").write_text(SECRET)
    server.source.parent.rename(server.directory / "theirs" / "aside")
    link(server.source.parent, server.directory / "elsewhere")
    done = compiled(server)
    assert done.returncode == 78
    assert "a symbolic link that others than root may change" in done.stdout + done.stderr
    assert "secret.example" not in done.stdout + done.stderr


def test_a_large_one_is_refused(server):
    """It is kept in memory, and who writes it writes what they like."""
    with server.source.open("r+b") as file:
        file.truncate(registry.MAX_BYTES_OF_OTHERS + 1)
    done = compiled(server)
    assert done.returncode == 78
    assert "it is larger than 65536 KiB" in done.stdout + done.stderr


def test_an_honest_one_is_compiled(server):
    """Also where it becomes empty, as its declaration allows."""
    server.source.write_text("other.example\n")
    assert compiled(server).returncode == 0
    assert server.command("lookup", "friends", "other.example").returncode == 0
    server.source.write_text("")
    assert compiled(server).returncode == 0
