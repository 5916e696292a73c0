"""What a day of a site looks like: a TOML file of volumes, shares and networks. Built-in ones are in profiles/.

Raises SetupError with all mistakes of the file at once; unknown keys are mistakes. Reads files, makes no mail.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from loadtest.errors import SetupError
from loadtest.traffic.mail_kinds import KINDS

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True, slots=True)
class Profile:
    """One site and its day."""

    name: str
    transactions: int
    # What is in its tables: domains (`.name`: everything below), networks, and how many more are made up.
    domains: tuple[str, ...]
    networks: tuple[str, ...]
    extra_domains: int = 0
    extra_networks: int = 0
    # Where the clients of everybody else are.
    outside: tuple[str, ...] = ()
    # Relative volume of each hour of the day.
    hours: tuple[float, ...] = (1.0,) * 24
    # Kind of mail (mail_kinds.py) to its part of the whole.
    shares: dict[str, float] = field(default_factory=dict)
    seed: int = 1


def names() -> list[str]:
    """The built-in profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def load_profile(name: str, **changes: Any) -> Profile:
    """A built-in profile by name, or the file at a path. `changes` that are not None replace its values."""
    path = Path(name) if name.endswith(".toml") else PROFILES / f"{name}.toml"
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise SetupError(
            f"no profile {name!r}: built in are {', '.join(names())}; a file's name ends in .toml"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"{path}: {error}") from error
    document |= {key: value for key, value in changes.items() if value is not None}
    mistakes = list(_mistakes(document))
    if mistakes:
        raise SetupError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
    return Profile(name=path.stem, **values)


def _mistakes(document: dict[str, Any]) -> list[str]:
    """All of one kind: a file with an unknown key may lack a known one, and texts cannot be added up."""
    known = [each.name for each in fields(Profile) if each.name != "name"]
    mistakes = _unknown(document, known, "key")
    required = ("transactions", "domains", "networks", "outside", "shares")
    mistakes += [f'"{key}" is missing' for key in required if key not in document]
    if mistakes:
        return mistakes
    mistakes = [wrong for key, value in document.items() if (wrong := _wrong_kind(key, value))]
    if mistakes:
        return mistakes
    shares = document["shares"]
    mistakes = _unknown(shares, list(KINDS), "kind of mail")
    if not mistakes and abs(sum(shares.values()) - 1) > 0.001:
        mistakes.append(f"the shares add up to {sum(shares.values()):g} and not to 1")
    hours = document.get("hours", [1] * 24)
    if len(hours) != 24:
        mistakes.append(f"hours has {len(hours)} values and not 24")
    if not sum(hours):
        mistakes.append("hours: no mail comes in any of them")
    for key in ("networks", "outside"):
        mistakes += [f"{key}: {wrong}" for wrong in map(_network_mistake, document[key]) if wrong]
    return mistakes


def _wrong_kind(key: str, value: object) -> str:
    """What the value of a key should have been; empty when it is that."""
    if key in ("domains", "networks", "outside"):
        right, expected = _all(value, str) and bool(value), "a list of texts with at least one"
    elif key == "hours":
        right, expected = _all(value, int, float), "24 numbers, none below 0"
    elif key == "shares":
        right, expected = isinstance(value, dict) and _all(list(value.values()), int, float), "numbers, none below 0"
    else:
        least = 1 if key == "transactions" else 0
        right, expected = _all([value], int) and value >= least, f"a whole number, at least {least}"  # type: ignore[operator]
    return "" if right else f"{key} = {value!r}: expected {expected}"


def _all(values: object, *kinds: type) -> bool:
    if not isinstance(values, list) or not all(isinstance(each, kinds) for each in values):
        return False
    return str in kinds or all(each >= 0 and not isinstance(each, bool) for each in values)


def _unknown(given: dict[str, Any], known: list[str], what: str) -> list[str]:
    mistakes = []
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
            mistakes.append(f'unknown {what} "{key}": {hint}')
    return mistakes


def _network_mistake(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        return str(error)
    return ""
