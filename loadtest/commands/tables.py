"""`python -m loadtest tables`: how fast tables compile and answer, and what they cost in memory, on generated data.

Networks: IPv4 and IPv6, every fifth inside another one, with values. Domains: every third a `.name`. Beside the same
data in a dict, in pytricia and py-radix where they are installed, and in Postfix's own maps by `postmap -q`. CPU is
measured in one process, because that is what a worker pays; results go to standard output as Markdown, and behind them
how much a look-up's cost grows from the smallest size to the largest.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Any

from forkpolicy.tables.keys import domain_keys
from forkpolicy.tables.reader import open_table, verify_file
from loadtest.options import at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

VALUES = ("", "permit", "REJECT", "EU", "US", "AD")
QUESTIONS = 200_000
# Other guests of the machine slow a round down by half, for seconds at a time: one of so many is left alone.
ROUNDS = 9
WORKERS = 8
POSTMAP_PATIENCE_S = 60
KIB = 1024
COLUMNS = [
    "kind",
    "entries",
    "compile",
    "its CPU",
    "entries/s",
    "peak memory",
    "file",
    "to verify",
    "look-up us",
    "as mail asks us",
    "own memory",
    f"PSS of {WORKERS}",
]
OTHERS = ["dict us", "pytricia us", "py-radix us", "postmap -q us"]


def networks(count: int, rng: random.Random) -> Iterator[str]:
    """Lines of a cidr source: 70 % IPv4; every fifth network lies inside the one before it."""
    bits, number, length = 32, 0, 8
    for turn in range(count):
        if turn % 5 == 4 and length < bits - 1:
            inner = rng.randint(length + 1, bits)
            number |= rng.getrandbits(bits - length) >> (bits - inner) << (bits - inner)
            length = inner
        elif rng.random() < 0.7:
            bits, length = 32, rng.choice((20, 22, 24, 24, 24, 28, 32))
            number = (rng.randrange(1 << 24, 224 << 24)) >> (bits - length) << (bits - length)
        else:
            bits, length = 128, rng.choice((40, 48, 48, 56, 64, 128))
            number = (0x20010000 + rng.getrandbits(24)) << 96 | rng.getrandbits(96)
            number = number >> (bits - length) << (bits - length)
        family = AF_INET if bits == 32 else AF_INET6
        # The value follows from the network, so that a network that comes twice does not contradict itself.
        yield f"{inet_ntop(family, number.to_bytes(bits // 8, 'big'))}/{length} {VALUES[(number >> 4) % len(VALUES)]}\n"


def domains(count: int, rng: random.Random) -> Iterator[str]:
    """Lines of a domain source; every third is a `.name`."""
    for turn in range(count):
        yield f"{'.' if turn % 3 == 2 else ''}n{rng.getrandbits(44):x}.example{rng.randrange(1000)}.com\n"


@dataclass
class Sample:
    """One generated list: where it is, and what to ask about it, half of it found."""

    kind: str
    count: int
    path: Path
    questions: list[str] = field(default_factory=list)


def generate(kind: str, count: int, directory: Path) -> Sample:
    """Write a list and choose questions."""
    rng = random.Random(count)
    sample = Sample(kind, count, directory / f"{kind}{count}")
    keep = max(1, count // (QUESTIONS // 2))
    with sample.path.open("w") as file:
        for number, line in enumerate((networks if kind == "cidr" else domains)(count, rng)):
            file.write(line)
            if number % keep == 0 and len(sample.questions) < QUESTIONS // 2:
                key = line.split()[0]
                sample.questions.append(
                    key.partition("/")[0] if kind == "cidr" else f"x{key}" if key[0] == "." else key
                )
    misses = networks(QUESTIONS // 2, rng) if kind == "cidr" else domains(QUESTIONS // 2, rng)
    sample.questions += [line.split()[0].partition("/")[0].lstrip(".") for line in misses]
    rng.shuffle(sample.questions)
    return sample


class PeakMemory(threading.Thread):
    """The largest proportional set of a process and its children together, sampled."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_kib = pid, 0
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._over.wait(0.05):
            self.peak_kib = max(self.peak_kib, sum(pss_kib(pid) for pid in family_of(self.pid)))

    def stop(self) -> int:
        """The peak in KiB."""
        self._over.set()
        self.join()
        return self.peak_kib


def family_of(pid: int) -> Iterator[int]:
    """A process and its children."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return
    yield from map(int, children.split())


def pss_kib(pid: int, what: tuple[str, ...] = ("Pss:",)) -> int:
    """Lines of smaps_rollup, added up."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(what))


