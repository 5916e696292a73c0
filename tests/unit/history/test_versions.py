"""What decisions are made with is kept by its digests: completely or not at all, and never under a wrong one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import tempfile
import zlib
from pathlib import Path

import pytest

from forkpolicy.history.ingest import Ingester
from forkpolicy.history.keeping import OLDER_SERVER, RETRY_S
from forkpolicy.history.lines import read_line
from forkpolicy.history.past import version_of_then
from forkpolicy.history.store import Store
from forkpolicy.log import LogPipe
from forkpolicy.tables.reader import open_verified, verify_descriptor
from tests.history_logs import NOON_S
from tests.history_sites import POLICY, Site

DAY_S = 86400
NOBODY = 65534


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


class Kept:
    """A keeper that is given lines, and what it has said."""

    def __init__(self, site, **limits):
        self.site, self.said, self.now_s = site, [], NOON_S
        self.keeper = site.keeper(self.said.append, lambda: self.now_s, **limits)

    def keep(self, *lines):
        """Note lines and keep them."""
        for line in lines:
            self.keeper.note(read_line(line))
        self.keeper.keep()

    def parts(self):
        """The names of everything that is kept."""
        return sorted(each.name for each in self.site.versions.path.iterdir())


def test_a_version_is_kept_as_it_was(site):
    """Policy with what it includes, the settings that change decisions, and tables byte by byte."""
    site.write("policy.conf", "include more*.conf\naccess a no\n")
    site.write("more.conf", "table local cidr networks.txt\nacl a client_address table:local\naction no HOLD\n")
    name, line = site.in_force()
    kept = Kept(site)
    kept.keep(line)
    assert kept.said == []
    version = site.versions.version(name)
    assert (version.missing, list(version.tables)) == ((), ["local"])
    policy, table = version.parts
    found = site.versions.policy(policy)
    files = (site.folder / each for each in ("policy.conf", "more.conf"))
    assert found.files == {
        **{str(each): each.read_text() for each in files},
        f"glob\0{site.folder}/more*.conf": f"{site.folder}/more.conf",
    }
    assert_complete(site, version)
    assert found.settings.mail.recipient_delimiter == "+"
    with site.versions.unpack(table) as unpacked:
        unpacked.seek(0)
        assert unpacked.read() == (site.folder / "compiled" / "local.lmdb").read_bytes()
        opened = open_verified(verify_descriptor(unpacked.fileno(), table), "local", "cidr")
        assert opened.version == version.tables["local"]


def test_what_two_versions_share_is_there_once(site):
    """A policy that is changed keeps its tables, and a table that is compiled again its policy."""
    kept = Kept(site)
    kept.keep(site.in_force()[1])
    site.write("policy.conf", (site.folder / "policy.conf").read_text() + "# longer\n")
    kept.keep(site.in_force()[1])
    site.write("networks.txt", "192.0.2.0/24\n198.51.100.0/24\n")
    site.compile()
    kept.keep(site.in_force()[1])
    suffixes = [name.rpartition(".")[2] for name in kept.parts()]
    assert {suffix: suffixes.count(suffix) for suffix in suffixes} == {"json": 3, "policy": 2, "table": 3}


def test_what_has_changed_is_not_kept_under_the_digest_of_before(site):
    """Neither a policy nor settings nor a table; what it was is said, and the version is not complete."""
    kept = Kept(site)
    name, line = site.in_force()
    site.write("policy.conf", "")
    kept.keep(line)
    kept.keep(line)
    (missing,) = site.versions.version(name).missing
    assert missing == f"{site.folder}/policy.conf (with what it includes) has changed before it was kept"
    assert kept.said == [f"what is in force is not kept for history show, tried again each minute: {missing}"]
    assert kept.parts() == [f"{name}.json"]

    site = kept.site
    site.write("policy.conf", "table local cidr networks.txt\n")
    name, line = site.in_force()
    site.write("networks.txt", "203.0.113.0/24\n")
    site.compile()
    kept.keep(line)
    assert site.versions.version(name).missing == ("table local was compiled again before it was kept",)
    name, line = site.in_force()
    site.settings.write_text('tables = "compiled"\n[mail]\nrecipient_delimiter = "-"\n')
    Kept(site).keep(line)
    assert site.versions.version(name).missing == ()
    name, line = site.in_force()
    site.settings.write_text('tables = "compiled"\n')
    kept.keep(line)
    assert site.versions.version(name).missing == (f"{site.settings} has changed before it was kept",)
    assert not [part for part in kept.parts() if ".new" in part]


def test_a_policy_that_is_being_edited_stands_in_nobodys_way(site):
    """A table is compiled while the policy in the files is another one: the policy in force is kept already."""
    kept = Kept(site)
    kept.keep(site.in_force()[1])
    site.write("networks.txt", "203.0.113.0/24\n")
    site.compile()
    name, line = site.in_force()
    site.write("policy.conf", "acl half a sen")
    kept.keep(line)
    assert site.versions.version(name).missing == ()
    assert kept.said == []


def test_a_file_that_is_written_while_it_is_copied_is_not_kept(site, monkeypatch):
    """What was verified and what was copied are compared by their digests."""
    name, line = site.in_force()
    table = site.folder / "compiled" / "local.lmdb"
    real = os.pread

    def changing(fd, count, at):
        if os.path.samestat(os.fstat(fd), table.stat()) and at == 0 and count > 64:
            with table.open("r+b") as file:
                file.seek(20000)
                file.write(b"changed")
        return real(fd, count, at)

    kept = Kept(site)
    monkeypatch.setattr("forkpolicy.history.files_now.os.pread", changing)
    kept.keep(line)
    assert site.versions.version(name).missing == (f"{table} was written in place while it was copied",)
    assert not [part for part in kept.parts() if part.startswith(("local", ".new"))]


def test_what_may_not_be_read_is_said_once_and_kept_when_it_may(site):
    """It is tried again each minute, as long as it is in force."""
    name, line = site.in_force()
    table = site.folder / "compiled" / "local.lmdb"
    aside = table.with_name("aside")
    table.rename(aside)
    kept = Kept(site)
    for _ in range(3):
        kept.keep(line)
        kept.now_s += RETRY_S
    missing = f"{table} is not there: run forkpolicy-compile"
    assert kept.said == [f"what is in force is not kept for history show, tried again each minute: {missing}"]
    assert site.versions.version(name).missing == (missing,)
    aside.rename(table)
    kept.keep()
    assert site.versions.version(name).missing == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_the_rights_are_those_of_the_ingester():
    """A policy that its user may not read costs the version alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        kept_by_nobody(Site(Path(name)))


