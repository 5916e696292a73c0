"""URLs of engines: what each form means, and what is said of one that is wrong, without its password."""

from __future__ import annotations

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.redis_urls import RedisUrl, is_redis_url, parse_url, url_mistake
from forkpolicy.settings import load_settings
from tests.fakes import TextFiles

PATH = "/etc/forkpolicy.toml"


@pytest.mark.parametrize(
    ("text", "parsed", "shown"),
    [
        ("redis://db.example.com", RedisUrl("server", (("db.example.com", 6379),)), "redis://db.example.com:6379"),
        ("redis://192.0.2.7:7000/3", RedisUrl("server", (("192.0.2.7", 7000),), db=3), "redis://192.0.2.7:7000"),
        ("redis://h?db=3", RedisUrl("server", (("h", 6379),), db=3), "redis://h:6379"),
        ("valkey://h/", RedisUrl("server", (("h", 6379),)), "redis://h:6379"),
        (
            "rediss://anna:p%40ss%2F@[2001:db8::7]:7000",
            RedisUrl("server", (("2001:db8::7", 7000),), is_tls=True, user="anna", password="p@ss/"),
            "rediss://[2001:db8::7]:7000",
        ),
        ("valkeys://h", RedisUrl("server", (("h", 6379),), is_tls=True), "rediss://h:6379"),
        ("redis://:s3@cr/et@h", RedisUrl("server", (("h", 6379),), password="s3@cr/et"), "redis://h:6379"),
        ("unix:///run/redis/a@b.sock", RedisUrl("server", path="/run/redis/a@b.sock"), "unix:///run/redis/a@b.sock"),
        (
            "unix://u:p@/run/a@b?db=2",
            RedisUrl("server", path="/run/a@b", db=2, user="u", password="p"),
            "unix:///run/a@b",
        ),
        (
            "redis+sentinel://:p@a:1,[::1]/mail?db=2",
            RedisUrl("sentinel", (("a", 1), ("::1", 26379)), name="mail", db=2, password="p"),
            "redis+sentinel://a:1,[::1]:26379/mail",
        ),
        (
            "valkeys+cluster://a,b:7000",
            RedisUrl("cluster", (("a", 6379), ("b", 7000)), is_tls=True),
            "rediss+cluster://a:6379,b:7000",
        ),
    ],
)
def test_each_form_is_read(text, parsed, shown):
    """Hosts with their ports, the database, user and password; shown without the last three."""
    assert parse_url(text) == parsed
    assert str(parsed) == shown
    assert url_mistake(text) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis://", "expected HOST or HOST:PORT"),
        ("redis://h:0", 'expected a port from 1 to 65535 behind "h:"'),
        ("redis://h:s3cret", 'expected a port from 1 to 65535 behind "h:"'),
        ("redis://1.2.3", '"1.2.3" is not a valid address'),
        ("redis://::1", "with an address of IPv6 in brackets"),
        ("redis://h/mail", "expected the number of a database, such as 0"),
        ("redis://h/1?db=2", "expected one database"),
        ("redis://a,b", "several hosts are redis+sentinel:// or redis+cluster://"),
        ("redis://:s3?cret@h?db=s3cret", "expected the number of a database"),
        ("redis://h?password=s3cret", 'expected no other option than "?db=N"'),
        ("rediss://h?ssl_cert_reqs=none", 'expected no other option than "?db=N"'),
        ("redis://h/0#1", "expected the number of a database"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix:///run/redis/", "the path of a socket"),
        ("redis+sentinel://a,b", "NAME as the sentinels call the master"),
        ("redis+sentinel://a/b/1", "NAME as the sentinels call the master"),
        ("redis+cluster://a,b/1", "a cluster has number 0 alone"),
        ("redis:/h", 'expected "redis://HOST:6379/0"'),
    ],
)
def test_what_is_wrong_is_said_without_a_password(text, message):
    """No message quotes what stands where a password may."""
    mistake = url_mistake(text)
    assert message in mistake
    assert "cret" not in mistake


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("unix:///run/redis.sock", True),
        ("redis://127.0.0.1", True),
        ("redis://[::1]", True),
        ("redis://localhost", True),
        ("redis+cluster://127.0.0.1,127.0.0.2", True),
        ("redis+cluster://127.0.0.1,192.0.2.7", False),
        ("redis://db.example.com", False),
    ],
)
def test_whether_it_is_on_this_machine(text, is_local):
    """What it is sent can be read on the way only where it leaves the machine."""
    assert parse_url(text).is_local is is_local


@pytest.mark.parametrize(("text", "is_one"), [("lmdb:", False), ("redis://", True), ("valkeys+cluster://x", True)])
def test_a_url_of_an_engine_is_known_by_its_scheme(text, is_one):
    """Also when the rest is wrong, so that the message is about the rest."""
    assert is_redis_url(text) is is_one


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('prefix = "a{b}"', "prefix: expected up to 64 letters"),
        ('prefix = ""', "prefix: expected up to 64 letters"),
        ("budget = 0", "budget: expected a number from 0.1 to 600"),
        ("max_waiting = 1", "max_waiting: expected a number from 2"),
        ('cert_file = "c.pem"', "a certificate and its key go together"),
        ('key_file = "k.pem"', "a certificate and its key go together"),
    ],
)
def test_settings_of_an_engine_are_checked(lines, message):
    """Each alone, and those that need each other."""
    with pytest.raises(ConfigError, match=message):
        load_settings(PATH, TextFiles({PATH: f"[state]\n{lines}\n"}))


def test_files_are_relative_to_the_settings():
    """As every path of the file is; one that is not named stays empty."""
    text = '[state]\npassword_file = "secret"\nca_file = "/ca.pem"\n'
    state = load_settings(PATH, TextFiles({PATH: text})).state
    assert (state.password_file, state.ca_file, state.sentinel_password_file) == ("/etc/secret", "/ca.pem", "")
