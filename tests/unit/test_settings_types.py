"""Each setting takes a value of its own type: TOML's other types are mistakes, also where Python would take them."""

from __future__ import annotations

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.settings import declared, load_settings
from tests.fakes import TextFiles

PATH = "/etc/forkpolicy.toml"


def mistakes(section, name, value):
    """What is said of one setting in a file."""
    text = f"[{section}]\n{name} = {value}\n" if section else f"{name} = {value}\n"
    try:
        load_settings(PATH, TextFiles({PATH: text}))
    except ConfigError as error:
        return [str(diagnostic) for diagnostic in error.diagnostics]
    return []


def of_type(*kinds):
    return [(section, name) for section, name, default, _ in declared() if type(default) in kinds]


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize(("section", "name"), of_type(int, float))
def test_true_is_no_number(section, name, value):
    """For Python it is 1: a backlog of one connection, an idle timeout of a second."""
    (found,) = mistakes(section, name, value)
    assert f"{name}: expected a number from" in found


@pytest.mark.parametrize("value", ["1.5", "1.0", "1e3"])
@pytest.mark.parametrize(("section", "name"), of_type(int))
def test_what_is_counted_is_whole(section, name, value):
    """Half a connection is none."""
    (found,) = mistakes(section, name, value)
    assert f"{name}: expected a" in found


@pytest.mark.parametrize("value", ["0", "1", '"true"'])
@pytest.mark.parametrize(("section", "name"), of_type(bool))
def test_a_switch_is_true_or_false(section, name, value):
    """And nothing that stands for it elsewhere."""
    (found,) = mistakes(section, name, value)
    assert f"{name}: expected true or false" in found


@pytest.mark.parametrize("value", ["0", "true"])
@pytest.mark.parametrize(("section", "name"), of_type(str, tuple))
def test_a_text_is_in_quotes(section, name, value):
    """Also one of digits."""
    assert mistakes(section, name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("url", '"redis://:secret@db/x"', "url: expected the number of a database"),
        ("url", '"lmbd:"', 'expected "lmdb:" or an engine ("redis://HOST:6379/0"'),
        ("max_size", '"256"', 'expected "auto" or a size from "1M" to "1T", got "256"'),
        ("max_size", '"512K"', 'got "512K"'),
        ("max_size", "256", "got 256"),
        ("fail", '"defer"', "expected one of error, skip"),
    ],
)
def test_the_store_must_be_one_that_there_is(name, value, message):
    """Each message says what is possible, and has no password."""
    (found,) = mistakes("state", name, value)
    assert message in found
    assert "secret@" not in found.split("\n", maxsplit=1)[0]


@pytest.mark.parametrize("value", ['"512K"', '"2T"', '"0G"', '"1000"', "64", '"auto"'])
def test_the_disk_for_versions_has_bounds(value):
    """Without a unit it would be bytes, and nothing would be kept."""
    (found,) = mistakes("history", "versions_bytes", value)
    assert 'versions_bytes: expected a size from "1M" to "1T", got ' in found


def test_the_maps_are_relative_to_the_settings():
    """As every path of the file is."""
    settings = load_settings(PATH, TextFiles({PATH: '[state]\nlive = "run"\nkept = "/kept"\nmax_size = "64M"\n'}))
    assert (settings.state.live, settings.state.kept) == ("/etc/run", "/kept")


@pytest.mark.parametrize("server", ["192.0.2.53", "127.0.0.1:5353", "::1", "2001:db8::53", "[::1]", "[::1]:5353"])
def test_name_servers(server):
    """With or without a port; an IPv6 address with one stands in brackets."""
    assert not mistakes("dns", "servers", f'["{server}"]')


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("ns.example.com", "expected addresses such as"),
        ("ns.example.com:53", "expected addresses such as"),
        ("192.0.2.53:", "port"),
        ("192.0.2.53:0", "port"),
        ("192.0.2.53:70000", "port"),
        ("[192.0.2.53]:53", "expected addresses such as"),
        ("[::1]5353", "expected addresses such as"),
        ("[::1", "expected addresses such as"),
    ],
)
def test_what_is_not_a_name_server(server, message):
    """Names could only be resolved by one."""
    (found,) = mistakes("dns", "servers", f'["{server}"]')
    assert message in found


@pytest.mark.parametrize(("value", "message"), [("1", "did you mean 1s?"), ("0s", "expected 1s or more"), ("x", "1h")])
def test_how_often_zones_are_tested(value, message):
    """A list that is asked every second would refuse to answer."""
    (found,) = mistakes("dns", "test_every", f'"{value}"')
    assert message.replace("1h", "2h") in found
