"""The URL of a PostgreSQL as libpq reads it, and what `check` says of one without asking it."""

from __future__ import annotations

import pytest

from forkpolicy.history import url_checks
from forkpolicy.history.url_checks import find_history_findings
from forkpolicy.postgresql_urls import parse_postgresql_url, postgresql_url_mistake
from forkpolicy.settings import load_settings, read_settings

psycopg = pytest.importorskip("psycopg")


@pytest.mark.parametrize(
    ("text", "shown", "endpoints"),
    [
        ("postgresql://u:p@db.example.com/x", "postgresql://db.example.com:5432/x", ["inet:db.example.com:5432"]),
        ("postgres://u@[2001:db8::1]:6000/x", "postgresql://[2001:db8::1]:6000/x", ["inet:[2001:db8::1]:6000"]),
        ("postgresql://a,b:7/x", "postgresql://a:5432,b:7/x", ["inet:a:5432", "inet:b:7"]),
        ("postgresql:///x", "postgresql:///var/run/postgresql:5432/x", ["unix:/var/run/postgresql/.s.PGSQL.5432"]),
        ("postgresql:///x?host=/run/pg&port=6", "postgresql:///run/pg:6/x", ["unix:/run/pg/.s.PGSQL.6"]),
        ("postgresql://u:p%40x@%2Frun%2Fpg/x", "postgresql:///run/pg:5432/x", ["unix:/run/pg/.s.PGSQL.5432"]),
        ("postgresql://h/?dbname=y&host=a,b&port=1,2", "postgresql://a:1,b:2/y", ["inet:a:1", "inet:b:2"]),
    ],
)
def test_hosts_are_those_of_libpq(text, shown, endpoints):
    """As libpq takes the same URL; user and password are in no message."""
    url = parse_postgresql_url(text)
    assert (str(url), list(url.endpoints)) == (shown, endpoints)
    taken = psycopg.conninfo.conninfo_to_dict(text)
    hosts = str(taken.get("host", "")).split(",")
    assert [host for host, _ in url.hosts] == [host or "/var/run/postgresql" for host in hosts]
    assert url.database == taken["dbname"]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://u@h/x",
        "postgresql://u:s3@cret@h/x",
        "postgresql://u:s3/cret@h/x",
        "postgresql://h:s3cret/x",
        "postgresql://u:s3 cret@h/x",
        "mysql://u:s3cret@h/x",
        "postgresql://h:70000/x",
        "postgresql://[s3cret/x",
        "postgresql://h/x?host=a&port=s3cret",
    ],
)
def test_mistakes_quote_nothing(text):
    """Any part may be of a password."""
    said = postgresql_url_mistake(text)
    assert "expected" in said
    assert "s3" not in said
    assert "cret" not in said


def made(folder, *lines, mode=0o600):
    path = folder / "forkpolicy.toml"
    path.write_text("\n".join(["[history]", *lines]))
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['password_file = "p"'], "password_file: there is no url"),
        (['url = "postgresql://u:s3cret@h/x"', 'password_file = "p"'], "password_file: the url has a password, too"),
        (['url = "postgresql://h/x?password=s3cret"', 'password_file = "p"'], "the url has a password, too"),
        (['url = "postgresql://h:s3cret/x"'], "url: expected postgresql://USER@HOST:5432/DATABASE"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path, lines, message):
    """They are named, without the password."""
    (said,) = (each.message for each in read_settings(made(tmp_path, *lines))[1])
    assert message in said
    assert "s3cret" not in said


def found(settings):
    return [(each.severity, each.message) for each in find_history_findings(settings)]


@pytest.mark.parametrize(("mode", "count"), [(0o640, 0), (0o644, 1)])
def test_a_password_in_settings_that_everybody_may_read(tmp_path, monkeypatch, mode, count):
    """It is an error."""
    monkeypatch.setattr(url_checks, "_asked", lambda _: ())
    settings = load_settings(made(tmp_path, 'url = "postgresql://u:s3cret@localhost/x"', mode=mode))
    errors = [message for severity, message in found(settings) if severity == "error"]
    assert len(errors) == count
    assert all("everybody may read" in each and "s3cret" not in each for each in errors)


def test_files_of_passwords(tmp_path, monkeypatch):
    """One that is not there, one that has nothing, one that everybody may read."""
    monkeypatch.setattr(url_checks, "_asked", lambda _: ())
    settings = load_settings(made(tmp_path, 'url = "postgresql://u@localhost/x"', 'password_file = "secret"'))
    secret = tmp_path / "secret"
    assert found(settings) == [("error", f"password_file: {secret}: No such file or directory")]
    secret.write_text("")
    secret.chmod(0o640)
    assert [severity for severity, _ in found(settings)] == ["error"]
    secret.write_text("s3cret\n")
    assert found(settings) == []
    secret.chmod(0o644)
    assert found(settings) == [("warning", f"password_file: everybody may read {secret}")]


def test_a_way_that_others_may_listen_to(tmp_path, monkeypatch):
    """Addresses of everybody go there."""
    monkeypatch.setattr(url_checks, "_asked", lambda _: ())
    for options, count in (("", 1), ("?sslmode=prefer", 1), ("?sslmode=verify-full", 0)):
        settings = load_settings(made(tmp_path, f'url = "postgresql://u@192.0.2.7/x{options}"'))
        assert sum("may not be encrypted" in message for _, message in found(settings)) == count


def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    """psycopg is an extra."""
    monkeypatch.setattr(url_checks, "find_spec", lambda _: None)
    settings = load_settings(made(tmp_path, 'url = "postgresql://u@localhost/x"'))
    assert found(settings) == [("error", "url: psycopg is not installed: pip install 'forkpolicy[postgresql]'")]
