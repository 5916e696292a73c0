"""The operator's files: what is read, what is refused with its kind, and globs that leave nothing out unnoticed."""

from __future__ import annotations

import errno
import glob
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forkpolicy.errors import ConfigError
from forkpolicy.files import Files, SnapshotFiles
from forkpolicy.settings import absolute


def refusal(ask):
    with pytest.raises(ConfigError) as refused:
        ask()
    return str(refused.value)


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def make_link_to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_fifo, "a pipe (FIFO)"),
        (make_socket, "a socket"),
        (make_link_to_a_device, "a character device"),
        (os.mkdir, "a directory"),
    ],
    ids=["fifo", "socket", "device", "directory"],
)
def test_what_is_no_regular_file_is_refused_with_its_kind(tmp_path, make, kind):
    """At once: opening some of them waits for ever, and reading a device may never end."""
    path = tmp_path / "list"
    make(path)
    assert refusal(lambda: Files().read(path)) == f"{path}: is {kind}: only regular files are read"


def test_a_file_that_becomes_a_pipe_in_between_keeps_nobody_waiting(tmp_path, monkeypatch):
    """What was looked at may be another thing when it is opened."""
    path = tmp_path / "list"
    path.write_text("before\n")
    really_open = os.open

    def swap_and_open(name, flags):
        path.unlink()
        os.mkfifo(path)
        return really_open(name, flags)

    monkeypatch.setattr(os, "open", swap_and_open)
    assert "is a pipe (FIFO)" in refusal(lambda: Files().read(path))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "no such file or directory"),
        ("nul\0byte", "its name has a NUL character"),
        ("long" * 100, "file name too long"),
        ("loop", "too many levels of symbolic links"),
        ("list/below", "not a directory"),
    ],
    ids=["missing", "nul", "long", "loop", "below-a-file"],
)
def test_a_path_that_cannot_be_read_is_told(tmp_path, name, why):
    """Whatever the system or Python raise for it is a diagnostic about that path."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "list").write_text("")
    path = f"{tmp_path}/{name}"
    shown = path.replace("\0", "?")
    assert refusal(lambda: Files().read(path)) == f"{shown}: cannot be read: {why}"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ETIMEDOUT])
@pytest.mark.parametrize("call", ["stat", "open"])
def test_every_refusal_of_the_system_is_a_diagnostic(tmp_path, monkeypatch, number, call):
    """Broken disks, stale handles, rights, no descriptors: whichever call meets them."""
    (tmp_path / "list").write_text("")

    def fail(*_args, **_more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    said = refusal(lambda: Files().read(f"{tmp_path}/list"))
    assert said == f"{tmp_path}/list: cannot be read: {os.strerror(number).lower()}"


def test_reading_is_told_of_each_access(tmp_path):
    """The path before, nothing after; a file that is known is not accessed again."""
    told = []
    (tmp_path / "a.conf").write_text("")
    files = Files(told.append)
    for _ in range(2):
        files.read(tmp_path / "a.conf")
    files.glob(f"{tmp_path}/*.conf")
    assert told == [f"{tmp_path}/a.conf", "", f"{tmp_path}/*.conf", ""]


def test_a_directory_that_may_not_be_listed_is_no_empty_one(tmp_path, monkeypatch):
    """Rules would be missing without a word; one that is not there includes nothing."""
    assert Files().glob(f"{tmp_path}/missing/*.conf") == []

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert refusal(lambda: Files().glob(f"{tmp_path}/*.conf")) == f"{tmp_path}: cannot be read: permission denied"


def test_names_that_are_no_utf8_survive_a_snapshot(tmp_path):
    """A file's name is bytes."""
    name = os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe4.conf")
    Path(name).write_text("")
    files = Files()
    assert files.glob(f"{tmp_path}/*.conf") == [name]
    assert SnapshotFiles(files.snapshot).glob(f"{tmp_path}/*.conf") == [name]


PARTS = st.sampled_from(["a", "b", ".h", "ab", "*", "?", "a*", ".*", "[ab]", "[!a]", "*b", "[", "a[", "."])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, min_size=1, max_size=3))
def test_globs_are_those_of_the_shell(tmp_path, parts):
    """As Python's own glob, which keeps silent about what it may not list."""
    directories = ("", "a", "ab", ".h", "a/b")
    for directory in directories:
        (tmp_path / directory).mkdir(exist_ok=True)
    for directory in directories:
        for name in ("b", "ab.conf", ".h"):
            if not (tmp_path / directory / name).exists():
                (tmp_path / directory / name).write_text("")
    pattern = "/".join([str(tmp_path), *parts])
    assert Files().glob(pattern) == sorted(glob.glob(pattern))  # noqa: PTH207


def test_a_path_from_the_root_needs_no_working_directory(tmp_path, monkeypatch):
    """Steps up are taken while the directory is there; links behind them stay, since they may be turned elsewhere."""
    working = tmp_path / "working"
    working.mkdir()
    (tmp_path / "current").symlink_to("release")
    monkeypatch.chdir(working)
    assert absolute("../current/x.toml") == f"{tmp_path}/current/x.toml"
    assert absolute("./x.toml") == f"{working}/x.toml"
    working.rmdir()
    assert absolute("/etc/x.toml") == "/etc/x.toml"
    assert "is relative, and the working directory is gone" in refusal(lambda: absolute("x.toml"))
