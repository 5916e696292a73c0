"""Every number inside a text setting has the bounds of what it counts, and no socket is named twice."""

from __future__ import annotations

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.settings import load_settings
from tests.fakes import TextFiles


def mistakes(text):
    """What is wrong with a settings file of that text."""
    try:
        load_settings("/etc/f.toml", TextFiles({"/etc/f.toml": text.encode()}))
    except ConfigError as error:
        return [str(each) for each in error.diagnostics]
    return []


PORTS = ["0", "00", "65536", "70000", "99999", "075536", "9" * 5000, "-1", "1e3", "\uff10", "\u0661", "", "10 "]


@pytest.mark.parametrize("port", PORTS)
def test_a_port_is_from_1_to_65535(port):
    """The kernel takes others modulo 65536, and 0 is any free one."""
    for text in (f'[server]\nlisten = ["inet:127.0.0.1:{port}"]', f'[metrics]\nlisten = "inet:[::1]:{port}"'):
        assert len(mistakes(text)) == 1, port
        assert "65535" in mistakes(text)[0] or 'expected "unix:' in mistakes(text)[0]


@pytest.mark.parametrize("port", ["1", "25", "10040", "65535", "010040"])
def test_every_port_there_is(port):
    """With and without leading zeros, which are decimal."""
    assert not mistakes(f'[server]\nlisten = ["inet:127.0.0.1:{port}"]\n')


@pytest.mark.parametrize(
    "host", ["300.1.1.1", "127.1", "2130706433", "0x7f.0.0.1", "1.2.3.4.5", "[1::2::3]", "[12345::]", "[127.0.0.1]"]
)
def test_an_address_has_its_parts(host):
    """What looks like an address is a whole one; inet_aton(3) would take 127.1 and 2130706433, too."""
    assert len(mistakes(f'[server]\nlisten = ["inet:{host}:10040"]\n')) == 1
    assert len(mistakes(f'[metrics]\nlisten = "inet:{host}:9841"\n')) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[fe80::1]", "localhost", "mx1.example.com", "mx-1.example.com."])
def test_addresses_and_names(host):
    """Addresses of both families, and names, which the start asks the resolver about."""
    assert not mistakes(f'[server]\nlisten = ["inet:{host}:10040"]\n')


@pytest.mark.parametrize("host", ["a b", "-x", "a..b", "a/b", ""])
def test_what_is_no_name(host):
    """No resolver is asked about it."""
    assert len(mistakes(f'[server]\nlisten = ["inet:{host}:10040"]\n')) == 1


@pytest.mark.parametrize(
    "network",
    ["10.0.0.0/33", "10.0.0.1/8", "::1/129", "010.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.0/104"],
)
def test_a_network_is_one_that_a_peer_can_have(network):
    """Bounds of address and prefix, and no form that is never compared with."""
    assert len(mistakes(f'[server]\nallow = ["{network}"]\n')) == 1


@pytest.mark.parametrize("mode", ["0000", "0444", "555", "0888", "7777", "06600", "rw"])
def test_a_mode_lets_somebody_connect(mode):
    """Three octal digits, with write permission for someone."""
    assert len(mistakes(f'[server]\nsocket_mode = "{mode}"\n')) == 1


SAME = [
    ('listen = ["inet:127.0.0.1:10040", "inet:127.0.0.1:010040"]', ""),
    ('listen = ["inet:[::1]:10040", "inet:[0:0::1]:10040"]', ""),
    ('listen = ["inet:0.0.0.0:10040", "inet:127.0.0.1:10040"]', ""),
    ('listen = ["inet:localhost:10040", "inet:LOCALHOST.:10040"]', ""),
    ('listen = ["unix:/run/a/b", "unix:/run/a/../a/b"]', ""),
    ('listen = ["unix:sock", "unix:/etc/sock"]', ""),
    ('listen = ["unix:/run/a/b"]\ncontrol = "unix:/run/a/b"', ""),
    ('listen = ["unix:/run/forkpolicy/control"]', ""),
    ('listen = ["inet:127.0.0.1:10040"]', '[metrics]\nlisten = "inet:127.0.0.1:10040"'),
]


@pytest.mark.parametrize(("server", "metrics"), SAME)
def test_one_socket_is_named_once(server, metrics):
    """In one list or in two settings, however it is written; the mistake has a place in the file."""
    text = f"# line 1\n\n[server]\n{server}\n{metrics}\n"
    found = mistakes(text)
    assert len(found) == 1
    assert "is the same socket as" in found[0]
    assert not found[0].startswith("/etc/f.toml:1:")


def test_sockets_that_differ():
    """Families, ports and paths that differ are different sockets; [::] is IPv6 alone."""
    server = 'listen = ["inet:0.0.0.0:10040", "inet:[::]:10040", "inet:0.0.0.0:10041", "unix:/run/a/b"]'
    assert not mistakes(f'[server]\n{server}\ncontrol = "unix:/run/a/c"\n[metrics]\nlisten = "unix:/run/a/d"\n')
