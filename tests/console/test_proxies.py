"""Where a browser is, behind proxies, and what an admin may do from there."""

from __future__ import annotations

import pytest

from forkpolicy.console.access.audit import Audit
from forkpolicy.console.access.door import Door
from forkpolicy.console.access.gate import Asked
from forkpolicy.console.access.proxies import Proxies
from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.sessions import COOKIE
from forkpolicy.console.errors import NotAllowed
from forkpolicy.console.held.room import Gateway
from forkpolicy.console.tables.tables import Lookups
from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.errors import ConfigError

TRUSTED = ("127.0.0.1", "10.0.0.0/8", "2001:db8::/64")


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "10.9.9.9,10.1.2.3", "10.9.9.9"),
        ("127.0.0.1", "198.51.100.7:40123", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8:1::7]:40123", "2001:db8:1::7"),
        ("127.0.0.1", "[2001:db8:1::7]", "2001:db8:1::7"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8::8", "fe80::1%eth0", "fe80::1"),
        # What cannot be read ends it, and whatever is left of it was written by who knows whom.
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, ", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, 10.1.2.3.4", "127.0.0.1"),
        # No trusted proxy, so it is a browser that claims something.
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("unix", "198.51.100.7", "unix"),
        ("localhost", "198.51.100.7", "localhost"),
    ],
)
def test_forwarded_addresses_are_read_from_the_right(peer, header, client):
    """As far as trusted proxies go."""
    assert Proxies(TRUSTED).client(peer, {"x-forwarded-for": header}) == client


def test_without_trusted_proxies_headers_are_ignored():
    """Anybody can write them."""
    headers = {"x-forwarded-for": "198.51.100.7", "x-forwarded-host": "evil.example", "host": "127.0.0.1:8025"}
    assert Proxies(()).client("127.0.0.1", headers) == "127.0.0.1"
    assert Proxies(()).host("127.0.0.1", headers) == "127.0.0.1:8025"
    assert Proxies(["unix"]).client("unix", headers) == "198.51.100.7"
    assert Proxies(["unix"]).client("127.0.0.1", headers) == "127.0.0.1"


def no_policy():
    """There is none."""
    raise ConfigError([])


NO_TABLES = Lookups(no_policy)


def asked(peer, host="console.example.com", cookie="", **headers):
    """A page, asked for."""
    return Asked("GET", "/", {"host": host, **headers}, {COOKIE: cookie} if cookie else {}, {}, peer)


def test_a_proxy_may_say_which_host_was_asked_for(tmp_path):
    """Where it asks us under another name."""
    settings = ConsoleSettings(path=str(tmp_path), url="https://console.example.com", trusted_proxies=TRUSTED)
    door = Door(settings, Audit(str(tmp_path), 365), Gateway(""), NO_TABLES)
    name = {"x-forwarded-host": "console.example.com"}
    door.enter(asked("127.0.0.1", "localhost:8025", **name))
    for wrong in (
        asked("192.0.2.1", "localhost:8025", **name),
        asked("127.0.0.1", **{"x-forwarded-host": "evil.example"}),
        asked("127.0.0.1", "localhost:8025", **{"x-forwarded-host": "console.example.com, evil.example"}),
    ):
        with pytest.raises(NotAllowed):
            door.enter(wrong)


def test_an_admin_from_elsewhere_is_a_user(tmp_path):
    """Of the same session: by where each page is asked from, behind a trusted proxy too. Others stay what they are."""
    settings = ConsoleSettings(path=str(tmp_path), trusted_proxies=["127.0.0.1"], admin_networks=["192.0.2.0/24"])
    door = Door(settings, Audit(str(tmp_path), 365), Gateway(""), NO_TABLES)
    for role in (Role.ADMIN, Role.OPERATOR):
        door.accounts.add(role, role)
    cookies = {role: door.sessions.begin(door.accounts.find(role), "192.0.2.1") for role in (Role.ADMIN, Role.OPERATOR)}

    def role_from(role, peer, **headers):
        return door.enter(asked(peer, "127.0.0.1:8025", cookies[role], **headers)).account.role

    assert role_from(Role.ADMIN, "192.0.2.200") is Role.ADMIN
    assert role_from(Role.ADMIN, "::ffff:192.0.2.200") is Role.ADMIN
    assert role_from(Role.ADMIN, "127.0.0.1", **{"x-forwarded-for": "192.0.2.9"}) is Role.ADMIN
    for peer, header in (("198.51.100.1", "192.0.2.9"), ("127.0.0.1", "192.0.2.9, 198.51.100.1"), ("127.0.0.1", "")):
        assert role_from(Role.ADMIN, peer, **{"x-forwarded-for": header}) is Role.USER
    assert role_from(Role.OPERATOR, "198.51.100.1") is Role.OPERATOR
