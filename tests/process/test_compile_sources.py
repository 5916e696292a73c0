"""Sources that need other programs: Postfix's own, and a PostgreSQL server that is started for the test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.compiling import Compiler

if TYPE_CHECKING:
    from collections.abc import Iterator

POSTGRES_DIRECTORIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def test_postconf_is_asked(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real postconf expands, the real postmap lists, with the configuration directory of MAIL_CONFIG."""
    if shutil.which("postconf", path="/usr/sbin") is None:
        pytest.skip("postconf is not installed")
    (tmp_path / "domains").write_text("example.org x\n")
    (tmp_path / "main.cf").write_text(
        f"compatibility_level = 3.6\nmydomain = example.com\nmydestination = $mydomain, lmdb:{tmp_path}/domains\n"
    )
    (tmp_path / "master.cf").write_text("")
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    made = subprocess.run(
        ["/usr/sbin/postmap", "-c", str(tmp_path), f"lmdb:{tmp_path}/domains"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"this Postfix has no lmdb: {made.stderr.decode()}")
    compiler.policy(
        "table t domain postconf:mydestination",
        "table u domain postconf:nonsense",
        f"table v domain lmdb:{tmp_path}/domains",
    )
    outcome = compiler.run()
    assert "nonsense: unknown parameter" in outcome.err
    assert compiler.keys("domain", "example.com", "example.org", "example.net") == ["example.com", "example.org", None]
    found = compiler.found("domain", "example.org", name="v")[0]
    assert found
    assert found.value == "x"


def test_domains_that_a_real_postmap_folds_into_others(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes fass.example for faß.example: both ways to list the map say so; the text itself has what is meant."""
    if shutil.which("postmap", path="/usr/sbin") is None:
        pytest.skip("postmap is not installed")
    written = ["BÜCHER.example", "faß.example", ".ΣΑΣ.example", "straße@plain.example", "info@groß.example"]
    (tmp_path / "domains").write_text("# groß\n" + "".join(f"{key} x\n" for key in written))
    (tmp_path / "main.cf").write_text(
        f"compatibility_level = 3.6\nmydestination = lmdb:{tmp_path}/domains\nvirtual_alias_maps = $mydestination\n"
    )
    (tmp_path / "master.cf").write_text("")
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    made = subprocess.run(
        ["/usr/sbin/postmap", "-c", str(tmp_path), f"lmdb:{tmp_path}/domains"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"this Postfix has no lmdb: {made.stderr.decode()}")
    compiler.policy(
        f"table a address lmdb:{tmp_path}/domains",
        "table b address postconf:virtual_alias_maps",
        f"table c address {tmp_path}/domains",
    )
    outcome = compiler.run()
    assert outcome.status == 0, outcome.err
    told = f"{tmp_path}/domains:3: postmap made fass.example of faß.example, and 1 more: another domain, since"
    assert [line.count(told) for line in outcome.err.splitlines() if "postmap made" in line] == [1, 1]
    asked = ["u@bücher.example", "u@faß.example", "u@fass.example", "info@groß.example", "info@gross.example"]
    assert compiler.keys("address", *asked, name="a") == [
        "xn--bcher-kva.example",
        *["fass.example"] * 2,
        *["info@gross.example"] * 2,
    ]
    assert compiler.keys("address", *asked[:3], name="c") == ["xn--bcher-kva.example", "xn--fa-hia.example", None]


def test_maps_in_the_parameters_of_a_real_postfix(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What postconf makes of `cidr:{...}` and `inline:{...}`, over several lines and with variables, is understood."""
    if shutil.which("postconf", path="/usr/sbin") is None:
        pytest.skip("postconf is not installed")
    (tmp_path / "main.cf").write_text(
        "compatibility_level = 3.6\nours = 192.0.2.0/24\n"
        "mynetworks = cidr:{\n  { $ours OK },\n  { 198.51.100.0/24   two words } } 127.0.0.1\n"
        "virtual_alias_maps = inline:{ a@example.com=b@example.com, { c@example.com = d@example.com } }\n"
    )
    (tmp_path / "master.cf").write_text("")
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    compiler.policy("table t cidr postconf:mynetworks", "table u address postconf:virtual_alias_maps")
    outcome = compiler.run()
    assert outcome.status == 0, outcome.err
    assert compiler.keys("cidr", "192.0.2.1", "198.51.100.1") == ["192.0.2.0/24", "198.51.100.0/24"]
    found = compiler.found("address", "a@example.com", "c@example.com", name="u")
    assert [entry and entry.value for entry in found] == ["b@example.com", "d@example.com"]


@pytest.fixture
def postgres(folder: Path) -> Iterator[str]:
    """The URL of a private PostgreSQL server that listens on a socket file only."""
    pytest.importorskip("psycopg", reason="the extra `sql` is not installed")
    if not POSTGRES_DIRECTORIES:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    programs = POSTGRES_DIRECTORIES[-1]
    # A socket's path has 107 bytes at most, and PostgreSQL refuses to run as root.
    directory = folder / "pg"
    directory.mkdir()
    shutil.chown(directory, "nobody")
    data = directory / "data"

    def run(*command: str) -> None:
        subprocess.run(command, user="nobody", check=True, capture_output=True, cwd=directory, timeout=50)

    run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "mail", "--no-sync")
    options = f"-k {directory} -c listen_addresses= -c fsync=off"
    # Without an own log the server holds our pipes open, and run() would wait for ever.
    run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(directory / "log"), "-o", options, "start")
    try:
        yield f"postgresql://mail@/postgres?host={directory}"
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop")


def test_sql_from_postgresql(compiler: Compiler, postgres: str) -> None:
    """Networks in PostgreSQL's own types, names, values, casts and literals come through a real server."""
    import psycopg

    with psycopg.connect(postgres) as connection:
        connection.execute("create table nets (net cidr, note text)")
        connection.execute(
            "insert into nets values ('192.0.2.0/24', 'doc'), ('2001:db8::/32', null), ('10.1.2.3', 'one')"
        )
        connection.execute(
            "create table domains as select 'd' || n || '.example' as name from generate_series(1, 25000) n"
        )
    compiler.policy(
        f"table n cidr sql:{postgres}:SELECT net, note FROM nets",
        f"table d domain sql:{postgres}:select name from domains",
        f"table e domain sql:{postgres}:select name from nowhere",
        f"table f domain sql:{postgres}:select name::text, ':e 100% %s'::text from domains where name like 'd1:%' "
        "or name like 'd7.%'",
    )
    outcome = compiler.run()
    assert 'relation "nowhere" does not exist' in outcome.err
    found = compiler.found("cidr", "192.0.2.1", "2001:db8::1", "10.1.2.3", name="n")
    assert [entry and entry.value for entry in found] == ["doc", None, "one"]
    found = compiler.found("domain", "d7.example", "d8.example", name="f")
    assert [entry and entry.value for entry in found] == [":e 100% %s", None]
    assert compiler.keys("domain", "d25000.example", "d25001.example", name="d") == ["d25000.example", None]
