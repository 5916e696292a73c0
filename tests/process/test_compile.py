"""The compiler as a process: options, exit codes, and that nothing which happens to it harms the table in use."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import pyte
import pytest

from forkpolicy.compile.directory import TablesDirectory
from forkpolicy.compile.directory import locked as locked_directory
from forkpolicy.compile.result import Options
from forkpolicy.compile.table import compile_table
from forkpolicy.errors import ForkpolicyError
from forkpolicy.policy.load import declared_tables
from forkpolicy.tables.live_table import LiveTable
from tests.compiling import PROGRAM, Compiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 40_000


@pytest.fixture
def compiler(folder: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(folder, capsys)


def many(count: int = MANY, value: str = "") -> str:
    """Enough lines for several blocks, runs and children."""
    return "".join(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255} {value}\n" for n in range(count))


def test_difference_to_the_table_in_use(compiler: Compiler) -> None:
    """--dry-run says what would come and go, and writes nothing."""
    compiler.one("cidr", "192.0.2.0/24 a\n198.51.100.0/24\n")
    before = compiler.table_path().read_bytes()
    outcome = compiler.one("cidr", "192.0.2.0/24 b\n198.51.100.0/24\n198.51.100.7 x\n", "--dry-run")
    assert outcome.status == 0
    assert "+2 -1 against the table in use, nothing written" in outcome.out
    assert [line.strip() for line in outcome.out.splitlines()[1:]] == [
        "+ 192.0.2.0/24 b",
        "+ 198.51.100.7 x",
        "- 192.0.2.0/24 a",
    ]
    assert compiler.table_path().read_bytes() == before
    assert compiler.files() == {"t.lmdb"}
    found = compiler.one("cidr", "192.0.2.0/24 a\n", "--dry-run", "--json").json[0]
    assert (found["added"], found["removed"], found["state"]) == (0, 1, "compared")


def test_if_changed_leaves_alone_what_is_the_same(compiler: Compiler) -> None:
    """The same sources and options: not a byte is written; anything else: compiled."""
    compiler.one("domain", "example.com\n")
    before = compiler.table_path().stat()
    assert "unchanged" in compiler.run("--if-changed").out
    assert compiler.table_path().stat() == before
    compiler.source("list", "example.com\nexample.net\n")
    assert "compiled" in compiler.run("--if-changed").out
    assert "compiled" in compiler.run("--if-changed", "--allow-wide").out
    compiler.table_path().write_bytes(b"")
    assert "compiled" in compiler.run("--if-changed", "--allow-wide").out


def test_verify_reads_to_the_end(compiler: Compiler) -> None:
    """--verify compiles nothing and answers with 1 when a table is not whole."""
    compiler.policy("table t domain list", "table u domain list")
    compiler.source("list", "example.com\n.example.net\n")
    compiler.run()
    assert compiler.run("--verify").out == "t: intact, 2 entries\nu: intact, 2 entries\n"
    damaged = bytearray(compiler.table_path().read_bytes())
    damaged[9000] ^= 1
    compiler.table_path().write_bytes(damaged)
    outcome = compiler.run("--verify", "--json")
    assert outcome.status == 1
    assert [each["ok"] for each in outcome.json] == [False, True]
    assert "is damaged" in outcome.json[0]["reason"]


def test_stats_count_shapes_values_and_sources(compiler: Compiler) -> None:
    """--stats says what a table consists of."""
    outcome = compiler.one("cidr", "192.0.2.0/24 a\n198.51.100.0/24 a\n2001:db8::1\n", "--stats", "--json")
    statistics = outcome.json[0]["statistics"]
    assert statistics["shapes"] == {"IPv4 /24": 2, "IPv6 /128": 1}
    assert statistics["values"] == {"a": 2, "(no value)": 1}


@pytest.mark.parametrize(
    ("kind", "feed", "own", "told"),
    [
        ("domain", "spam.example\nexample.com\n", "example.com\n", "list:2: example.com must not be in this table"),
        ("domain", ".com\n", "example.com\n", ".com must not be"),
        ("domain", "a.example.com\n", ".example.com\n", "a.example.com must not be"),
        ("address", "x@example.com\nexample.com\n", "example.com\n", "list:2: example.com must not be"),
        ("cidr", "192.0.2.77\n", "192.0.2.0/24\n", "192.0.2.77 must not be in this table: 192.0.2.0/24 is protected"),
        ("cidr", "192.0.0.0/16\n", "192.0.2.0/24\n", "192.0.0.0/16 must not be"),
        ("cidr", "2001:db8::1\n8.8.8.8\n", "8.8.8.0-8.8.8.9\n", "list:2: 8.8.8.8 must not be"),
    ],
)
def test_protected_names_and_networks(compiler: Compiler, kind: str, feed: str, own: str, told: str) -> None:
    """A feed that concerns what is one's own is refused with the offending entry, and the table stays."""
    own_path = compiler.source("own", own)
    outcome = compiler.one(kind, feed, "--protect", str(own_path))
    assert outcome.status == 78
    assert told in outcome.err
    assert compiler.files() == set()


