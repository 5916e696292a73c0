"""gateway.toml: defaults, relative paths, and every mistake with its place."""

from __future__ import annotations

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.gateway.settings import load_gateway_settings


def test_an_empty_file_has_the_defaults(tmp_path):
    """Nothing is required."""
    path = tmp_path / "gateway.toml"
    path.write_text("")
    settings = load_gateway_settings(path)
    assert settings.store.keep_days == 30
    assert settings.release.smtp == "127.0.0.1:10026"


def test_relative_paths_start_at_the_directory_of_the_file(tmp_path):
    """The working directory has no part in it; an empty path stays empty."""
    path = tmp_path / "gateway.toml"
    path.write_text('domains = "domains"\n[store]\npath = "held"\nmail_log = ""\n')
    settings = load_gateway_settings(path)
    assert settings.domains == str(tmp_path / "domains")
    assert settings.store.path == str(tmp_path / "held")
    assert settings.store.mail_log == ""


def test_every_mistake_has_its_line(tmp_path):
    """One run reports all of them: an unknown setting with the nearest name, a wrong size, a wrong port."""
    path = tmp_path / "gateway.toml"
    path.write_text('[store]\nkeep_day = 3\nmin_free = "much"\n[release]\nsmtp = "127.0.0.1:99999"\n')
    with pytest.raises(ConfigError) as caught:
        load_gateway_settings(path)
    text = str(caught.value)
    assert "gateway.toml:2:" in text
    assert 'did you mean "keep_days"?' in text
    assert "gateway.toml:3:" in text
    assert "gateway.toml:5:" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('sender = "gateway"', 'expected an address as in "gateway@example.com"'),
        ('sender = "Gateway <gateway@example.com>"', "expected an address"),
        ('sender = "gateway@example.com\\r\\nBcc: x@example.org"', "control characters are not allowed"),
        ('url = "mail.example.com"', "expected scheme, host and port alone"),
        ('url = "https://mail.example.com/console"', "expected scheme, host and port alone"),
        ('url = "javascript:alert(1)"', "expected scheme, host and port alone"),
        ('url = "https://[2001:db8::1"', "expected scheme, host and port alone"),
    ],
)
def test_a_digest_has_a_plain_sender_and_an_address_of_the_console(tmp_path, line, words):
    """Both stand in every digest; what would spoil it is a mistake of the file."""
    path = tmp_path / "gateway.toml"
    path.write_text(f"[digest]\n{line}\n")
    with pytest.raises(ConfigError, match=words):
        load_gateway_settings(path)


def test_a_digest_may_be_sent_from_any_plain_address_with_links_to_any_port(tmp_path):
    """Neither is a mistake."""
    path = tmp_path / "gateway.toml"
    path.write_text('[digest]\nsender = "held-mail+1@mail.example.com"\nurl = "https://mail.example.com:8443/"\n')
    assert load_gateway_settings(path).digest.url == "https://mail.example.com:8443/"
