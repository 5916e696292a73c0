"""What a day of a site looks like: a TOML file of volumes, shares and networks. Built-in ones are in profiles/.

Raises SetupError with all errors of the file at once, each with its line. Reads files, makes no mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkpolicy.declared import TomlReader, decode, setting
from forkpolicy.endpoints import network_mistake
from forkpolicy.errors import ConfigError, nearest
from loadtest.errors import SetupError
from loadtest.traffic.mail_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PROFILES = Path(__file__).parent / "profiles"
HOURS = 24
POLICIES = ("founding", "remembering")


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _hours_mistake(value: object) -> str:
    if not isinstance(value, list) or not all(map(_is_amount, value)):
        return f"expected {HOURS} numbers, none below 0, got {value}"
    if len(value) != HOURS:
        return f"expected {HOURS} values, got {len(value)}"
    return "" if sum(value) else "no mail comes in any hour"


def _shares_mistake(value: object) -> str:
    if not isinstance(value, dict) or not all(map(_is_amount, value.values())):
        return f"expected numbers, none below 0, got {value}"
    unknown = next((kind for kind in value if kind not in KINDS), None)
    if unknown:
        near = nearest(unknown, KINDS)
        hint = f'did you mean "{near}"?' if near else f"known are {', '.join(KINDS)}"
        return f'unknown kind of mail "{unknown}": {hint}'
    total = sum(value.values())
    return "" if abs(total - 1) <= 0.001 else f"the shares add up to {total:g}, expected 1"


@dataclass(frozen=True, slots=True)
class Profile:
    """One site and its day."""

    name: str
    transactions: int = setting(0, "Mails of the day.", ge=1, required=True)
    domains: tuple[str, ...] = setting(
        [], "Domains in the site's table; `.name` is everything below one.", required=True
    )
    networks: tuple[str, ...] = setting([], "Networks in the site's table.", mistake=network_mistake, required=True)
    extra_domains: int = setting(0, "How many more domains are made up.", ge=0)
    extra_networks: int = setting(0, "How many more networks are made up.", ge=0)
    outside: tuple[str, ...] = setting([], "Networks of all other clients.", mistake=network_mistake, required=True)
    hours: tuple[float, ...] = setting(
        [1.0] * HOURS, "Relative volume of each hour of the day.", value_mistake=_hours_mistake
    )
    shares: Mapping[str, float] = setting(
        {}, "Each kind of mail (mail_kinds.py) and its part of the whole.", value_mistake=_shares_mistake, required=True
    )
    policy: str = setting(
        "founding", "What the server decides by: the founding rule, or also what it remembers.", choices=POLICIES
    )
    seed: int = setting(1, "Of the random numbers: the same seed makes the same day.", ge=0)


def names() -> list[str]:
    """The built-in profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def load_profile(name: str, **changes: Any) -> Profile:
    """A built-in profile by name, or the file at a path. `changes` that are not None replace its values."""
    path = Path(name) if name.endswith(".toml") else PROFILES / f"{name}.toml"
    try:
        reader = TomlReader(str(path), decode(str(path), path.read_bytes()))
        document = reader.document()
    except FileNotFoundError as error:
        message = f"no profile {name!r}: built in are {', '.join(names())}; the name of a file ends in .toml"
        raise SetupError(message) from error
    except (OSError, ConfigError) as error:
        raise SetupError(f"{path}: {error}" if isinstance(error, OSError) else str(error)) from error
    document |= {key: value for key, value in changes.items() if value is not None}
    values = reader.values(Profile, "", document)
    if reader.diagnostics:
        raise SetupError("\n".join(map(str, reader.diagnostics)))
    return Profile(name=path.stem, **values)
