"""Generated lists of networks and domains, and what to ask about them. The same size gives the same list."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Any

from loadtest.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

VALUES = ("", "permit", "REJECT", "EU", "US", "AD")
QUESTIONS = 200_000


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
    """One generated list: where it is, and what to ask about it, half of it found. `shape`: of a table of several
    columns, of which a question is a tuple.
    """

    kind: str
    count: int
    path: Path
    questions: list[Any] = field(default_factory=list)
    shape: str = ""

    def asking(self, find: Callable[..., object]) -> Callable[[Any], object]:
        """How one question is asked."""
        return (lambda texts: find(*texts)) if self.shape else find


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file. Raises SetupError where that is not possible."""
    try:
        with path.open("w") as file:
            file.writelines(lines)
    except OSError as error:
        raise SetupError(
            f"cannot write {path}: {error.strerror}: make room, or set TMPDIR to a larger place"
        ) from error


def generate(kind: str, count: int, directory: Path) -> Sample:
    """Write a list and choose questions."""
    rng = random.Random(count)
    sample = Sample(kind, count, directory / f"{kind}{count}")
    keep = max(1, count // (QUESTIONS // 2))

    def lines() -> Iterator[str]:
        for number, line in enumerate((networks if kind == "cidr" else domains)(count, rng)):
            yield line
            if number % keep == 0 and len(sample.questions) < QUESTIONS // 2:
                key = line.split()[0]
                sample.questions.append(
                    key.partition("/")[0] if kind == "cidr" else f"x{key}" if key[0] == "." else key
                )

    write_lines(sample.path, lines())
    misses = networks(QUESTIONS // 2, rng) if kind == "cidr" else domains(QUESTIONS // 2, rng)
    sample.questions += [line.split()[0].partition("/")[0].lstrip(".") for line in misses]
    rng.shuffle(sample.questions)
    return sample


def as_mail_asks(questions: list[Any]) -> list[Any]:
    """As many questions, the n-th of them with a share of 1/n (Zipf): few domains and clients send most mail."""
    shares = list(itertools.accumulate(1 / (number + 1) for number in range(len(questions))))
    return random.Random(1).choices(questions, cum_weights=shares, k=len(questions))


def lines_of(sample: Sample) -> Iterator[tuple[str, str]]:
    """(key, value) of each line."""
    with sample.path.open() as file:
        for line in file:
            key, _, value = line.rstrip("\n").partition(" ")
            yield key, value