def kept_by_nobody(site):
    """Keep as a user without rights."""
    name, line = site.in_force()
    (site.folder / "policy.conf").chmod(0o600)
    site.history.mkdir()
    os.chown(site.history, NOBODY, NOBODY)
    kept = Kept(site)
    os.seteuid(NOBODY)
    try:
        kept.keep(line)
    finally:
        os.seteuid(0)
    assert site.versions.version(name).missing == (f"{site.folder}/policy.conf: cannot be read: permission denied",)


def test_what_was_over_before_it_could_be_kept_is_no_trouble(site):
    """A policy that was changed while no ingester ran: nothing is reported, and `show` can say why."""
    first, line = site.in_force()
    site.write("policy.conf", "")
    second, later = site.in_force()
    kept = Kept(site)
    kept.keep(line, later)
    assert kept.said == []
    assert site.versions.version(first).missing
    assert not site.versions.version(second).missing


def test_a_line_that_lacks_something(site):
    """Of an older server, one that was cut, and ids that are no names of files."""
    kept = Kept(site)
    name, line = site.in_force()
    kept.keep(line.replace(b'"settings"', b'"elsewhere"'))
    assert site.versions.version(name).missing == (OLDER_SERVER,)
    site.write("policy.conf", (site.folder / "policy.conf").read_text() + "# another\n")
    name, line = site.in_force(tables="loc", cut="values at 1000")
    kept.keep(line)
    assert site.versions.version(name).missing == ()
    kept.keep(line.replace(name.encode(), b"../../oh"), line.replace(b'"policy": "', b'"policy": "../'))
    assert len(site.versions.every()) == 2


