"""The file of `forkpolicy hosts`, and what a host says it runs."""

from __future__ import annotations

import pytest

from forkpolicy.commands.hosts.hosts_file import Asked, read_hosts
from forkpolicy.commands.hosts.running import NotKnownError, Table, of_metrics, of_status
from forkpolicy.errors import ConfigError


def test_each_way_of_asking():
    """With comments, empty lines and quoted words."""
    text = """
# our hosts
mx1 ssh mx1.example.com   # the first
mx2 ssh ops@mx2.example.com -p 2222 -- sudo forkpolicy status --json
mx3 metrics http://192.0.2.3:9154/metrics
mx4 here
mx5 here -- forkpolicy status --json -c "/etc/two words.toml"
"""
    assert read_hosts("hosts", text) == [
        Asked("mx1", "ssh", ("mx1.example.com",), ()),
        Asked("mx2", "ssh", ("ops@mx2.example.com", "-p", "2222"), ("sudo", "forkpolicy", "status", "--json")),
        Asked("mx3", "metrics", ("http://192.0.2.3:9154/metrics",), ()),
        Asked("mx4", "here", (), ()),
        Asked("mx5", "here", (), ("forkpolicy", "status", "--json", "-c", "/etc/two words.toml")),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mx1", '"mx1" does not say how the host is asked'),
        ("mx1 telnet mx1", "expected NAME ssh DESTINATION"),
        ("mx1 ssh", "ssh needs a destination"),
        ("mx1 ssh -- forkpolicy status", "ssh needs a destination"),
        ("mx1 ssh mx1 --", "is followed by no command"),
        ("mx1 metrics", "metrics needs one URL"),
        ("mx1 metrics file:///etc/passwd", "metrics needs one URL"),
        ("mx1 metrics http://a/metrics -- true", "metrics needs one URL"),
        ("mx1 metrics http://[::1/metrics", "metrics needs one URL"),
        ("mx1 metrics http:///metrics", "metrics needs one URL"),
        ("mx1 metrics ftp://a/metrics", "metrics needs one URL"),
        ("mx1 here there", '"there" is not understood'),
        ('mx1 ssh "mx1', "No closing quotation"),
        ("", "no host is named"),
    ],
)
def test_mistakes_have_their_line(line, message):
    """And what was expected."""
    with pytest.raises(ConfigError) as failed:
        read_hosts("hosts", f"{line}\n")
    assert message in str(failed.value)
    assert str(failed.value).startswith("hosts:1:")


def test_all_mistakes_are_reported_at_once():
    """Two hosts of one name among them."""
    with pytest.raises(ConfigError) as failed:
        read_hosts("hosts", "mx1 here\nmx1 here\nmx2\n")
    assert [each.line for each in failed.value.diagnostics] == [2, 3]


METRICS = """\
# HELP forkpolicy_info Always 1; the running version.
forkpolicy_info{version="0.1.0"} 1
forkpolicy_policy_info{policy="60f726d008e0",settings="5d01c2a7be90"} 1
forkpolicy_uptime_seconds 93784.5
forkpolicy_generation 4
forkpolicy_table_info{worker="0",table="local",version="1f0e"} 1
forkpolicy_table_info{worker="1",table="local",version="9b1c"} 1
forkpolicy_table_created_timestamp_seconds{worker="0",table="local"} 900
forkpolicy_table_created_timestamp_seconds{worker="1",table="local"} 990.5
another_metric{of="another program"} NaN
"""


def test_what_metrics_say():
    """A table that workers serve in two versions has both, and the younger one's age."""
    seen = of_metrics("mx1", METRICS, 1000.0)
    assert (seen.release, seen.policy, seen.settings) == ("0.1.0", "60f726d008e0", "5d01c2a7be90")
    assert (seen.generation, seen.uptime_s) == (4, 93784.5)
    assert seen.tables == {"local": Table("1f0e 9b1c", 9.5)}


@pytest.mark.parametrize("text", ["", "<html>", 'up{job="forkpolicy"} 1\n'])
def test_other_metrics_are_none_of_ours(text):
    """Of a proxy, or of another program."""
    with pytest.raises(NotKnownError, match="has no metrics of forkpolicy"):
        of_metrics("mx1", text, 0.0)


@pytest.mark.parametrize("printed", [b"", b"[]", b"{}", b'{"version": 1}', b"\xff"])
def test_what_is_not_a_status_is_reported(printed):
    """Of another command, or cut."""
    with pytest.raises(NotKnownError, match="is not a status"):
        of_status("mx1", printed, 0.0)