def compile_sample(sample: Sample, directory: Path) -> list[object]:
    """Compile with the real command: entries a second and peak memory."""
    (directory / "forkpolicy.toml").write_text('policy = "policy.conf"\ntables = "tables"\n')
    (directory / "policy.conf").write_text(f"table t {sample.kind} {sample.path}\n")
    command = [sys.executable, "-m", "forkpolicy.compile.command", "-c", str(directory / "forkpolicy.toml")]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    compiler = subprocess.Popen([*command, "--allow-shrink"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    memory = PeakMemory(compiler.pid)
    memory.start()
    _, complaints = compiler.communicate()
    took_s = time.monotonic() - started
    peak_kib = memory.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if compiler.returncode:
        raise SystemExit(complaints.decode())
    size = (directory / "tables" / "t.lmdb").stat().st_size
    return [
        f"{took_s:.2f} s",
        f"{cpu_s:.2f} s",
        f"{sample.count / took_s:,.0f}",
        f"{peak_kib / KIB:.0f} MiB",
        f"{size / KIB / KIB:.1f} MiB",
    ]


def cpu_us(find: Callable[[str], object], questions: list[str]) -> float:
    """CPU microseconds a question: the best of the rounds, without the cost of the loop."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for text in questions:
            find(text)
        asked = time.process_time() - started
        started = time.process_time()
        for _text in questions:
            pass
        rounds.append(asked - (time.process_time() - started))
    return min(rounds) / len(questions) * 1e6


def verified_s(directory: Path) -> str:
    """CPU time of what a worker does before it takes a table up: reading all of it and comparing its digest."""
    started = time.process_time()
    verify_file(str(directory / "tables" / "t.lmdb")).close()
    return f"{time.process_time() - started:.2f} s"


def compiled_us(sample: Sample, directory: Path) -> list[float]:
    """A look-up in the compiled table: of what was never asked before, and of what mail asks."""
    table = open_table(str(directory / "tables" / "t.lmdb"), "t", sample.kind)
    try:
        return [cpu_us(table.find, sample.questions), cpu_us(table.find, as_mail_asks(sample.questions))]
    finally:
        table.close()


def as_mail_asks(questions: list[str]) -> list[str]:
    """As many questions, the n-th of them with a share of 1/n (Zipf): few domains and clients send most mail."""
    shares = list(itertools.accumulate(1 / (number + 1) for number in range(len(questions))))
    return random.Random(1).choices(questions, cum_weights=shares, k=len(questions))


def lines_of(sample: Sample) -> Iterator[tuple[str, str]]:
    """(key, value) of each line."""
    with sample.path.open() as file:
        for line in file:
            key, _, value = line.rstrip("\n").partition(" ")
            yield key, value


def dict_us(sample: Sample) -> float | str:
    """Domains in a dict, asked for the name and each parent."""
    if sample.kind == "cidr":
        return "-"
    entries = dict(lines_of(sample))
    return cpu_us(
        lambda name: next((entries[key] for key in domain_keys(name) if key in entries), None), sample.questions
    )


def trie_us(sample: Sample, module: str, make: Callable[[Any], Callable[[str], object]]) -> float | str:
    """Networks in a trie of another project."""
    if sample.kind != "cidr":
        return "-"
    try:
        return cpu_us(make(importlib.import_module(module)), sample.questions)
    except ImportError:
        return "not installed"


def pytricia_finder(sample: Sample) -> Callable[[Any], Callable[[str], object]]:
    """One trie a family, as pytricia wants it."""

    def make(pytricia: Any) -> Callable[[str], object]:
        tries = {False: pytricia.PyTricia(32), True: pytricia.PyTricia(128)}
        for key, value in lines_of(sample):
            tries[":" in key][key] = value
        return lambda text: tries[":" in text].get(text)

    return make


def radix_finder(sample: Sample) -> Callable[[Any], Callable[[str], object]]:
    """One tree for both families."""

    def make(radix: Any) -> Callable[[str], object]:
        tree = radix.Radix()
        for key, value in lines_of(sample):
            tree.add(key).data["value"] = value
        return tree.search_best  # type: ignore[no-any-return]

    return make


def postmap_us(sample: Sample, directory: Path) -> float | str:
    """Postfix's own look-up of the same keys: cidr as it is, domains as a map."""
    postmap = shutil.which("postmap", path=f"{os.environ['PATH']}:/usr/sbin")
    if not postmap:
        return "not installed"
    (directory / "main.cf").write_text("compatibility_level = 3.6\n")
    (directory / "master.cf").touch()
    base = [postmap, "-c", str(directory)]
    path = directory / f"postfix-{sample.path.name}"
    with path.open("w") as file:
        file.writelines(f"{key} {value or 'x'}\n" for key, value in lines_of(sample))
    kind = "cidr" if sample.kind == "cidr" else "hash"
    questions = sample.questions[:100] if kind == "cidr" else sample.questions
    try:
        if kind != "cidr":
            subprocess.run([*base, f"{kind}:{path}"], check=True, capture_output=True, timeout=POSTMAP_PATIENCE_S)
        # The difference between many questions and one leaves out reading the table.
        many, one = (
            _postmap_cpu_s([*base, "-q", "-", f"{kind}:{path}"], asked) for asked in (questions, questions[:1])
        )
    except subprocess.TimeoutExpired:
        return f"> {POSTMAP_PATIENCE_S} s to load"
    finally:
        path.unlink()
        path.with_name(f"{path.name}.db").unlink(missing_ok=True)
    return (many - one) / (len(questions) - 1) * 1e6


def _postmap_cpu_s(command: list[str], questions: Iterable[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, input="\n".join(questions).encode(), capture_output=True, timeout=POSTMAP_PATIENCE_S, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory_of_workers(sample: Sample, directory: Path) -> list[str]:
    """Eight processes that open the table and ask: what one has of its own, and what all have together."""
    children = []
    for _ in range(WORKERS):
        ours, theirs = os.pipe()
        go, wait = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(wait)
            _be_a_worker(sample, directory, theirs, go)
        os.close(theirs)
        os.close(go)
        children.append((pid, ours, wait))
    growth = [int(os.read(ours, 20)) for _, ours, _ in children]
    pss = sum(pss_kib(pid) for pid, _, _ in children)
    base = sum(pss_kib(pid, ("Pss_Anon:",)) for pid, _, _ in children)
    # Later children hold the pipes of earlier ones too: let go of all before waiting for any.
    for _, ours, wait in children:
        os.close(wait)
        os.close(ours)
    for pid, _, _ in children:
        os.waitpid(pid, 0)
    return [f"{max(growth) / KIB:.1f} MiB", f"{(pss - base) / KIB:.0f} MiB"]


def _be_a_worker(sample: Sample, directory: Path, ready: int, go: int) -> None:
    own = ("Private_Dirty:", "Private_Clean:")
    # A forked child makes a page its own by counting a reference in it: do that to the questions first.
    for text in sample.questions:
        text.casefold()
    # The first worker alone would own the pages that the second shares: count dirty pages, which are never shared.
    before = pss_kib(os.getpid(), own[:1])
    table = open_table(str(directory / "tables" / "t.lmdb"), "t", sample.kind)
    for text in sample.questions:
        table.find(text)
    os.write(ready, str(pss_kib(os.getpid(), own[:1]) - before).encode())
    os.read(go, 1)
    os._exit(0)


def shown(cell: object) -> str:
    """A cell as text."""
    return f"{cell:,.2f}" if isinstance(cell, float) else str(cell)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest tables", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=at_least(1), default=[1_000, 100_000, 5_000_000], help="entries")
    parser.add_argument("--kinds", nargs="*", default=["cidr", "domain"], choices=["cidr", "domain"])
    parser.add_argument("--alone", action="store_true", help="without the other libraries and Postfix")
    arguments = parser.parse_args(argv)
    titles = COLUMNS if arguments.alone else COLUMNS + OTHERS
    print(f"| {' | '.join(titles)} |")
    print(f"|{'---|' * len(titles)}")
    grown = []
    for kind in arguments.kinds:
        rows = []
        for size in sorted(arguments.sizes):
            with tempfile.TemporaryDirectory(prefix="forkpolicy-bench-") as name:
                rows.append(_row(kind, size, Path(name), alone=arguments.alone))
            print(f"| {' | '.join(map(shown, rows[-1]))} |", flush=True)
        grown.append(growth(titles, rows[0], rows[-1]))
    print("", *filter(None, grown), sep="\n")
    return 0


def growth(titles: Sequence[str], least: Sequence[object], most: Sequence[object]) -> str:
    """How many times its cost of the smallest table a look-up takes in the largest, ours and the others'."""
    times = [
        f"{title.removesuffix(' us')} x {large / small:.1f}"
        for title, small, large in zip(titles, least, most, strict=True)
        if title.endswith(" us") and isinstance(small, float) and isinstance(large, float)
    ]
    return f"{least[0]} from {least[1]} to {most[1]} entries: {', '.join(times)}" if least[1] != most[1] else ""


def _row(kind: str, size: int, directory: Path, *, alone: bool) -> list[object]:
    sample = generate(kind, size, directory)
    cells: list[object] = [kind, f"{size:,}", *compile_sample(sample, directory)]
    cells += [verified_s(directory), *compiled_us(sample, directory), *memory_of_workers(sample, directory)]
    if not alone:
        cells += [
            dict_us(sample),
            trie_us(sample, "pytricia", pytricia_finder(sample)),
            trie_us(sample, "radix", radix_finder(sample)),
            postmap_us(sample, directory),
        ]
    return cells


if __name__ == "__main__":
    sys.exit(main())
