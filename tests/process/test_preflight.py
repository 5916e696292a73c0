"""Whatever keeps `serve` from starting, `check` reports in the same words: each condition, with a real start."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

from forkpolicy.commands import main
from forkpolicy.preflight import CONDITIONS
from loadtest.servers.ports import free_port
from loadtest.servers.server import FORKPOLICY

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can give up root")


def replaced(old, new):
    """An edit of the settings: what `old` begins, up to the end of its line, becomes `new`."""

    def edit(server):
        text = server.settings.read_text()
        (line,) = [each for each in text.splitlines() if each.startswith(old)]
        server.settings.write_text(text.replace(line, new.format(directory=server.directory), 1))

    return edit


def listening(*endpoints):
    return replaced("listen =", f"listen = {list(endpoints)!r}")


def with_metrics(endpoint):
    def edit(server):
        section = f'[metrics]\nlisten = "{endpoint.format(directory=server.directory)}"\n'
        server.settings.write_text(server.settings.read_text() + section)

    return edit


def closed_tables(server):
    for table in (server.directory / "compiled").glob("*.lmdb"):
        table.chmod(0o600)


def closed_directory(server):
    (server.directory / "compiled").chmod(0o700)


def link_for_a_log(server):
    server.log.symlink_to(server.directory / "elsewhere")


def file_for_a_map(server):
    server.write_policy("acl busy rate {sender} 5/1h\naction slow 450 4.7.1 slow\naccess busy slow\n")
    (server.directory / "kept").touch()


CASES = [
    pytest.param(
        "_users", replaced("user =", 'user = "no-such-user"'), 'user: user "no-such-user" does not', marks=needs_root
    ),
    pytest.param(
        "_users", replaced("group =", 'group = "no-such"'), 'group: group "no-such" does not', marks=needs_root
    ),
    pytest.param(
        "_users", replaced("socket_user", 'socket_user = "no-such"'), 'socket_user: user "no-such"', marks=needs_root
    ),
    pytest.param(
        "_users",
        replaced("socket_group", 'socket_group = "no-such"'),
        'socket_group: group "no-such"',
        marks=needs_root,
    ),
    ("_log", replaced("target", 'target = "no/such/log"'), "no/such does not exist: create it"),
    ("_log", replaced("target", 'target = "{directory}"'), "is a directory: name a file in it"),
    ("_log", replaced("target", 'target = "policy.conf/log"'), "policy.conf is not a directory"),
    ("_log", link_for_a_log, "log is a symbolic link, which is not followed"),
    pytest.param(
        "_log",
        replaced("target", 'target = "syslog"'),
        "target: /dev/log does not exist",
        marks=pytest.mark.skipif(pathlib.Path("/dev/log").exists(), reason="a syslog daemon runs here"),
    ),
    ("_unix_sockets", listening("unix:no/such/policy"), "no/such does not exist: create it"),
    ("_unix_sockets", listening("unix:policy.conf"), "policy.conf exists and is not a socket"),
    ("_unix_sockets", listening("unix:" + "x" * 108), "bytes: the path of a socket may have 107"),
    ("_unix_sockets", replaced("control", f'control = "unix:{"x" * 108}"'), "control: "),
    ("_unix_sockets", replaced("control", 'control = "unix:policy.conf/control"'), "policy.conf is not a directory"),
    ("_unix_sockets", with_metrics("unix:no/such/metrics"), "no/such does not exist: create it"),
    (
        "_inet_sockets",
        listening("inet:no-such-host.invalid:10040"),
        "no-such-host.invalid:10040: cannot listen there: ",
    ),
    ("_inet_sockets", listening("inet:192.0.2.1:10040"), "inet:192.0.2.1:10040: cannot listen there: "),
    (
        "_inet_sockets",
        with_metrics("inet:no-such-host.invalid:9841"),
        "no-such-host.invalid:9841: cannot listen there: ",
    ),
    ("_different_hosts", listening("inet:127.0.0.1:10040", "inet:localhost:10040"), "are both inet:127.0.0.1:10040"),
    ("settings", listening("unix:policy", "unix:../server/policy"), "is the same socket as"),
    ("settings", listening("unix:control"), "is the same socket as"),
    ("settings", listening("inet:127.0.0.1:65536"), "expected a port from 1 to 65535"),
    ("_state", file_for_a_map, "server/kept is not a directory"),
    pytest.param("_tables", closed_tables, "compiled/domains.lmdb: owner ", marks=needs_root),
    pytest.param("_tables", closed_directory, "it may not search the directory ", marks=needs_root),
]


@pytest.mark.parametrize(("condition", "spoil", "told"), CASES)
def test_check_reports_what_serve_refuses(make_server, capsys, condition, spoil, told):
    """Both name the setting and its place; check ends with 1, serve with 78 and without a trace of itself."""
    assert condition
    server = make_server()
    spoil(server)
    # In this process: a start for each condition is slow enough.
    assert main(["check", "--postfix", "none", "-c", str(server.settings)]) == 1
    (diagnostic,) = [line for line in capsys.readouterr().out.splitlines() if told in line]
    assert diagnostic.startswith(f"{server.settings}:")
    started = subprocess.run(
        [*FORKPOLICY, "serve", "-c", str(server.settings)], capture_output=True, text=True, timeout=120, check=False
    )
    assert started.returncode == 78
    assert diagnostic in started.stderr.splitlines()
    assert not [path for path in server.directory.rglob("*") if path.is_socket()]


def test_each_condition_is_started_with():
    """A condition without a start that it refuses would be one of check alone."""
    covered = {getattr(case, "values", case)[0] for case in CASES}
    assert (covered | {"_proc"}) - {"settings"} == {condition.__name__ for condition in CONDITIONS}


@pytest.mark.skipif(not AS_ROOT or not shutil.which("unshare"), reason="only root can hide /proc")
@pytest.mark.parametrize(("command", "status"), [("serve", 78), ("check", 1)])
def test_without_proc(make_server, command, status):
    """One diagnostic that names /proc, and no start whose workers die of it."""
    server = make_server("acl a sender @a.example\naction no REJECT no\naccess a no\n")
    hidden = 'mount -t tmpfs none /proc && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", hidden, "sh"]
    done = subprocess.run(
        [*words, *FORKPOLICY, command, "-c", str(server.settings)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert (done.stdout + done.stderr).count("/proc: is not mounted") == 1


def test_a_server_that_runs_is_nothing_to_complain_about(make_server):
    """Its sockets are there and its port is taken: by itself."""
    server = make_server()
    listening("unix:policy", f"inet:127.0.0.1:{free_port()}")(server)
    assert server.command("check").returncode == 0
    server.start()
    checked = server.command("check")
    assert checked.returncode == 0, checked.stdout


def test_every_obstacle_in_one_run(make_server):
    """Three mistakes of three settings, and one of the policy: four diagnostics."""
    server = make_server()
    replaced("target", 'target = "no/such/log"')(server)
    listening("inet:no-such-host.invalid:10040", "unix:control")(server)
    with (server.directory / "policy.conf").open("a") as policy:
        policy.write("access nobody prove_it\n")
    checked = server.command("check")
    assert checked.returncode == 1
    assert "4 errors" in checked.stdout


def test_a_wrong_setting_is_reported_once(make_server):
    """Its default, which would take its place, is nobody's choice and not judged."""
    server = make_server()
    replaced("control", "control = 7")(server)
    assert "1 error" in server.command("check").stdout
