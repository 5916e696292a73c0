"""The main.cf that asks the imported policy: lists with the questions in them, and what the server must know. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.importing.access.map_files import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.importing.access.main_cf import MainCf


def list_lines(name: str, items: Sequence[str]) -> list[str]:
    """A restriction list, one restriction a line."""
    last = len(items) - 1
    return [f"{name} =", *(f"    {item}{',' if at < last else ''}" for at, item in enumerate(items))]


def rewritten(main: MainCf, changed: Mapping[str, Sequence[str]]) -> str:
    """The text of main.cf with these parameters replaced where they stand."""
    begins = {main.parameters[name].line.numbers[0]: name for name in changed}
    within = {number for name in changed for number in main.parameters[name].line.numbers}
    lines: list[str] = []
    for number, line in enumerate(main.source.lines, 1):
        if number in begins:
            lines += changed[begins[number]]
        elif number not in within:
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def mail_settings(main: MainCf) -> list[str]:
    """The lines of forkpolicy.toml without which a policy sees other addresses than Postfix."""
    settings = list(_settings(main))
    return ["forkpolicy.toml needs:", "", "    [mail]", *(f"    {line}" for line in settings), ""] if settings else []


def _settings(main: MainCf) -> Iterator[str]:
    given = main.parameters
    if delimiter := main.value("recipient_delimiter"):
        yield f'recipient_delimiter = "{delimiter}"'
    for name in ("myorigin", "mydomain"):
        value = main.value(name) if name in given else ""
        if value and "/" not in value:
            yield f'{name} = "{value}"'
    local = [word for word in members(main.value("mydestination")) if ":" not in word and "/" not in word]
    if "mydestination" in given and local:
        quoted = ", ".join(f'"{word}"' for word in local)
        yield f"local_domains = [{quoted}]"
