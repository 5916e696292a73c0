"""The file that names hosts, and how each is asked. Raises ConfigError with every mistake in it.

    # name  way      where
    mx1     ssh      mx1.example.com
    mx2     ssh      ssh://ops@mx2:2222 -- sudo forkpolicy status --json
    mx3     metrics  http://192.0.2.3:9154/metrics
    mx4     here     -- forkpolicy status --json -c /etc/second.toml

Words are divided as a shell divides them. Behind `--` stands the command that prints the status there.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from forkpolicy.errors import ConfigError, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Sequence

WAYS: Final = ("ssh", "metrics", "here")
_EXPECTED: Final = "expected NAME ssh DESTINATION, NAME metrics URL or NAME here"


@dataclass(frozen=True, slots=True)
class Asked:
    """A host. `where`: the words of ssh, or a URL; `command`: what is run there, empty for the usual one."""

    name: str
    way: str
    where: tuple[str, ...]
    command: tuple[str, ...]


def read_hosts(path: str, text: str) -> list[Asked]:
    """The hosts that the text of a file names."""
    hosts, mistakes = dict[str, Asked](), list[Diagnostic]()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            asked = _host(shlex.split(line, comments=True))
        except ValueError as error:
            mistakes.append(Diagnostic(path, number, 1, str(error)))
            continue
        if asked and asked.name in hosts:
            mistakes.append(Diagnostic(path, number, 1, f'"{asked.name}" stands twice: expected another name'))
        elif asked:
            hosts[asked.name] = asked
    if not hosts and not mistakes:
        mistakes.append(Diagnostic(path, 1, 1, f"no host is named: {_EXPECTED}"))
    if mistakes:
        raise ConfigError(mistakes)
    return list(hosts.values())


def _host(words: Sequence[str]) -> Asked | None:
    """Raises ValueError."""
    if not words:
        return None
    if len(words) < 2 or words[1] not in WAYS:
        raise ValueError(f'"{" ".join(words)}" does not say how the host is asked: {_EXPECTED}')
    name, way, *rest = words
    at = rest.index("--") if "--" in rest else len(rest)
    where, command = tuple(rest[:at]), tuple(rest[at + 1 :])
    if at < len(rest) and not command:
        raise ValueError('"--" is followed by no command: expected one that prints what forkpolicy status --json does')
    if way == "ssh" and not where:
        raise ValueError("ssh needs a destination: USER@HOST, and options of ssh if there are any")
    if way == "metrics" and (command or len(where) != 1 or not _is_url(where[0])):
        raise ValueError("metrics needs one URL: http://HOST:PORT/metrics")
    if way == "here" and where:
        raise ValueError(f'"{where[0]}" is not understood: here is followed by nothing, or by -- and a command')
    return Asked(name, way, where, command)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
