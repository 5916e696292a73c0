"""`[console]`: what it may say, and the origin that browsers send."""

import pytest

from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.directory_urls import IMAP, parse_server_url
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


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'sign_in = ["imap"]\nimap = ["imaps://mail.example.com"]',
            "administrators and operators have accounts of the console itself",
        ),
        ('sign_in = ["local", "imap"]', '"imap" needs a mail server'),
        ('sign_in = ["local", "pop"]', "expected some of local, imap"),
        ('sign_in = ["local", "ldap"]\nldap_base = "dc=x"', '"ldap" needs a directory'),
        ('sign_in = ["local", "ldap"]\nldap = "ldaps://a.example"', "the filter of ldap_user is searched nowhere"),
        (
            'sign_in = ["local", "imap", "ldap"]\nldap = "ldaps://a.example"\nldap_base = "x"\nimap = ["imaps://b.example"]',
            "two servers would get each password",
        ),
        (
            'sign_in = ["local", "ldap"]\nldap = "ldaps://a.example"\nldap_base = "x"\nldap_bind_name = "cn=a"',
            "ldap_password_file: a search is made by a name with a password",
        ),
        ('ldap = "imaps://ldap.example.com"', "expected ldaps://HOST"),
        ('ldap = "ldapi://run"', "the path of a socket"),
        ('ldap = "ldaps://ldap.example.com/dc=example"', "expected ldaps://HOST"),
        ('ldap_user = "(mail={mail})"', '"{mail}" is not known here'),
        ('ldap_user = "uid=anna"', "expected {address} or {local} in it"),
        ('ldap_user = "(mail={address}"', "expected a filter in parentheses"),
        ('ldap_user = "{address}"', "expected a name such as"),
        ('ldap_address_attribute = ""', "expected an attribute"),
        ('ldap_alias_attribute = "a b"', "expected an attribute"),
        ('sign_in = ["local", "oidc"]\noidc_client = "a"', "http://127.0.0.1:8025/sign-in/oidc/back"),
        ('oidc_issuer = "http://login.example.com"', "expected the issuer as the provider writes it"),
        ('oidc_issuer = "login.example.com"', "expected the issuer as the provider writes it"),
        ('oidc_issuer = "https://a@login.example.com"', "expected the issuer as the provider writes it"),
        ('oidc_issuer = "https://login.example.com/?a"', "expected the issuer as the provider writes it"),
        ('imap = ["mail.example.com"]', "expected imaps://HOST"),
        ('imap = ["ldaps://mail.example.com"]', "expected imaps://HOST"),
        ('imap = ["imaps://anna@mail.example.com"]', "expected imaps://HOST"),
        ('imap = ["imaps://mail.example.com:0"]', "expected a port"),
        ('imap = ["imaps://192.0.2"]', "not a valid address"),
        ('imap = ["@example.com=imaps://mail.example.com"]', "expected DOMAIN=URL"),
        ('imap = ["imaps://a.example", "imap://b.example"]', "two servers for domains without one of their own"),
        ('imap = ["x.example=imaps://a.example", "X.example=imaps://b.example"]', "two servers for x.example"),
    ],
)
def test_mistakes_of_signing_in(tmp_path, lines, message):
    """What signs nobody in, or sends a password to more than one server, is refused with what was expected."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, lines)
    (diagnostic,) = refused.value.diagnostics
    assert message in str(diagnostic)


def test_files_of_signing_in_are_relative_to_the_file(tmp_path):
    """As every path in forkpolicy.toml; those that are not given stay empty."""
    console = read(tmp_path, 'gateway = "gateway.toml"')
    assert (console.gateway, console.ca_file) == (str(tmp_path / "gateway.toml"), "")


@pytest.mark.parametrize(
    ("text", "shown", "is_local", "begins_tls"),
    [
        ("imaps://Mail.example.com", "imaps://mail.example.com:993", False, False),
        ("imap://mail.example.com/", "imap://mail.example.com:143", False, True),
        ("imap://127.0.0.5:1143", "imap://127.0.0.5:1143", True, False),
        ("imap://[::1]:1143", "imap://[::1]:1143", True, False),
        ("imap://[2001:db8::1]", "imap://[2001:db8::1]:143", False, True),
        ("imap://localhost", "imap://localhost:143", True, False),
        ("imap://localhost.example.com", "imap://localhost.example.com:143", False, True),
    ],
)
def test_where_a_password_crosses_a_network(text, shown, is_local, begins_tls):
    """TLS is begun unless it is there already, or the server is this machine."""
    url = parse_server_url(text, IMAP)
    assert (str(url), url.is_local, url.begins_tls) == (shown, is_local, begins_tls)
