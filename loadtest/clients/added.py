"""What an ACL adds to a request: servers with and without it next to the C echo server, measured in turn (rounds.py).

An outcome `NAME` has the ACL, `without NAME` is the same policy without it. What is added is, in each round, the
difference of the two; the median of the rounds counts.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loadtest.clients.rounds import Outcome

C_ECHO: Final = "C echo"


@dataclass(frozen=True, slots=True)
class Row:
    """One policy. `added_us`: CPU that its ACL adds to a request; `added`: the same as a multiple of the echo server's
    cost; None without an ACL.
    """

    policy: str
    connections: int
    cpu_us: float
    cpu_us_median: float
    to_c_echo: float
    added_us: float | None
    added: float | None
    rate: float
    p99_us: int


def added_rows(outcomes: Mapping[str, Outcome], connections: int) -> list[Row]:
    """A row for each outcome, the echo server's first."""
    return [_row(name, connections, outcomes) for name in (C_ECHO, *(each for each in outcomes if each != C_ECHO))]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as text."""
    yield f"{'':<44}{'':>6}{'CPU us/request':>17}{'ratio to':>9}{'added':>15}"
    yield (
        f"{'policy':<44}{'conns':>6}{'least':>9}{'median':>8}{'C echo':>9}{'us':>8}{'echoes':>7}"
        f"{'requests/s':>12}{'p99 us':>11}"
    )
    for row in rows:
        added_us = "-" if row.added_us is None else f"{row.added_us:.1f}"
        added = "-" if row.added is None else f"{row.added:.2f}"
        yield (
            f"{row.policy:<44}{row.connections:>6}{row.cpu_us:>9.2f}{row.cpu_us_median:>8.2f}{row.to_c_echo:>9.2f}"
            f"{added_us:>8}{added:>7}{row.rate:>12,.0f}{row.p99_us:>11,}"
        )


def _row(name: str, connections: int, outcomes: Mapping[str, Outcome]) -> Row:
    outcome, echo, without = outcomes[name], outcomes[C_ECHO], outcomes.get(f"without {name}")
    added_us = added = None
    if without:
        differences = [mine - its for mine, its in zip(outcome.cpu_us, without.cpu_us, strict=True)]
        added_us = statistics.median(differences)
        added = statistics.median(each / echos for each, echos in zip(differences, echo.cpu_us, strict=True))
    return Row(
        name,
        connections,
        min(outcome.cpu_us),
        statistics.median(outcome.cpu_us),
        outcome.ratio_to(echo),
        added_us,
        added,
        statistics.median(outcome.rates),
        outcome.latency.percentile(99),
    )
