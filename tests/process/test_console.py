"""`forkpolicy console` as a process: a link from the shell, a page from the socket, the end by a signal."""

from __future__ import annotations

import getpass
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import urllib.request
from contextlib import closing
from pathlib import Path

from forkpolicy.console.access.audit import Audit
from loadtest.servers.console import Console, console_settings
from loadtest.servers.ports import free_port
from loadtest.servers.server import FORKPOLICY, Server

NOBODY = 65534
POLICY = "action no REJECT 5.7.1 no\nacl forged sender forged.example\naccess forged no\n"


def test_a_link_of_the_shell_opens_a_page(tmp_path):
    """`console user add` prints it; the page is served; TERM ends the console with status 0."""
    port = free_port()
    server = Server(tmp_path, POLICY, state_and_more=console_settings(tmp_path, port))
    with server, Console(server, port) as console:
        link = console.add_account("anna", "--role", "admin")
        with urllib.request.urlopen(link) as answer:
            assert b"This is the account anna." in answer.read()
        refused = server.command("console", "serve")
        assert (refused.returncode, "another process listens there" in refused.stderr) == (73, True)
        (child,) = [each for each in console._children if "serve" in each.args]
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


def test_a_captured_console_gives_no_orders_to_a_terminal(tmp_path):
    """Its files may say anything to the root who lists accounts: no escapes, no traceback."""
    server = Server(tmp_path, POLICY, state_and_more=console_settings(tmp_path, 8025))
    assert server.command("console", "user", "add", "anna", "--role", "admin").returncode == 0
    with closing(sqlite3.connect(tmp_path / "console/accounts.sqlite", isolation_level=None)) as accounts:
        accounts.execute("UPDATE accounts SET name = ?, domains = ?", ("\x1b]0;owned\x07anna", '["\\u001b[2J"]'))
        listed = server.command("console", "user", "list")
        assert (listed.returncode, listed.stdout) == (0, "?]0;owned?anna  admin  has no password yet  ?[2J\n")
        for column, value in (("role", "\x1b[2J"), ("domains", "5"), ("domains", "[" * 99_999), ("created_s", b"x")):
            accounts.execute(
                f"UPDATE accounts SET role = 'admin', domains = '[]', created_s = 1, {column} = ?", [value]
            )
            listed = server.command("console", "user", "list")
            assert (listed.returncode, listed.stdout) == (73, "")
            assert "is damaged: restore this file from a backup" in listed.stderr
            assert "\x1b" not in listed.stderr
            assert "Traceback" not in listed.stderr


def test_accounts_are_their_owners_also_when_root_makes_them():
    """The directory's owner can use the files that root has made, and a link in their place leads nowhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder, POLICY, state_and_more=console_settings(folder, 8025))
        directory = folder / "console"
        directory.mkdir()
        folder.chmod(0o711)
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
        added = server.command("console", "user", "add", "anna", "--role", "operator")
        assert added.returncode == 0, added.stderr
        owner = directory.stat()
        for file in ("accounts.sqlite", "audit.sqlite"):
            made = (directory / file).stat()
            assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (owner.st_uid, owner.st_gid, 0o600)
            (directory / file).unlink()
        (directory / "accounts.sqlite").symlink_to(folder / "elsewhere")
        refused = server.command("console", "user", "add", "anna", "--role", "operator")
        assert (refused.returncode, "cannot be written" in refused.stderr) == (73, True)
        assert not (folder / "elsewhere").exists()


def test_wrong_accounts_are_refused(tmp_path):
    """Each with what was expected."""
    server = Server(tmp_path, POLICY, state_and_more=console_settings(tmp_path, 8025))
    for words, said in (
        (("add", "a b", "--role", "admin"), "cannot be the name of an account"),
        (("add", "anna", "--role", "domain"), "--domain is for the role domain, which needs at least one"),
        (("add", "anna", "--role", "admin", "--address", "a@example.com"), "--address is for the role user"),
        (("link", "nobody"), "there is no account nobody"),
    ):
        refused = server.command("console", "user", *words)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
    assert server.command("console", "user", "add", "anna", "--role", "admin").returncode == 0
    assert (
        "there is an account anna already" in server.command("console", "user", "add", "anna", "--role", "admin").stderr
    )


def test_accounts_from_list_to_delete(tmp_path):
    """What the shell does is in the audit of the console; the last admin goes by force only."""
    server = Server(tmp_path, POLICY, state_and_more=console_settings(tmp_path, 8025))

    def user(*words):
        done = server.command("console", "user", *words)
        return done.returncode, done.stdout, done.stderr

    assert user("list") == (0, "", "")
    assert user("add", "Anna", "--role", "admin")[0] == 0
    assert user("add", "bert", "--role", "domain", "--domain", "B\u00fccher.example", "--domain", "example.com")[0] == 0
    assert user("disable", "bert") == (0, "", "")
    assert user("list") == (
        0,
        "anna  admin   has no password yet\nbert  domain  disabled             example.com xn--bcher-kva.example\n",
        "",
    )
    _, listed, _ = user("list", "--json")
    assert [(each["name"], each["state"]) for each in json.loads(listed)] == [
        ("anna", "has no password yet"),
        ("bert", "disabled"),
    ]
    assert user("enable", "BERT") == (0, "", "")
    for verb in ("disable", "delete"):
        code, _, said = user(verb, "anna")
        assert (code, "anna is the last admin who may sign in" in said) == (2, True)
    assert user("delete", "anna", "--force") == (0, "", "")
    assert user("delete", "bert") == (0, "", "")
    assert user("delete", "bert")[0] == 2
    entries = Audit(str(tmp_path / "console"), 365).find()
    assert {each.who for each in entries} == {f"command line ({os.environ.get('SUDO_USER') or getpass.getuser()})"}
    assert [(each.what, each.about) for each in reversed(entries)] == [
        ("account of role admin added", "anna"),
        ("one-time link made", "anna"),
        ("account of role domain added", "bert"),
        ("one-time link made", "bert"),
        ("account disabled", "bert"),
        ("account enabled", "bert"),
        ("account deleted", "anna"),
        ("account deleted", "bert"),
    ]


def test_without_its_packages_it_says_what_is_missing(tmp_path):
    """The console is an extra."""
    (tmp_path / "uvicorn.py").write_text("raise ImportError('no uvicorn here')\n")
    done = subprocess.run(
        [*FORKPOLICY, "console", "serve", "-c", str(Server(tmp_path, POLICY).settings)],
        env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "pip install 'forkpolicy[console]'" in done.stderr) == (2, True), done.stderr


def test_a_directory_that_cannot_be_made(tmp_path):
    """The reason in words, and the path once."""
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text('[console]\npath = "/proc/console"\n')
    command = [*FORKPOLICY, "console", "user", "add", "anna", "--role", "admin", "-c", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (73, "/proc/console cannot be written: no such file or directory\n")
