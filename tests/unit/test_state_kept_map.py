"""The copy on disk: whole after any loss of power."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from forkpolicy.errors import StateError
from forkpolicy.state import keys
from forkpolicy.state.kept_map import KeptMap
from forkpolicy.state.questions.listed import Remember
from tests.stores import MIB, Clock, greylisting, make_map, rate

PAGE_BYTES = 4096
# A process of its own: LMDB ends the one that reads a broken map.
READ_ALL = """
import json, sys, lmdb
for directory in sys.argv[1:]:
    with lmdb.open(directory, readonly=True, lock=False) as env, env.begin() as txn:
        print(json.dumps([[key.hex(), record.hex()] for key, record in txn.cursor()]), flush=True)
"""


@pytest.fixture
def live(tmp_path):
    live = make_map(tmp_path / "live", Clock())
    yield live
    live.close()


@pytest.fixture
def kept(tmp_path):
    kept = KeptMap.open(str(tmp_path / "kept"), 4 * MIB)
    yield kept
    kept.close()


def content_of(directories):
    """What each map has; the process that reads them must live."""
    command = [sys.executable, "-c", READ_ALL, *map(str, directories)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    maps = map(json.loads, done.stdout.splitlines())
    return [[(bytes.fromhex(key), bytes.fromhex(record)) for key, record in content] for content in maps]


def pages(path):
    data = Path(path).read_bytes()
    return [data[at : at + PAGE_BYTES] for at in range(0, len(data), PAGE_BYTES)]


def test_any_power_cut_within_a_commit_leaves_it_whole(tmp_path, live, kept):
    """The disk has any of the pages that the commit wrote, and its last page only when it has all of them."""
    rng = random.Random(21)
    for number in range(2000):
        live.ask(Remember("bad", (str(number),), 600))
    kept.keep(live, live.take_changed())
    file = tmp_path / "kept" / "data.mdb"
    before, content_before = pages(file), live.walk(b"", b"", 10**6)
    for number in rng.sample(range(4000), 300):
        live.ask(Remember("bad", (str(number),), 900))
    kept.keep(live, live.take_changed())
    after, content_after = pages(file), live.walk(b"", b"", 10**6)
    before += [bytes(PAGE_BYTES)] * (len(after) - len(before))
    written = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    meta, data = [at for at in written if at < 2], [at for at in written if at >= 2]
    assert len(meta) == 1
    assert len(data) > 10
    images = []
    for number in range(40):
        reached = set(data[:0] if number == 0 else data if number == 1 else rng.sample(data, rng.randrange(len(data))))
        images.append(write_image(tmp_path / f"cut{number}", before, after, reached))
    images.append(write_image(tmp_path / "done", before, after, {*data, *meta}))
    *cut, done = content_of(images)
    assert all(content == content_before for content in cut)
    assert done == content_after


def write_image(directory, before, after, reached):
    directory.mkdir()
    chosen = (new if at in reached else old for at, (old, new) in enumerate(zip(before, after, strict=True)))
    (directory / "data.mdb").write_bytes(b"".join(chosen))
    return directory


def test_a_commit_waits_for_its_pages_before_its_last_page(kept):
    """What the test above takes for granted is LMDB's promise with these settings."""
    flags = kept._env.flags()
    assert (flags["sync"], flags["metasync"], flags["writemap"]) == (True, True, False)


def test_only_what_changed_is_written(live, kept):
    """A key that is gone goes; one that was reported twice is one."""
    live.ask(Remember("bad", ("x",), 600))
    live.ask(rate((3, 60)))
    assert kept.keep(live, live.take_changed()) == 2
    live.reset(keys.prefix(keys.LISTED))
    assert kept.keep(live, live.take_changed()) == 1
    assert kept.keep(live, live.take_changed()) == 0
    assert [keys.show(key).kind for key, _ in content_of([kept.directory])[0]] == ["rate"]


def test_a_smaller_live_map_gets_what_matters(tmp_path, kept):
    """Counters, lists, and what has passed; triplets that wait as far as there is room."""
    clock = Clock()
    large = make_map(tmp_path / "large", clock, 8 * MIB)
    for number in range(10_000):
        clock.wait(0.01)
        large.ask(greylisting(sender=f"bad{number}@example.org"))
    for number in range(500):
        large.ask(greylisting(sender=f"good{number}@example.org", delay_s=0))
        large.ask(Remember("bad", (str(number),), 600))
    kept.keep(large, large.take_changed())
    small = make_map(tmp_path / "small", clock, MIB)
    kept.restore(small)
    kinds = [keys.show(key).kind for key, _ in small.walk(b"", b"", 10**6)]
    assert kinds.count("listed") == 500
    assert all(small.peek(greylisting(sender=f"good{number}@example.org")).result == "known" for number in range(500))
    assert small.share_used() < 0.9
    small.close()
    large.close()


def test_a_kept_map_that_is_not_one_is_reported(tmp_path):
    """In words, with what to do."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "data.mdb").write_bytes(b"x" * 10_000)
    with pytest.raises(StateError, match="move it away"):
        KeptMap.open(str(tmp_path / "kept"), MIB)


def test_what_has_expired_is_not_restored(tmp_path, kept):
    """The machine was off for an hour."""
    clock = Clock()
    live = make_map(tmp_path / "live", clock)
    live.ask(Remember("bad", ("x",), 60))
    live.ask(Remember("bad", ("y",), 7200))
    kept.keep(live, live.take_changed())
    clock.wait(3600)
    fresh = make_map(tmp_path / "fresh", clock)
    assert kept.restore(fresh) == 1
    fresh.close()
    live.close()
