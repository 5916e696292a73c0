"""Generated tables of kind `pair`, and what to ask about them: a usual one, and shapes that are made to be slow.

* pair: networks of six lengths, each with one sender; a third of those is a domain, a third all below one
* pair-logins: logins with domains that they may send as
* pair-any: `*` in the first column of every entry
* pair-one: one network, in which all senders are
* pair-nested: 25 networks one inside the other, each with a share of the senders; asked for an address within all of
  them, the sender is an entry of any, or of none
* pair-forms: two columns of mail addresses, each with all forms of patterns, so that all of each are tried
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from loadtest.tables.lists import QUESTIONS, Sample, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # The columns of an entry, and the values of a request that finds it.
    Row = tuple[str, str, tuple[str, str]]

NESTED_BEGIN: Final = 0x0A0A0A0A
NESTED_LENGTHS: Final = range(8, 33)


def generate_pairs(shape: str, count: int, directory: Path) -> Sample:
    """Write a table of that shape and choose questions, half of which find an entry."""
    rng = random.Random(count)
    first = {"pair-logins": "text", "pair-forms": "address"}.get(shape, "network")
    sample = Sample(f"pair:{first},address", count, directory / f"{shape}{count}", shape=shape)
    keep = max(1, count // (QUESTIONS // 2))

    def lines() -> Iterator[str]:
        for number in range(count):
            first, second, asked = SHAPES[shape](number, rng)
            if number % keep == 0 and len(sample.questions) < QUESTIONS // 2:
                sample.questions.append(asked)
            # The value follows from the columns, so that columns that come twice do not contradict each other.
            yield f"{first} {second} v{len(first + second) % 7}\n"

    write_lines(sample.path, lines())
    others = (SHAPES[shape](number, rng) for number in range(QUESTIONS // 2))
    sample.questions += [(asked[0], f"x{_sender(rng)}") for _, _, asked in others]
    rng.shuffle(sample.questions)
    return sample


def _sender(rng: random.Random) -> str:
    return f"u{rng.getrandbits(20)}@n{rng.getrandbits(44):x}.example{rng.randrange(1000)}.com"


def _usual(number: int, rng: random.Random) -> Row:
    sender, length = _sender(rng), rng.choice((16, 20, 24, 24, 28, 32))
    begin = rng.randrange(1 << 24, 224 << 24)
    domain = sender.partition("@")[2]
    return _network(begin, length), (sender, domain, f".{domain.partition('.')[2]}")[number % 3], (_text(begin), sender)


def _logins(number: int, rng: random.Random) -> Row:
    login, sender = f"login{number // 3}", _sender(rng)
    return login, sender.partition("@")[2], (login, sender)


def _any(_number: int, rng: random.Random) -> Row:
    sender = _sender(rng)
    return "*", sender, (_text(rng.getrandbits(32)), sender)


def _one(_number: int, rng: random.Random) -> Row:
    sender = _sender(rng)
    return "10.0.0.0/8", sender, (_text(10 << 24 | rng.getrandbits(24)), sender)


def _nested(number: int, rng: random.Random) -> Row:
    sender = _sender(rng)
    network = _network(NESTED_BEGIN, NESTED_LENGTHS[number % len(NESTED_LENGTHS)])
    return network, (sender, sender.partition("@")[2])[number % 2], (_text(NESTED_BEGIN), sender)


def _forms(number: int, rng: random.Random) -> Row:
    asked = _sender(rng), _sender(rng)
    first, second = (_pattern(number >> 2 * at, address) for at, address in enumerate(asked))
    return first, second, asked


def _pattern(number: int, address: str) -> str:
    local, _, domain = address.partition("@")
    return (address, domain, f".{domain.partition('.')[2]}", f"{local}@")[number % 4]


def _network(address: int, length: int) -> str:
    return f"{_text(address >> (32 - length) << (32 - length))}/{length}"


def _text(address: int) -> str:
    return ".".join(str(byte) for byte in address.to_bytes(4, "big"))


SHAPES: Final[dict[str, Callable[[int, random.Random], Row]]] = {
    "pair": _usual,
    "pair-logins": _logins,
    "pair-any": _any,
    "pair-one": _one,
    "pair-nested": _nested,
    "pair-forms": _forms,
}
