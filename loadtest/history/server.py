"""A server of today's build that writes the history's log: lines of it, and what they cost it next to the JSON log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from loadtest.clients.policy_client import PolicyClient
from loadtest.clients.rounds import Contender, in_turn
from loadtest.servers.server import Server
from loadtest.traffic.mail import policy_request
from loadtest.traffic.past_decisions import MARKED
from loadtest.traffic.traffic import POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.traffic.traffic import Day

_HISTORY: Final = '[history]\nlog = "history.json"\ndecisions = "all"\n'
JSON_LOG, HISTORY, BOTH = "JSON log of all", "history of all", "both"
# What each of them logs of the decisions, and what it keeps for the history.
_LOGS: Final = {JSON_LOG: ("all", ""), HISTORY: ("none", _HISTORY), BOTH: ("all", _HISTORY)}
Row = dict[str, float | str]


def written_lines(directory: Path, day: Day) -> list[bytes]:
    """What the server logs of each of MARKED."""
    server = Server(directory, POLICY, sources=day.sources, decisions="none", state_and_more=_HISTORY)
    with server, PolicyClient(server.socket_path) as client:
        for mail in MARKED:
            client.ask(policy_request(mail, mail.recipients[0], 1))
    lines = (directory / "history.json").read_bytes().splitlines()
    return [line for line in lines if json.loads(line)["event"] == "decision"]


def logged_costs(
    stack: ExitStack, directory: Path, day: Day, connections: Sequence[int], rounds: int, seconds: float
) -> list[Row]:
    """CPU of a request, all processes of the server, for each of _LOGS and number of connections: measured in turn."""
    contenders = []
    for number, (name, (decisions, history)) in enumerate(_LOGS.items()):
        server = Server(
            directory / f"logging-{number}",
            POLICY,
            sources=day.sources,
            decisions=decisions,
            log_format="json",
            state_and_more=history,
        )
        stack.enter_context(server)
        contenders.append(Contender(name, server.socket_path, server.process_ids(), day.requests()))
    return [row for each in connections for row in _rows(contenders, each, rounds=rounds, seconds=seconds)]


def _rows(contenders: Sequence[Contender], connections: int, *, rounds: int, seconds: float) -> list[Row]:
    compared = in_turn(contenders, connections=connections, rounds=rounds, seconds=seconds)
    alone = compared.outcomes[0]
    return [
        {
            "server": contender.name,
            "connections": connections,
            "cpu_us": min(outcome.cpu_us),
            "to_json_log": outcome.ratio_to(alone),
            "least_to_json_log": min(outcome.cpu_us) / min(alone.cpu_us),
        }
        for contender, outcome in zip(contenders, compared.outcomes, strict=True)
    ]