def test_more_tables_than_a_line_has_room_for(site):
    """The server cuts the line; all of them are kept."""
    names = [f"a_table_whose_name_takes_much_of_the_room_of_a_line_{number}" for number in range(70)]
    policy = "".join(f"table {name} cidr networks.txt\nacl {name} client_address table:{name}\n" for name in names)
    site.write("policy.conf", f"{policy}action no REJECT\naccess {names[0]} no\n")
    site.compile()
    name, line = site.in_force()
    fields = json.loads(line)
    told = {key: fields[key] for key in ("in_force", "host", "generation", "policy", "settings", "tables")}
    written = LogPipe(-1, "json", {"worker": 1}).line("info", "in force", **told)
    assert len(written) < len(line)
    kept = Kept(site)
    kept.keep(written)
    assert kept.said == []
    assert list(site.versions.version(name).tables) == names
    assert_complete(site, site.versions.version(name))


def test_a_cut_line_is_checked_by_its_id(site):
    """Where it has no room for all tables, those on disk may be others."""
    name, line = site.in_force(tables="loc", cut="values at 1000")
    site.write("networks.txt", "203.0.113.0/24\n")
    site.compile()
    Kept(site).keep(line)
    (missing,) = site.versions.version(name).missing
    assert missing == "the tables are others: they were compiled again before they were kept"


def test_no_secret_is_kept(site):
    """Neither in an URL nor as the key of a DNS list nor from a file that is one. The policy still loads."""
    secrets = ("s3cret-one", "s3crettwo", "s3cretthree")
    site.write(
        "policy.conf",
        f"# postgresql://u:{secrets[0]}@h/db\n{POLICY}"
        f"table users key sql:postgresql://u:{secrets[0]}@h/db:SELECT name FROM users\n"
        f"acl listed rbl {secrets[1]}.zen.dq.spamhaus.net=127.0.0.2\n"
        "acl keyed rbl key=paid.key zen.dq.spamhaus.net\n"
        "access listed no\naccess keyed no\n",
    )
    site.write("paid.key", f"{secrets[2]}\n")
    name, line = site.in_force()
    kept = Kept(site)
    kept.keep(line)
    kept_bytes = b"".join(zlib.decompress(each.read_bytes()) for each in site.versions.path.glob("*.policy"))
    assert b"zen.dq.spamhaus.net" in kept_bytes
    assert not [each for each in secrets if each.encode() in kept_bytes]
    with version_of_then(site.versions, name, "mx1") as loaded:
        zones = [zone.name for acl in loaded.policy.model.acls.values() for m in acl.matchers for zone in m.zones]
        assert zones == ["zen.dq.spamhaus.net"] * 2


def test_the_oldest_go_first_and_what_is_in_force_stays(site):
    """By bytes and by days; parts go with the last version that needs them."""
    kept = Kept(site, versions_bytes="1M")
    names, lines = [], []
    for number in range(6):
        users = random.Random(number).sample(range(1 << 30), 20_000)
        site.write("blocked.txt", "".join(f"u{each}@example.org\n" for each in users))
        site.compile()
        name, line = site.in_force()
        kept.keep(line)
        names.append(name)
        lines.append(line)
    every = [each.id for each in site.versions.every()]
    assert every == names[-len(every) :]
    Kept(site, versions_bytes="1M").keep(*lines)
    assert [each.id for each in site.versions.every()] == every
    assert 1 <= len(every) < 6
    assert all(site.versions.has(part) for each in site.versions.every() for part in each.parts)
    needed = {part for each in site.versions.every() for part in each.parts}
    assert {name for name in kept.parts() if not name.endswith(".json")} == needed


