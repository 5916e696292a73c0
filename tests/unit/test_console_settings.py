"""`[console]`: what it may say, and the origin that browsers send."""

import pytest

from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.errors import ConfigError
from forkpolicy.settings import load_settings


def read(tmp_path, text):
    """The section of such a file."""
    (tmp_path / "forkpolicy.toml").write_text(f"[console]\n{text}\n")
    return load_settings(tmp_path / "forkpolicy.toml").console


def test_its_directory_is_relative_to_the_file(tmp_path):
    """As every path in forkpolicy.toml; rules and tables are below it."""
    console = read(tmp_path, 'path = "web"')
    assert (console.rules, console.tables) == (tmp_path / "web" / "rules.conf", tmp_path / "web" / "tables")


@pytest.mark.parametrize(
    ("listen", "url", "origin"),
    [
        ("127.0.0.1:8025", "", "http://127.0.0.1:8025"),
        ("[::1]:8025", "", "http://[::1]:8025"),
        ("127.0.0.1:8025", "https://Console.example.com/", "https://console.example.com"),
        ("127.0.0.1:8025", "https://console.example.com:443", "https://console.example.com"),
        ("127.0.0.1:8025", "https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("unix:/run/forkpolicy-console/socket", "https://console.example.com", "https://console.example.com"),
    ],
)
def test_origin(listen, url, origin):
    """Scheme, host and port as a browser writes them, the usual port left out."""
    assert ConsoleSettings(listen=listen, url=url).origin == origin


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('listen = "8025"', 'listen: expected "127.0.0.1:8025"'),
        ('listen = "127.0.0.1:70000"', "expected a port"),
        ('listen = "unix:/run/c"', "browsers reach no socket file"),
        ('listen = "192.0.2.1:8025"', "over TLS only"),
        ('url = "console.example.com"', "expected scheme, host and port alone"),
        ('url = "https://console.example.com/mail"', "expected scheme, host and port alone"),
        ('url = "https://anna@console.example.com"', "expected scheme, host and port alone"),
        ('url = "https://console.example.com:x"', "expected scheme, host and port alone"),
        ('trusted_proxies = ["unix"]', '"unix" is for listen'),
        ('trusted_proxies = ["proxy"]', "expected an address or a network"),
        ('admin_networks = ["10.0.0.1/8"]', "expected an address or a network"),
        ("session_hours = 0", "session_hours: "),
    ],
)
def test_mistakes(tmp_path, line, message):
    """Each is refused with what was expected."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, line)
    (diagnostic,) = refused.value.diagnostics
    assert message in str(diagnostic)
