"""apolicy's main.conf: what of it belongs into forkpolicy.toml, as comments at the head of the policy, and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.importing.left_out import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.source import SourceFile

TIMEOUT_HINT: Final = (
    "what it waited for is not documented; here a client may be idle for [server] idle_timeout, name servers have "
    "[dns] timeout, and a request [state] budget"
)
GREYLISTING_HINT: Final = "the times of greylisting stand in its ACL here: acl NAME greylisting delay=5m window=1d"
_LISTENS: Final = ("port", "listen", "address", "host", "bind", "interface", "ip")


def read_main_conf(source: SourceFile, draft: Draft) -> None:
    """Note what each parameter is here. Nothing of it is a rule, so nothing is left out."""
    section = ""
    for number, line in enumerate(source.lines, 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        if text[0] == "[" and text[-1] == "]":
            section = text[1:-1].strip().lower()
            continue
        name, _, value = (part.strip() for part in text.partition("="))
        origin = Origin(source.path, number)
        for hint in _hints(section, name.lower(), value):
            draft.header.append(f"{origin}: {name} = {value}: {hint}")
            draft.note(origin, f"{name} = {value}: {hint}")


def _hints(section: str, name: str, value: str) -> Iterator[str]:
    if name == "user":
        yield f'write [server] user = "{value}" in forkpolicy.toml'
    elif name == "policy_path":
        yield 'write policy = "policy.conf" in forkpolicy.toml, with the path of the imported policy'
    elif name == "timeout":
        yield TIMEOUT_HINT
    elif "grey" in section or name in ("time", "lifetime", "backend", "root"):
        yield GREYLISTING_HINT
    elif any(word in name for word in _LISTENS):
        yield 'if the daemon listened there, write [server] listen = ["inet:127.0.0.1:10001"] with its address and port'
    elif "log" in name:
        yield "[log] in forkpolicy.toml says what is logged, and where"
    else:
        yield "not known here; forkpolicy.toml(5) has all settings"
