"""`status --hosts`: what is said of hosts that run the same, and of those that do not."""

from __future__ import annotations

import pytest

from forkpolicy.commands.main import main
from forkpolicy.commands.shared.hosts import Host, hosts_as_text
from forkpolicy.state.redis.hosts import HostReport, decode, encode


def host(name, version="1.0", policy="abc", **tables):
    return Host(name, 7, HostReport(version, "/etc/f.toml", 3, policy, tables))


def test_hosts_that_run_the_same():
    """One line for each thing, whatever the number of hosts."""
    assert hosts_as_text([host("mx1", local="f0"), host("mx10", local="f0")]).splitlines() == [
        "host     mx1   7 s ago  generation 3",
        "host     mx10  7 s ago  generation 3",
        "release  1.0",
        "policy   abc",
        "table    local f0",
    ]


def test_what_differs_is_named_with_its_hosts():
    """A table that a host does not have is a difference, too."""
    text = hosts_as_text([host("mx1", local="f0"), host("mx2", "1.1", local="f1"), host("mx3", local="f0", bad="e0")])
    assert text.splitlines()[3:] == [
        "release  1.0  DIFFERS on mx1 mx3",
        "release  1.1  DIFFERS on mx2",
        "policy   abc",
        "table    bad none  DIFFERS on mx1 mx2",
        "table    bad e0  DIFFERS on mx3",
        "table    local f0  DIFFERS on mx1 mx3",
        "table    local f1  DIFFERS on mx2",
    ]


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"version": 1}', "\ufffd"])
def test_what_is_no_report_is_left_out(text):
    """Of another program, or of a release that writes another form."""
    assert decode(text) is None
    assert Host.of("mx1", text, 1) is None


def test_a_later_release_may_say_more():
    """Fields that this one does not know are no reason to leave a host out."""
    report = host("mx1", local="f0").report
    assert decode(encode(report).replace('"version"', '"new": {}, "version"')) == report


def test_without_an_engine_there_are_no_hosts(tmp_path, capsys):
    """Exit status 2, and where that is set."""
    (tmp_path / "forkpolicy.toml").write_text("")
    assert main(["status", "--hosts", "-c", str(tmp_path / "forkpolicy.toml")]) == 2
    assert "[state] url is lmdb:" in capsys.readouterr().err
