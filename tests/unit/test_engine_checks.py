"""What `check` and a start say of an engine: what keeps it from being asked, and what may surprise."""

from __future__ import annotations

import pytest

from forkpolicy import engine_checks
from forkpolicy.commands.main import main
from forkpolicy.settings import load_settings
from forkpolicy.state.redis import access
from tests.redis_servers import needs_redis, shared_server

POLICY = "acl busy rate {sender} 5/1h\naction slow DEFER slow down\naccess busy slow\n"


@pytest.fixture
def settings(tmp_path):
    """The settings of an engine."""

    def make(url, *more, mode=0o600):
        path = tmp_path / "forkpolicy.toml"
        path.write_text("\n".join(["[state]", f'url = "{url}"', *more]))
        path.chmod(mode)
        return load_settings(path)

    return make


def messages(found):
    return [each.message for each in found]


@pytest.mark.parametrize(
    ("setting", "content", "message"),
    [
        ("password_file", None, "No such file or directory"),
        ("password_file", "", "is empty: expected a password in its first line"),
        ("password_file", "\nsecret\n", "is empty: expected a password in its first line"),
        ("password_file", b"\xff\n", "is not UTF-8"),
        ("sentinel_password_file", "", "is empty"),
        ("ca_file", None, "No such file or directory"),
        ("ca_file", "garbage", "cannot be used: "),
    ],
)
def test_files_are_read_before_the_start(settings, tmp_path, setting, content, message):
    """The setting, the path and what was expected; never what is in it."""
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    url = "rediss+sentinel://192.0.2.7/mail"
    (said,) = messages(engine_checks.find_obstacles(settings(url, f'{setting} = "{path}"')))
    assert said.startswith(f"{setting}: {path}: ")
    assert message in said


def test_the_first_line_is_the_password(tmp_path):
    """Whatever follows, and whichever end of line it has."""
    (tmp_path / "secret").write_bytes(b" s3 cret \r\n# of the engine\n")
    assert access.read_secret("password_file", str(tmp_path / "secret")) == " s3 cret "


def test_a_missing_package_is_named_with_the_line_that_installs_it(settings, monkeypatch):
    """An engine is an extra."""
    monkeypatch.setattr(access, "PACKAGES", ("redis", "nonesuch"))
    (said,) = messages(engine_checks.find_obstacles(settings("redis://127.0.0.1")))
    assert said.endswith("an engine needs the packages redis and nonesuch: pip install 'forkpolicy[redis]'")


@pytest.mark.parametrize(("mode", "count"), [(0o640, 0), (0o644, 1)])
def test_a_password_in_settings_that_everybody_may_read(settings, mode, count):
    """It is an error; in a file of its own it is none."""
    found = messages(engine_checks.find_obstacles(settings("redis://:s3cret@127.0.0.1", mode=mode)))
    assert len(found) == count
    assert all("everybody may read" in said and "s3cret" not in said for said in found)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://127.0.0.1", []),
        ("unix:///run/redis.sock", []),
        ("rediss://:p@192.0.2.7", []),
        ("redis://:p@192.0.2.7", ["is not encrypted"]),
        ("rediss://192.0.2.7", ["has no password"]),
        ("redis+cluster://127.0.0.1,db.example.com", ["is not encrypted", "has no password"]),
    ],
)
def test_another_machine_wants_tls_and_a_password(settings, url, words):
    """What is on this machine needs neither."""
    found = messages(engine_checks.find_remarks(settings(url)))
    assert len(found) == len(words)
    assert all(word in said for word, said in zip(words, found, strict=True))


@needs_redis
def test_an_engine_that_evicts(settings):
    """It would forget limits before their time."""
    server = shared_server()
    client = engine_checks.open_store(settings(server.url).state)._client
    try:
        assert engine_checks.look(settings(server.url)) == []
        client.config_set("maxmemory-policy", "allkeys-lru")
        (found,) = engine_checks.look(settings(server.url))
        assert (found.severity, found.line) == ("warning", 2)
        assert "maxmemory-policy allkeys-lru" in found.message
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()


@needs_redis
@pytest.mark.parametrize(
    ("info", "word"), [({"redis_version": "6.0.16"}, "expected 6.2 or later"), ({"redis_version": "7.0.15"}, "")]
)
def test_an_old_release_is_named(info, word):
    """It does not know an option that each script uses."""
    assert [word in message for _, message, _ in engine_checks._of_engine("redis://h", info)] == [True] * bool(word)


@needs_redis
def test_check_and_explain_go_on_without_the_engine(settings, tmp_path, capsys):
    """A warning, and an ACL that is not asked: the rest is checked and explained all the same."""
    where = f"unix://{tmp_path}/none"
    path = settings(where).path
    (tmp_path / "policy.conf").write_text(POLICY)
    assert main(["check", "-c", path, "--json"]) in (0, 1)
    assert f"url: {where}: No such file or directory" in capsys.readouterr().out
    assert main(["explain", "-c", path, "sender=a@example.com", "recipient=b@example.com", "instance=1"]) == 0
    assert f"the store cannot be read: {where}: No such file or directory" in capsys.readouterr().out


@needs_redis
def test_explain_peeks_an_engine(settings, tmp_path, capsys):
    """What it would answer, and nothing is counted."""
    server = shared_server()
    loaded = settings(server.url, 'prefix = "explain"')
    (tmp_path / "policy.conf").write_text(POLICY)
    for _ in range(2):
        asked = ["sender=a@example.com", "recipient=b@example.com", "instance=1"]
        assert main(["explain", "-c", loaded.path, *asked]) == 0
        assert "sender=a@example.com: 0 of 5 in 1h (not counted)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("mode", "count"), [(0o640, 0), (0o644, 1)])
def test_a_password_file_that_everybody_may_read(settings, tmp_path, mode, count):
    """A warning: it works, and who reads it can unlock accounts."""
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    path.chmod(mode)
    found = engine_checks.find_remarks(settings("redis://127.0.0.1", f'password_file = "{path}"'))
    assert messages(found) == [f"password_file: everybody may read {path}"] * count
    assert [each.hint for each in found] == [f"chmod o-r {path}"] * count


@needs_redis
def test_a_wrong_password_names_the_settings(settings, tmp_path):
    """It does not mend itself as an engine does that is away."""
    (tmp_path / "secret").write_text("wrong\n")
    (found,) = engine_checks.look(settings(shared_server().url, f'password_file = "{tmp_path}/secret"'))
    assert found.hint.startswith("compare [state] user and password_file with the engine's; ")
