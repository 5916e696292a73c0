"""What `check` says of signing in by another server: packages, secrets, authorities."""

from __future__ import annotations

import pytest
import trustme

from forkpolicy import sign_in_checks
from forkpolicy.commands import main
from forkpolicy.sign_in_checks import find_sign_in_findings
from tests.owners import owner_lines


@pytest.fixture
def site(tmp_path):
    """Settings whose people sign in by a directory and at a provider."""
    (tmp_path / "policy.conf").write_text(
        "acl a sender x@example.com\naction r REJECT\naccess a r\naction default DUNNO\n"
    )
    (tmp_path / "tables").mkdir()
    for name in ("ldap-password", "oidc-secret"):
        (tmp_path / name).write_text("s3cret\n")
        (tmp_path / name).chmod(0o600)
    trustme.CA().cert_pem.write_to_path(tmp_path / "authorities.pem")
    (tmp_path / "forkpolicy.toml").write_text(
        f'policy = "policy.conf"\ntables = "tables"\n'
        f'[server]\nlisten = ["unix:policy"]\ncontrol = "unix:control"\n{owner_lines()}\n'
        '[console]\nsign_in = ["local", "ldap", "oidc"]\nldap = "ldaps://ldap.example.com"\nldap_base = "dc=example"\n'
        'ldap_bind_name = "cn=console"\nldap_password_file = "ldap-password"\n'
        'oidc_issuer = "https://login.example.com"\noidc_client = "console"\noidc_secret_file = "oidc-secret"\n'
        'ca_file = "authorities.pem"\n'
    )
    return tmp_path


def checked(site, capsys):
    """What `check` says of [console], and its status."""
    status = main(["check", "-c", str(site / "forkpolicy.toml"), "--postfix", "none"])
    said = capsys.readouterr()
    return status, [line for line in (said.out + said.err).splitlines() if "forkpolicy.toml:" in line]


def test_what_is_right_is_not_mentioned(site, capsys):
    """Neither package nor file is missing."""
    assert checked(site, capsys) == (0, [])


@pytest.mark.parametrize(
    ("name", "content", "mode", "said"),
    [
        ("ldap-password", "s3cret\n", 0o644, "ldap_password_file: everybody may read"),
        ("oidc-secret", "s3cret\n", 0o604, "oidc_secret_file: everybody may read"),
        ("oidc-secret", "\nsecond\n", 0o600, "is empty: expected a secret in its first line"),
        ("ldap-password", None, 0, "cannot be read: no such file or directory"),
        ("authorities.pem", "not a certificate\n", 0o644, "no such certificates are in it"),
        ("authorities.pem", None, 0, "cannot be used: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(site, capsys, name, content, mode, said):
    """At the line of its setting, with what to do; the secret itself is in no message."""
    path = site / name
    path.unlink()
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    status, (line,) = checked(site, capsys)
    assert status == 1
    assert said in line
    assert "s3cret" not in line


def test_a_secret_that_is_not_text(site, capsys):
    """Is refused in words."""
    (site / "oidc-secret").write_bytes(b"\xff\n")
    _, (line,) = checked(site, capsys)
    assert "is not UTF-8" in line


def test_a_package_that_is_missing_is_an_error(site, monkeypatch):
    """With the extra that brings it; one that nobody needs is not missed."""
    from forkpolicy.settings import load_settings

    monkeypatch.setattr(sign_in_checks, "find_spec", lambda name: None if name in ("ldap3", "joserfc") else object())
    found = find_sign_in_findings(load_settings(site / "forkpolicy.toml"))
    assert [each.message for each in found] == [
        'sign_in: "ldap" needs ldap3, which this Python does not have',
        'sign_in: "oidc" needs joserfc, which this Python does not have',
    ]
    text = (site / "forkpolicy.toml").read_text().replace('"local", "ldap", "oidc"', '"local"')
    (site / "forkpolicy.toml").write_text(text)
    assert find_sign_in_findings(load_settings(site / "forkpolicy.toml")) == []


def test_mistakes_in_the_files_of_the_gateway_are_found(site, capsys):
    """The console says them to the first who looks at held mail: no file, a setting, a line of the domains."""
    text = (site / "forkpolicy.toml").read_text()
    (site / "forkpolicy.toml").write_text(text.replace("[console]\n", '[console]\ngateway = "gateway.toml"\n'))
    status, found = checked(site, capsys)
    assert (status, f"{site}/gateway.toml: there is no such file" in found[0]) == (1, True), found
    (site / "gateway.toml").write_text(f'domains = "{site}/domains"\n[store]\nmin_fre = "1M"\n')
    assert main(["check", "-c", str(site / "forkpolicy.toml"), "--postfix", "none"]) == 1
    assert 'did you mean "min_free"?' in capsys.readouterr().out
    (site / "gateway.toml").write_text(f'domains = "{site}/domains"\n')
    assert main(["check", "-c", str(site / "forkpolicy.toml"), "--postfix", "none"]) == 1
    assert f"{site}/domains: cannot be read: no such file" in capsys.readouterr().out
    (site / "domains").write_text("example.com\n")
    assert main(["check", "-c", str(site / "forkpolicy.toml"), "--postfix", "none"]) == 1
    assert "expected the transport" in capsys.readouterr().out
    (site / "domains").write_text("example.com relay:[192.0.2.5]:25\n")
    assert checked(site, capsys) == (0, [])
