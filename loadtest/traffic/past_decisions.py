"""Decisions of many days, as lines of the history's log: made from a few lines that a server has written, in which the
marks below stand where every decision has values of its own.

Skewed as mail is: a few recipients, senders and clients have most of it, most have little. The same seed gives the same
decisions. Knows no server.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from loadtest.traffic.mail import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKED: Final = (
    Transaction("forged", "198.51.100.77", "marked-sender@example.com", ("marked-recipient@example.com",)),
    Transaction("elsewhere", "198.51.100.77", "marked-sender@sender.example", ("marked-recipient@example.com",)),
)
# The form of ids of decisions and files.
_CHARACTERS: Final = "0123456789bcdfghjklmnpqrstvwxyz"
_ID_CHARS: Final = 12
_TIME_CHARS: Final = len("2026-11-28T20:37:54.123Z")
# Addresses of a large site, and of those that write to it.
_RECIPIENTS, _SENDERS, _DOMAINS, _CLIENTS = 20_000, 2_000_000, 300_000, 400_000


class Values(NamedTuple):
    """What one decision has of its own, for questions that find it."""

    id: str
    client: str
    sender: str
    recipient: str


class PastDecisions:
    """An endless day. `lines` of a server: one for each of MARKED, without its end."""

    def __init__(self, lines: Sequence[bytes], seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._texts = [_template(line.decode()) for line in lines]

    def decisions(self, count: int, begin_s: float, span_s: float) -> Iterator[tuple[Values, bytes]]:
        """So many lines, evenly over a span of time."""
        chance = self._chance
        for number in range(count):
            at_ms = int((begin_s + span_s * number / count) * 1000)
            text = self._texts[chance.random() < 0.5]
            values = self._values(chance, "example.com" if text is self._texts[0] else "")
            queue = f"4F{chance.getrandbits(36):09X}" if number % 3 == 0 else ""
            filled = text % {**values._asdict(), "time": _time_text(at_ms), "queue": queue, "instance": number}
            yield values, filled.encode() + b"\n"

    @staticmethod
    def _values(chance: random.Random, our_domain: str) -> Values:
        client = _skewed(chance, 0.7, 20, _CLIENTS)
        domain = our_domain or f"d{_skewed(chance, 0.7, 30, _DOMAINS)}.example"
        return Values(
            "".join(chance.choices(_CHARACTERS, k=_ID_CHARS)),
            f"198.{18 + (client >> 16 & 1)}.{client >> 8 & 255}.{client & 255}",
            f"sender{_skewed(chance, 0.5, 30, _SENDERS)}@{domain}",
            f"staff{_skewed(chance, 1.0, 50, _RECIPIENTS)}@example.com",
        )


def _skewed(chance: random.Random, shape: float, scale: float, of: int) -> int:
    """A number below `of`; those of the first few come often: 0 in two to four of a hundred decisions."""
    return int((chance.paretovariate(shape) - 1) * scale) % of


def file_begins(file_id: str, at_s: float) -> bytes:
    """The first line of a file of the log."""
    fields = f'"level":"info","event":"file begins","process":"logger","file":"{file_id}","host":"mx1"'
    return f'{{"time":"{_time_text(int(at_s * 1000))}",{fields}}}\n'.encode()


def _template(line: str) -> str:
    """For the % operator: with what is to be filled in, in place of the marks."""
    text = line.replace("%", "%%")
    mail = next(each for each in MARKED if f'"sender":"{each.sender}"' in line)
    time_at = text.index('"time":"') + len('"time":"')
    text = text[:time_at] + "%(time)s" + text[time_at + _TIME_CHARS :]
    id_at = text.index('"id":"') + len('"id":"')
    text = text[:id_at] + "%(id)s" + text[id_at + _ID_CHARS :]
    for mark, name in ((mail.client, "client"), (mail.sender, "sender"), (mail.recipients[0], "recipient")):
        text = text.replace(f'"{mark}"', f'"%({name})s"')
    text = text.replace('"queue_id":""', '"queue_id":"%(queue)s"')
    return text.replace('"instance":"1.', '"instance":"%(instance)x.')


def _time_text(at_ms: int) -> str:
    seconds, thousandths = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{thousandths:03d}Z"