def test_a_version_goes_with_the_last_decision_that_may_speak_of_it(site):
    """keep_days after another one followed, however long it was in force."""
    kept = Kept(site, keep_days=3)
    first, line = site.in_force(at_s=NOON_S - 20 * DAY_S)
    site.write("policy.conf", "")
    second, later = site.in_force(at_s=NOON_S - DAY_S)
    site.write("policy.conf", POLICY)
    kept.keep(line)
    site.write("policy.conf", "")
    kept.keep(later)
    assert [each.id for each in site.versions.every()] == [first, second]
    for days, left in ((2, [first, second]), (3, [second]), (300, [second])):
        kept.now_s = NOON_S + days * DAY_S
        kept.keep()
        assert [each.id for each in site.versions.every()] == left
    assert len(kept.parts()) == 2


def test_an_older_version_that_is_in_force_again_is_the_newest(site):
    """A policy that was changed and changed back."""
    kept = Kept(site)
    first, line = site.in_force()
    kept.keep(line)
    site.write("policy.conf", "")
    kept.keep(site.in_force()[1])
    site.write("policy.conf", POLICY)
    again, line = site.in_force()
    kept.keep(line)
    assert again == first
    assert [each.id for each in site.versions.every()][-1] == first


def test_versions_that_were_not_kept_are_kept_by_the_next_ingester(site):
    """Lines that were taken in by one without rights or room are read again at the start."""
    name, line = site.in_force()
    site.append(line)
    store = Store(str(site.history))
    ingester = Ingester(str(site.log), store, 30, print)
    ingester.turn()
    ingester.close()
    assert site.versions.version(name) is None
    ingester = Ingester(str(site.log), Store(str(site.history)), 30, print, keeper=site.keeper())
    ingester.turn()
    ingester.close()
    assert site.versions.version(name).missing == ()


def keep_in_steps(site, asking):
    """Take the log in; ask before each step that changes the disk, and say when it is over."""

    def step(act):
        def stepped(*arguments, **named):
            asking.send(b"?")
            asking.recv(1)
            return act(*arguments, **named)

        return stepped

    for owner, names in (
        (os, ("open",)),
        (zlib, ("compressobj",)),
        (Path, ("replace", "mkdir", "unlink")),
        (Store, ("commit",)),
    ):
        for name in names:
            setattr(owner, name, step(getattr(owner, name)))
    take_in(site)
    asking.send(b"!")


def take_in(site):
    """One turn of an ingester, with room for one version."""
    keeper = site.keeper(versions_bytes="1K")
    ingester = Ingester(str(site.log), Store(str(site.history)), 30, print, keeper=keeper)
    ingester.turn()
    ingester.close()


def killed_at(site, steps):
    """Whether another process that is killed before this step has come to its end instead."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            keep_in_steps(site, theirs)
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        for _ in range(steps - 1):
            if ours.recv(1) == b"!":
                break
            ours.send(b".")
        else:
            # It stands before the step, or says that there is none.
            is_over = ours.recv(1) == b"!"
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return is_over
    os.waitpid(pid, 0)
    return True


def test_a_kill_at_any_step_leaves_no_half_version(site, tmp_path):
    """Each version that is there can be read to its end, also while the previous one makes room; and the next run
    completes what is missing.
    """
    first, line = site.in_force()
    site.append(line)
    take_in(site)
    before = shutil.copytree(site.history, tmp_path / "before")
    change = "192.0.2.0/24\n198.51.100.0/24\n"
    site.write("networks.txt", change)
    site.compile()
    second, line = site.in_force()
    site.append(line)
    steps, done, seen = 0, False, set()
    while not done:
        steps += 1
        shutil.rmtree(site.history)
        shutil.copytree(before, site.history)
        done = killed_at(site, steps)
        seen.add(tuple(version.id for version in site.versions.every()))
        for version in site.versions.every():
            assert_complete(site, version)
        take_in(site)
        assert [version.id for version in site.versions.every()] == [second]
        assert_complete(site, site.versions.version(second))
        assert len(list(site.versions.path.iterdir())) == 4
    assert seen == {(first,), (first, second), (second,)}


def assert_complete(site, version):
    """Whether all of a version can be loaded."""
    assert version.missing == ()
    with version_of_then(site.versions, version.id, "mx1") as loaded:
        assert [table.version for table in loaded.tables.values()] == list(version.tables.values())