def test_protecting_another_table(compiler: Compiler) -> None:
    """A compiled table can be what is protected; it does not keep itself from being compiled."""
    compiler.policy("table own cidr own", "table feed cidr feed")
    compiler.source("own", "192.0.2.0/24\n")
    compiler.source("feed", "198.51.100.0/24\n")
    assert compiler.run("own").status == 0
    assert compiler.run("--protect", "own").status == 0
    compiler.source("feed", "192.0.2.128/25\n")
    outcome = compiler.run("--protect", "own")
    assert outcome.status == 78
    assert f"192.0.2.0/24 is protected ({compiler.directory}/own:1)" in outcome.err
    assert compiler.run("--protect", "nothing").status == 2


def test_usage(compiler: Compiler) -> None:
    """Unknown tables are named with the nearest, standard input is one list, settings and policy must be there."""
    compiler.policy("table local_nets cidr -", "table other cidr -")
    outcome = compiler.run("local_net")
    assert (outcome.status, outcome.err) == (
        2,
        'the policy declares no table "local_net"; did you mean "local_nets"?\n',
    )
    assert compiler.run().status == 2
    compiler.policy("tabel x cidr y")
    assert compiler.run().status == 78
    compiler.settings.unlink()
    assert compiler.run().status == 78


def test_standard_input(compiler: Compiler) -> None:
    """`-` reads a list from standard input, as a download would bring it."""
    compiler.policy("table t cidr -")
    done = subprocess.run(
        [*PROGRAM, "-c", str(compiler.settings), "t"],
        input=b"192.0.2.0/24\n198.51.100.0/24",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [entry and (entry.source, entry.line) for entry in compiler.found("cidr", "198.51.100.9")] == [
        ("standard input", 2)
    ]
    done = subprocess.run([*PROGRAM, "-c", str(compiler.settings)], input=b"", capture_output=True, check=False)
    assert done.returncode == 78
    assert b"the source is empty" in done.stderr
    compiler.policy("table t cidr may-shrink -")
    done = subprocess.run([*PROGRAM, "-c", str(compiler.settings)], input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert compiler.keys("cidr", "198.51.100.9") == [None]


def test_version_and_help(compiler: Compiler) -> None:
    """The program knows its name."""
    for option, text in (("--version", b"forkpolicy-compile "), ("--help", b"--allow-shrink")):
        done = subprocess.run([*PROGRAM, option], capture_output=True, check=False)
        assert done.returncode == 0
        assert text in done.stdout


def test_one_bad_table_does_not_stop_the_others(compiler: Compiler) -> None:
    """Each table is compiled or not by itself; the exit code tells that one was not."""
    compiler.policy("table bad cidr bad", "table good cidr good")
    compiler.source("bad", "x\n")
    compiler.source("good", "192.0.2.0/24\n")
    outcome = compiler.run()
    assert outcome.status == 78
    assert compiler.files() == {"good.lmdb"}
    assert "table bad: 1 error; the table in use is unchanged" in outcome.err


def test_large_lists_take_every_way(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, children, runs and parts: counts, lines and diagnostics are those of one small list."""
    monkeypatch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", 50_000)
    text = many() + "10.0.0.7\n10.0.0.0/16\n"
    outcome = compiler.one("cidr", text, "--json")
    assert outcome.json[0]["counts"] == {
        "parsed": MANY + 2,
        "merged": 1,
        "nested": MANY,
        "skipped": 0,
        "ranges": 1,
        "expired": 0,
    }
    outcome = compiler.one("cidr", many(value="v") + "300.1.1.1\n", "--json", "--allow-shrink")
    assert f"list:{MANY + 1}:1: 300.1.1.1" in outcome.err
    assert compiler.files() == {"t.lmdb"}
    outcome = compiler.one("cidr", many(value="v") + "10.0.0.7 w\n")
    assert 'list:40001: 10.0.0.7 has the value "w" here and "v" at' in outcome.err


@contextlib.contextmanager
def locked(compiler: Compiler) -> Iterator[None]:
    """Another compile at work."""
    compiler.tables.mkdir(exist_ok=True)
    fd = os.open(compiler.tables / ".compile.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield
    os.close(fd)


def test_two_compiles_wait_for_each_other(compiler: Compiler) -> None:
    """The second waits, says for whom and how long, and then does its work."""
    compiler.policy("table t cidr list")
    compiler.source("list", "192.0.2.0/24\n")
    with locked(compiler):
        waiting = compiler.spawn()
        assert waiting.stderr
        said = waiting.stderr.readline().decode()
        assert f"is running in {compiler.tables} (process {os.getpid()} (" in said
        assert "waiting for it, 600 s at most" in said
        assert compiler.files() == set()
    assert waiting.communicate(timeout=30)[0].startswith(b"t: compiled")
    assert waiting.returncode == 0


# Where the compiler kills itself: before and behind everything that it does to files.
KILL_AT = """
import os, signal, sys
from forkpolicy.compile import directory
from forkpolicy.compile.output import writer
from forkpolicy.compile.sources import registry
from forkpolicy.compile.command import main
registry.BLOCK_BYTES = 50_000
where, times = sys.argv[1], int(sys.argv[2])
module, _, name = where.rpartition(".")
owner = {"writer": writer.TableWriter, "seal": writer, "directory": directory.TablesDirectory}[module]
original = getattr(owner, name)
def killing(*arguments):
    global times
    times -= 1
    if times == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
setattr(owner, name, killing)
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    "where", ["writer.put", "writer.finish", "seal._seal", "directory.put_in_place", "directory.aside"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_kill_at_any_point(compiler: Compiler, where: str, times: int) -> None:
    """Whenever it is killed, the table in use is the old or the new one, whole, and the next compile clears up."""
    compiler.one("cidr", many(value="old"))
    compiler.source("list", many(value="new"))
    script = [sys.executable, "-c", KILL_AT, where, str(times), "-c", str(compiler.settings)]
    killed = subprocess.run(script, capture_output=True, timeout=50, check=False)
    found = compiler.found("cidr", "10.0.0.7")[0]
    assert found
    assert found.value == ("old" if killed.returncode == -signal.SIGKILL else "new")
    assert compiler.run("--verify").status == 0
    assert compiler.run().status == 0
    assert compiler.files() == {"t.lmdb"}


# Where the compiler is when a timer ends it: anywhere, in C code and system calls too. SIGALRM ends a process as
# SIGKILL does: nothing of it runs any more.
KILL_WHEN = """
import os, signal, sys, time
from forkpolicy.compile.sources import registry
from forkpolicy.compile.command import main
from forkpolicy.tables.reader import open_table
registry.BLOCK_BYTES = 50_000
table, kills, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
old = open(table, "rb").read()
def compile_for(seconds):
    with open(f"{table}.old", "wb") as file:
        file.write(old)
    os.rename(f"{table}.old", table)
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(arguments))
    return os.waitpid(pid, 0)[1]
started = time.monotonic()
assert compile_for(60) == 0
whole_s = time.monotonic() - started
for number in range(kills):
    status = compile_for(whole_s * 1.2 * (number + 0.5) / kills)
    assert status in (0, signal.SIGALRM), status
    found = open_table(table, "t", "cidr")
    print(found.value(found.find("10.0.0.7")), status, found.info.entries)
    found.close()
"""


def test_kill_at_any_moment(compiler: Compiler) -> None:
    """Ended at a hundred moments from begin to end, it leaves the old table or the new one, whole."""
    count = 15_000
    compiler.one("cidr", many(count, value="old"))
    compiler.source("list", many(count, value="new"))
    script = [sys.executable, "-c", KILL_WHEN, str(compiler.table_path()), "100", "-c", str(compiler.settings)]
    done = subprocess.run(script, capture_output=True, timeout=100, check=False, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert {entries for *_, entries in outcomes} == {str(count)}
    assert ("old", str(int(signal.SIGALRM)), str(count)) in outcomes
    assert ("old", "0", str(count)) not in outcomes, "whoever comes to the end has put the new one in place"
    assert compiler.run().status == 0
    assert compiler.files() == {"t.lmdb"}


# A child that is killed, or an interrupt for all of them, as a terminal sends it, in either step of a large table.
IN_A_CHILD = """
import os, signal, sys
from forkpolicy.compile.sorting import parallel_flatten
from forkpolicy.compile import read_sources
from forkpolicy.compile.sources import registry
from forkpolicy.compile.command import main
registry.BLOCK_BYTES = 50_000
modules = {"read_sources": read_sources, "parallel_flatten": parallel_flatten}
module, name, what = modules[sys.argv[1]], sys.argv[2], sys.argv[3]
original = getattr(module, name)
def disturbed(job):
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    for _ in range(300):
        os.killpg(0, signal.SIGINT)
        os.sched_yield()
    return original(job)
setattr(module, name, disturbed)
sys.exit(main(sys.argv[4:]))
"""
IN_EITHER_STEP = pytest.mark.parametrize(
    "step", [("read_sources", "_parse_to_run"), ("parallel_flatten", "_flatten_part")]
)


def disturb(compiler: Compiler, *what: str) -> subprocess.CompletedProcess[str]:
    """Compile `t`, which is large and has another value in use, and `u`, which is small."""
    compiler.one("cidr", many(value="old"))
    compiler.source("list", many(value="new"))
    compiler.source("small", "192.0.2.0/24\n")
    compiler.policy("table t cidr list", "table u cidr small")
    command = [sys.executable, "-c", IN_A_CHILD, *what, "-c", str(compiler.settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, start_new_session=True)
    found = compiler.found("cidr", "10.0.0.7")[0]
    assert found
    assert found.value == "old"
    return done


@IN_EITHER_STEP
def test_a_killed_child_costs_its_table_and_no_other(compiler: Compiler, step: tuple[str, str]) -> None:
    """As the kernel does it when memory is short: a sentence, a status, and the next table."""
    done = disturb(compiler, *step, "kill")
    assert done.returncode == 73
    assert "table t: a process of the compiler ended before its work was done (signal 9)" in done.stderr
    assert "Traceback" not in done.stderr
    assert "u: compiled" in done.stdout
    assert compiler.files() == {"t.lmdb", "u.lmdb"}


@IN_EITHER_STEP
def test_an_interrupt_is_one_sentence(compiler: Compiler, step: tuple[str, str]) -> None:
    """A terminal interrupts the children too; they leave the word to their parent. More interrupts change nothing."""
    done = disturb(compiler, *step, "interrupt")
    assert done.returncode == 130
    assert done.stderr == "interrupted: the tables in use are unchanged\n"
    assert compiler.files() == {"t.lmdb"}


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_if_changed_reads_a_pipe_but_once(compiler: Compiler, source: str) -> None:
    """What was read to compare it is what is compiled; the same again is left alone."""
    compiler.policy(f"table t cidr {source}")
    said = []
    for text in (b"192.0.2.0/24\n", b"198.51.100.0/24\n", b"198.51.100.0/24\n"):
        compiling = compiler.spawn("--if-changed", stdin=subprocess.PIPE)
        out, err = compiling.communicate(text, timeout=30)
        assert compiling.returncode == 0, err
        said.append(out.split(b",")[0].decode())
    assert said == ["t: compiled", "t: compiled", "t: unchanged"]
    assert compiler.keys("cidr", "198.51.100.1") == ["198.51.100.0/24"]


def test_a_line_that_moves_to_the_next_source_is_a_change(compiler: Compiler) -> None:
    """All the bytes of all sources are the same, and the table is not."""
    compiler.policy("table t domain a b")
    compiler.source("a", "a.example\nb")
    compiler.source("b", ".example\nc.example\n")
    assert compiler.run("--allow-shrink").status == 0
    compiler.source("a", "a.example\n")
    compiler.source("b", "b.example\nc.example\n")
    assert compiler.run("--if-changed").out.startswith("t: compiled, 3 entries")


# Room for some 40 MiB more than Python has by now; a map that doubles needs 64 sooner or later.
SHORT_OF_MEMORY = """
import pathlib, resource, sys
from forkpolicy.compile.output.writer import TableWriter
from forkpolicy.errors import CannotWriteError
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (40 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
writer = TableWriter(pathlib.Path(sys.argv[1]), "key")
try:
    for number in range(100):
        writer.put([(b"%03d-%05d" % (number, each), b"x" * 100) for each in range(10_000)])
except CannotWriteError as error:
    print(error)
finally:
    writer.close()
"""


def test_too_little_memory_for_a_larger_map(tmp_path: Path) -> None:
    """A map that cannot grow is a table that cannot be written, with the reason, and no traceback."""
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path / "t.lmdb")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "t.lmdb cannot be written: mdb_env_set_mapsize: Cannot allocate memory" in done.stdout


def test_children_do_not_outlive_a_killed_compiler(compiler: Compiler) -> None:
    """The lock is free, and so every process gone, right after the compiler was killed in the midst of parsing."""
    compiler.policy("table t cidr fifo")
    os.mkfifo(compiler.directory / "fifo")
    compiling = compiler.spawn()
    with (compiler.directory / "fifo").open("wb") as feed:
        # Two blocks and more: children are at work, and the compiler waits for the rest that never comes.
        feed.write(many(400_000).encode())
        feed.flush()
        compiling.kill()
        compiling.communicate()
    fd = os.open(compiler.tables / ".compile.lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(fd)
    compiler.policy("table t cidr list")
    compiler.source("list", "192.0.2.0/24\n")
    assert compiler.run().status == 0
    assert compiler.files() == {"t.lmdb"}


@pytest.fixture
def full_disk(compiler: Compiler) -> Iterator[Path]:
    """A tables directory on a file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    compiler.tables.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(compiler.tables)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield compiler.tables
    subprocess.run(["umount", str(compiler.tables)], check=True)


@pytest.mark.parametrize("block_bytes", [50_000, 100_000_000])
def test_a_full_disk(compiler: Compiler, full_disk: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    """Exit status 73 and the reason; the table in use stays, and nothing half-written does."""
    monkeypatch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", block_bytes)
    assert compiler.one("cidr", "192.0.2.0/24 old\n").status == 0
    outcome = compiler.one("cidr", many(value="new"))
    assert outcome.status == 73
    assert "No space left on device" in outcome.err
    assert "the table in use is unchanged" in outcome.err
    assert [entry and entry.value for entry in compiler.found("cidr", "192.0.2.1")] == ["old"]
    assert compiler.files() == {"t.lmdb"}


def as_nobody(compiler: Compiler, work: Callable[[], object]) -> str:
    """What `work` returns, or its error says, in a process of an unprivileged user."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        user = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        try:
            answer = str(work())
        except ForkpolicyError as error:
            answer = str(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def test_a_directory_that_cannot_be_written(compiler: Compiler) -> None:
    """A file where the directory should be: 73 and the reason."""
    compiler.tables.write_text("in the way")
    outcome = compiler.one("cidr", "192.0.2.0/24\n")
    assert outcome.status == 73
    assert "cannot be written" in outcome.err


def test_a_directory_of_somebody_else(compiler: Compiler) -> None:
    """Without permission: the reason, and the table in use stays."""
    compiler.one("cidr", "192.0.2.0/24\n")
    compiler.tables.chmod(0o755)
    directory = TablesDirectory(compiler.tables)
    declaration = declared_tables(str(compiler.directory / "policy.conf"))[0]

    def compile_it() -> object:
        with locked_directory(compiler.tables, print):
            return compile_table(declaration, directory, Options())

    assert as_nobody(compiler, compile_it).endswith(".compile.lock cannot be written: Permission denied")
    assert compiler.files() == {"t.lmdb"}


def test_a_table_that_the_compile_may_not_read(compiler: Compiler) -> None:
    """It may be anything: it is not replaced, and the reason is that it cannot be read."""
    compiler.one("cidr", "192.0.2.0/24\n")
    compiler.tables.chmod(0o777)
    compiler.table_path().chmod(0o600)
    directory = TablesDirectory(compiler.tables)
    told = f"{compiler.table_path()} cannot be read, and is not replaced unread: Permission denied"
    assert as_nobody(compiler, lambda: directory.refuse_foreign("t")) == told
    compiler.table_path().chmod(0o644)
    assert as_nobody(compiler, lambda: directory.refuse_foreign("t")) == "None"


def test_an_unprivileged_reader(compiler: Compiler) -> None:
    """A table that root compiled serves a worker of another user, whatever the umask; no other file appears."""
    umask = os.umask(0o077)
    try:
        compiler.one("cidr", "192.0.2.0/24\n")
    finally:
        os.umask(umask)
    compiler.tables.chmod(0o755)
    assert as_nobody(compiler, lambda: compiler.keys("cidr", "192.0.2.1")) == "['192.0.2.0/24']"
    compiler.table_path().chmod(0o600)
    assert "may not be read by this user" in as_nobody(compiler, lambda: compiler.open("cidr"))
    compiler.table_path().chmod(0o644)
    compiler.tables.chmod(0o700)
    assert "may not be read by this user" in as_nobody(compiler, lambda: compiler.open("cidr"))
    assert compiler.files() == {"t.lmdb"}


def open_files() -> set[str]:
    """What this process has open, by name."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def test_old_versions_vanish(compiler: Compiler) -> None:
    """A replaced table is on disk as long as somebody reads it, and no longer."""
    compiler.one("cidr", "192.0.2.0/24 1\n")
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    slot.refresh()
    compiler.one("cidr", "192.0.2.0/24 2\n")
    assert f"{compiler.table_path()} (deleted)" in open_files()
    slot.refresh()
    raw = slot.find("192.0.2.1")
    assert raw
    assert slot.value(raw) == "2"
    assert f"{compiler.table_path()} (deleted)" not in open_files()
    slot.close()


def test_json_of_a_refusal(compiler: Compiler) -> None:
    """Mistakes are in the document too, with their places."""
    outcome = compiler.one("cidr", "192.0.2.0/24\n300.1.1.1\n", "--json")
    assert outcome.status == 78
    document = json.loads(outcome.out)[0]
    assert document["state"] == "refused"
    assert document["diagnostics"][0]["line"] == 2


def test_a_terminal_sees_how_far_a_large_table_is(compiler: Compiler) -> None:
    """A bar while a list is read and another while its table is written, both wiped before the summary."""
    compiler.source("list", "".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(500_000)))
    compiler.policy("table big cidr list")
    terminal, theirs = pty.openpty()
    try:
        child = subprocess.Popen(
            [*PROGRAM, "-c", str(compiler.settings)],
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            close_fds=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        screen, lines = pyte.Screen(100, 5), set()
        stream = pyte.ByteStream(screen)
        # Reading a terminal that nobody has open any more is an error (EIO), which is how this one ends.
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 65536):
                stream.feed(data)
                lines.update(screen.display)
        assert child.wait(timeout=30) == 0
    finally:
        os.close(terminal)
    assert any(re.match(r"big: +\S+ +\d+% [\d,]+ lines, [\d,]+ a second", line) for line in lines), lines
    assert any(re.match(r"big: +\S+ +\d+% [\d,]+ entries written, [\d,]+ a second", line) for line in lines), lines
    assert not any(map(str.strip, screen.display)), screen.display
    assert not screen.cursor.hidden


@pytest.mark.parametrize("kind", ["cidr", "domain", "address", "key"])
def test_sources_without_an_entry_are_taken_when_asked_for(compiler: Compiler, kind: str) -> None:
    """Several lines and no entry in them: an empty table with --allow-shrink, and else refused."""
    assert compiler.one(kind, "# one\n# two\n\n").status == 78
    outcome = compiler.one(kind, "# one\n# two\n\n", "--allow-shrink")
    assert outcome.status == 0, outcome.err
    assert "0 entries" in outcome.out


def test_all_lines_wrong_and_skipped(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of invalid text in many blocks leaves no record at all, and no traceback."""
    monkeypatch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", 1000)
    outcome = compiler.one("cidr", "no network\n" * 2000, "--skip-bad", "--allow-shrink")
    assert outcome.status == 0
    assert "2000 lines were left out" in outcome.err


@pytest.mark.parametrize("block_bytes", [200, 1 << 20])
def test_a_file_order_that_loses_is_shown_and_counted(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    """Five examples and how many more there are, in however many parts a table is made."""
    monkeypatch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", block_bytes)
    monkeypatch.setattr("forkpolicy.compile.sorting.external_sort._MARK_EVERY", 4)
    outcome = compiler.one("cidr", "".join(f"{n}.0.0.0/8 permit\n{n}.1.0.0/16 reject\n" for n in range(11, 99)))
    assert outcome.status == 0
    assert outcome.err.count("in cidr_table(5) the first") == 5
    assert "83 more networks stand below one that contains them" in outcome.err


def test_ranges_are_no_way_around_the_widest_network(compiler: Compiler) -> None:
    """A range is as wide as the networks that it consists of."""
    outcome = compiler.one("cidr", "0.0.0.0-255.255.255.255\n10.0.0.0-11.255.255.255\n::-ffff::\n192.0.2.0-192.0.2.9\n")
    assert outcome.err.count("use --allow-wide if it is meant") == 3
    assert compiler.one("cidr", "10.0.0.0-11.255.255.255\n", "--allow-wide").status == 0


@pytest.mark.parametrize(
    ("line", "meant"), [("192.0.2.5 - 192.0.2.9", "192.0.2.5-192.0.2.9"), ("10.0.0.0 /8", "10.0.0.0/8")]
)
def test_blanks_within_a_network(compiler: Compiler, line: str, meant: str) -> None:
    """Half of a network or range would be read as all of it."""
    assert f"did you mean {meant}?" in compiler.one("cidr", f"{line}\n").err


def test_a_continuation_behind_comments_at_a_blocks_end(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever blocks end, an indented line still meets the entry that it continues."""
    entry = "user@example.com REJECT\n# reason\n\n   go away\n"
    for block_bytes in range(len(entry) - 30, len(entry) + 5):
        monkeypatch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", block_bytes)
        for content in (entry, f"{entry}other@example.com OK\n"):
            assert "indented below an entry with a value" in compiler.one("address", content).err, block_bytes


def test_lmdb_sources_that_are_no_whole_map(compiler: Compiler) -> None:
    """A map that was cut, and a table of ours, are refused in words."""
    path = str(compiler.directory / "map.lmdb")
    with lmdb.open(path, subdir=False, lock=False, map_size=1 << 24) as env, env.begin(write=True) as txn:
        for number in range(5000):
            txn.put(b"name%d.example\0" % number, b"OK\0")
    whole = (compiler.directory / "map.lmdb").read_bytes()
    (compiler.directory / "cut.lmdb").write_bytes(whole[:8192])
    compiler.policy("table whole domain lmdb:map", "table cut domain lmdb:cut")
    assert compiler.run("whole").status == 0
    (compiler.directory / "ours.lmdb").write_bytes(compiler.table_path("whole").read_bytes())
    outcome = subprocess.run(
        [*PROGRAM, "-c", str(compiler.settings), "cut"], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 78
    assert "cut.lmdb is cut off" in outcome.stderr
    compiler.policy("table again domain lmdb:ours")
    assert "is a forkpolicy table" in compiler.run().err


def test_the_digest_of_a_table_in_json(compiler: Compiler) -> None:
    """The whole digest, compiled, compared or unchanged; it begins with the version that others show."""
    compiler.one("cidr", "192.0.2.0/24\n")
    for argument in ("--allow-shrink", "--if-changed"):
        found = compiler.run("--json", argument).json[0]
        assert len(found["digest"]) == 64
        assert found["digest"].startswith(found["version"])
    table = compiler.open("cidr")
    table.close()
    assert found["digest"] == table.info.content_digest
    compiler.source("list", "192.0.2.0/24 x\n")
    other = compiler.run("--json", "--dry-run").json[0]["digest"]
    assert len(other) == 64
    assert other != found["digest"]
    compiler.source("list", "x y z\n")
    assert compiler.run("--json").json[0]["digest"] == ""


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">/dev/full 2>&1", ">&- 2>&-"])
@pytest.mark.parametrize("arguments", [[], ["--json"], ["--dry-run", "--stats"], ["--verify"]])
def test_outputs_that_cannot_be_written(compiler: Compiler, redirection: str, arguments: list[str]) -> None:
    """A full disk or nobody at the other end: every table is compiled all the same, and the exit status says it."""
    compiler.policy("table a domain list", "table b domain list")
    compiler.source("list", "localhost\n")
    if "--verify" in arguments:
        compiler.run()
        compiler.table_path("b").write_bytes(b"x")
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM, "-c", str(compiler.settings), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if "--verify" in arguments else 73)
    assert ("standard output cannot be written" in done.stderr) is (redirection[0] == ">" and "2>" not in redirection)
    assert "Traceback" not in done.stderr
    assert compiler.files() == (set() if "--dry-run" in arguments else {"a.lmdb", "b.lmdb"})


def test_what_is_wrong_counts_more_than_an_output(compiler: Compiler) -> None:
    """A refused table has its own exit status, whether or not the reason could be written."""
    compiler.policy("table t cidr list")
    compiler.source("list", "300.1.1.1\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, "-c", str(compiler.settings)], stdout=full, stderr=full, check=False)
    assert done.returncode == 78


def test_what_only_interfaces_may_lose(compiler: Compiler) -> None:
    """The watcher accepts fewer networks of the machine, and never an emptied or halved list next to them."""
    compiler.policy("table t cidr list interfaces:lo")
    compiler.source("list", many(20))
    assert compiler.run().status == 0
    for content in ("", many(5)):
        compiler.source("list", content)
        assert compiler.run("--interfaces-may-shrink").status == 78
    compiler.source("list", many(19))
    assert compiler.run("--interfaces-may-shrink").status == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "nothing would be protected"),
        ("# none\n", "nothing would be protected"),
        ("300.1.1.1\n", "larger than 255"),
        ("10.0.0.5/24\n", "host bits set"),
    ],
)
def test_a_protection_that_protects_nothing(compiler: Compiler, content: str, told: str) -> None:
    """A cut or mistyped list of what is ours must not let everything pass."""
    own = compiler.source("own", content)
    outcome = compiler.one("domain", "example.com\n", "--protect", str(own))
    assert outcome.status in (2, 78)
    assert told in outcome.err
    assert not compiler.table_path().exists()


def test_protection_is_looked_at_where_nothing_else_changed(compiler: Compiler) -> None:
    """--if-changed saves work, not the question whether an entry must not be there."""
    own = compiler.source("own", "example.org\n")
    assert compiler.one("domain", "example.com\n", "--protect", str(own)).status == 0
    compiler.source("own", "example.org\nexample.com\n")
    outcome = compiler.run("--if-changed", "--protect", str(own))
    assert outcome.status == 78
    assert "example.com must not be in this table" in outcome.err


def test_standard_input_that_is_closed(compiler: Compiler) -> None:
    """As a daemon's may be: said, and no traceback."""
    compiler.policy("table t cidr -")
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *PROGRAM, "-c", str(compiler.settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "standard input is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_whose_name_is_too_long_for_a_file(compiler: Compiler) -> None:
    """A mistake in the policy, and the other tables are compiled."""
    compiler.policy(f"table {'x' * 300} cidr list", "table t cidr list")
    compiler.source("list", "192.0.2.0/24\n")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "its name has 300 characters" in outcome.err
    assert compiler.files() == {"t.lmdb"}


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_findings_that_nobody_reads(compiler: Compiler, arguments: list[str]) -> None:
    """--verify to a full disk: intact tables or not, the result was not written."""
    compiler.one("cidr", "192.0.2.0/24\n")
    command = [*PROGRAM, "-c", str(compiler.settings), "--verify", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 73
    assert "standard output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
