"""How a Postfix is configured, as its smtpd(8) services see it.

Listed by Postfix's own postconf(1), so that defaults, `$name` and per-service `-o` overrides are what smtpd sees.
Facts only; `restrictions` finds the call sites in them, and commands/check_postfix judges. Raises PostfixError when
postconf is not there or cannot read the directory.
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import UsageError
from forkpolicy.postfix.postconf import PostconfError, RefusedError, listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class PostfixError(UsageError):
    """There is no postconf(1), or no configuration where it looks; the message has its words."""


class BrokenPostfixError(PostfixError):
    """There is a main.cf, at `path`, and postconf(1) cannot read it or what belongs to it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a parameter is set: file and line, 0 where it is not set and the default counts."""

    path: str
    line: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Smtpd:
    """One smtpd service of master.cf. `values`: every parameter as it sees it; `own`: what its `-o` set."""

    name: str
    values: Mapping[str, str]
    own: frozenset[str]
    chrooted: bool


@dataclass(slots=True)
class Postfix:
    """One configuration directory."""

    directory: str
    parameters: dict[str, str]
    services: list[Smtpd] = field(default_factory=list)
    _texts: dict[str, list[str]] = field(default_factory=dict)

    def spot(self, parameter: str, service: str = "") -> Spot:
        """Where a parameter is set: in main.cf, or by a service of master.cf."""
        file = "master.cf" if service else "main.cf"
        lines = self._lines(file)
        number = _option_line(lines, parameter, service) if service else _parameter_line(lines, parameter)
        return Spot(str(Path(self.directory, file)), number, lines[number - 1] if number else "")

    def _lines(self, file: str) -> list[str]:
        if file not in self._texts:
            try:
                text = Path(self.directory, file).read_text(errors="replace")
            except OSError:
                # postconf could read it a moment ago: then the findings have no line numbers.
                text = ""
            self._texts[file] = text.splitlines()
        return self._texts[file]


def _parameter_line(lines: list[str], parameter: str) -> int:
    """The line of main.cf that sets it, 0 for none. Of two the last counts."""
    form = re.compile(rf"{re.escape(parameter)}\s*=")
    return max((number for number, line in enumerate(lines, 1) if form.match(line)), default=0)


def _option_line(lines: list[str], parameter: str, service: str) -> int:
    """The line of master.cf on which a service sets it; the service's own where `-o` and name stand apart."""
    name, _, kind = service.partition("/")
    head = re.compile(rf"{re.escape(name)}\s+{re.escape(kind)}\s")
    option = re.compile(rf"\s-o\s*(?:\{{\s*)?{re.escape(parameter)}\s*=")
    begin = next((number for number, line in enumerate(lines, 1) if head.match(line)), 0)
    for number, line in enumerate(lines[begin - 1 :] if begin else [], begin):
        if number > begin and line[:1].strip() and not line.startswith("#"):
            break
        if option.search(line) and not line.lstrip().startswith("#"):
            return number
    return begin


def read_postfix(directory: str | None) -> Postfix:
    """Read a configuration directory; None: the system's."""
    try:
        return _read_directory(directory)
    except RefusedError as error:
        # The default of nearly every build; elsewhere a broken configuration counts as none.
        main = f"{directory or os.environ.get('MAIL_CONFIG') or '/etc/postfix'}/main.cf"
        if os.path.lexists(main):
            raise BrokenPostfixError(main, f"postconf cannot read this configuration: {error.reason}") from error
        raise PostfixError(str(error)) from error
    except PostconfError as error:
        raise PostfixError(str(error)) from error


def _read_directory(directory: str | None) -> Postfix:
    # -x without names lists the operator's own parameters too, which restriction classes are.
    parameters = dict(_assignments(_listing(directory, "-x")))
    overrides: dict[str, dict[str, str]] = {}
    for path, value in _assignments(_listing(directory, "-Px")):
        service, _, name = path.rpartition("/")
        overrides.setdefault(service, {})[name] = value
    postfix = Postfix(directory or parameters["config_directory"], parameters)
    for line in _listing(directory, "-M").splitlines():
        words = line.split()
        if len(words) > 7 and words[7] == "smtpd":
            name = f"{words[0]}/{words[1]}"
            own = overrides.get(name, {})
            chrooted = words[4] == "y" or (words[4] == "-" and _chroots_by_default(parameters))
            postfix.services.append(Smtpd(name, ChainMap(own, parameters), frozenset(own), chrooted))
    return postfix


def _chroots_by_default(parameters: Mapping[str, str]) -> bool:
    # master(5): "y" before Postfix 3.0, and since then only with compatibility_level = 0.
    return parameters.get("compatibility_level", "0").partition(".")[0] == "0"


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name.strip(), value.strip()


def _listing(directory: str | None, option: str) -> str:
    """For people: bytes that are not UTF-8 become U+FFFD."""
    return listing(directory, option).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
