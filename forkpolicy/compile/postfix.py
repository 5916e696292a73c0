"""`postconf:PARAMETER`: a list of the running Postfix: `mynetworks`, `mydestination`, `relay_domains` and their like.

The value comes expanded from postconf(1), with the configuration directory of `MAIL_CONFIG` where that is set. Files
are read, maps are listed (`postmap -s`, or parsed where they are text), and each entry knows in which it stands. What
Postfix can ask but nobody can list (ldap, sql, regexp ...) is a complaint that names it, and so is an exclusion
(`!pattern`), because a table that silently held less or more than Postfix means would be worse than none. What
postconf(1) and postmap(1) warn of are warnings of the source, but for parameters that nothing uses. ConfigError
has all of these in one run, each with its file and line; ValueError is for what keeps the parameter from being read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.rows import Row
from forkpolicy.errors import Complaint, ConfigError
from forkpolicy.tables.keys import ip_key
from forkpolicy.tables.names import NUMERIC_TOP, parse_host_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_TIMEOUT_S: Final = 60

_LISTED_BY_POSTMAP: Final = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
_ASKED_ONLY: Final = {
    "ldap": "a directory",
    "mysql": "a database; use a sql: source instead",
    "pgsql": "a database; use a sql: source instead",
    "sqlite": "a database; use a sql: source instead",
    "mongodb": "a database",
    "memcache": "a cache",
    "regexp": "patterns; write them as /regex/ into an acl",
    "pcre": "patterns; write them as /regex/ into an acl",
    "tcp": "a server",
    "socketmap": "a server",
    "nis": "a server",
    "nisplus": "a server",
    "netinfo": "a server",
    "unix": "the system's user lists",
    "static": "an answer to everything",
    "pipemap": "a pipeline of maps",
    "unionmap": "a union of maps",
    "randmap": "a random choice",
    "fail": "a failure",
}
_PARENTS: Final = "parent_domain_matches_subdomains"

# As Postfix reads a key: up to the first blank that stands neither in quotes nor behind a backslash.
_KEY: Final = re.compile(r'(?:\\.|"(?:\\.|[^"\\])*"|[^\s"\\])+', re.ASCII)
_WARNING: Final = re.compile(r"^\S*post\w+: warning: (?!.*\bunused parameter: )(.*)")


# A row, behind the name of the parameter, file or map that it stands in.
Placed = tuple[str, Row]


@dataclass(slots=True)
class PostconfSource:
    """One parameter of Postfix that is a list."""

    name: str
    parameter: str
    warnings: list[str] = field(default_factory=list)
    _mistakes: list[Complaint] = field(default_factory=list)
    _skipped: int = 0
    _skipped_literals: int = 0

    def rows(self) -> Iterator[Row]:
        """The members of the list. Raises as `placed_rows` does."""
        return (row for _, row in self.placed_rows())

    def placed_rows(self) -> Iterator[Placed]:
        """The members of the list, each with what it stands in. Raises ValueError, ConfigError."""
        value = self._taken(_postconf(self.parameter))
        with_subdomains = self.parameter in re.split(r"[\s,]+", self._taken(_postconf(_PARENTS)))
        for place, row in self._expand(value, self.name, 0, ()):
            yield place, row
            if with_subdomains and _is_name(row.key):
                # By default relay_domains names the domains below the listed ones too.
                yield place, row._replace(key=f".{row.key}")
        if self._mistakes:
            raise ConfigError(self._mistakes)
        if self._skipped:
            self.warnings.append(f"mail addresses in maps are left out ({self._skipped}): they name no domain")
        if self._skipped_literals:
            self.warnings.append(f"address literals such as [192.0.2.1] are left out ({self._skipped_literals})")

    def _expand(self, value: str, place: str, line: int, within: tuple[str, ...]) -> Iterator[Placed]:
        """What the words of a list mean, `within` these files; what cannot be is noted, and the next word looked at."""
        for word in split_list(value):
            try:
                yield from self._member(word, place, line, within)
            except OSError as error:
                self._note(place, line, f"{word} cannot be read: {error.strerror or error}")
            except ValueError as error:
                self._note(place, line, str(error))

    def _taken(self, answer: tuple[str, list[str]]) -> str:
        """What a program of Postfix has answered; what it warned of is remembered."""
        text, said = answer
        self.warnings += [each for each in said if each not in self.warnings]
        return text

    def _note(self, place: str, line: int, mistake: str) -> None:
        self._mistakes.append(Complaint(place, line, 0, mistake))

    def _member(self, word: str, place: str, line: int, within: tuple[str, ...]) -> Iterator[Placed]:
        if word.startswith("!"):
            raise ValueError(f"the exclusion {word} cannot be part of a table: list what is meant")
        if word in within:
            raise ValueError(f"{word} includes itself")
        if word.startswith("/"):
            for number, text in _lines(word):
                yield from self._expand(text, word, number, (*within, word))
        elif _is_map(word):
            yield from self._keys(self._map(word, place, line))
        elif self.parameter != "mynetworks" and word.startswith("["):
            self._skipped_literals += 1
        else:
            yield place, Row(word, None, line)

    def _keys(self, placed: Iterator[Placed]) -> Iterator[Placed]:
        """What a map says about a list of names or networks: its keys. Values count in parameters that are maps."""
        is_map = self.parameter.endswith("_maps")
        for place, row in placed:
            if not is_map and "@" in row.key:
                self._skipped += 1
            else:
                yield place, row if is_map else row._replace(value=None)

    def _map(self, word: str, place: str, line: int) -> Iterator[Placed]:
        kind, _, name = word.removeprefix("proxy:").partition(":")
        if kind in _LISTED_BY_POSTMAP:
            for text in self._taken(_run("postmap", "-s", f"{kind}:{name}")).removesuffix("\n").split("\n"):
                if text:
                    key, _, value = text.partition("\t")
                    yield f"{kind}:{name}", Row(key, value or None)
            return
        if kind not in _PARSERS:
            what = _ASKED_ONLY.get(kind, "a kind of map that is not known here")
            raise ValueError(f"{word} cannot be listed: {kind} is {what}")
        for where, number, text in _texts(kind, name, place, line):
            try:
                key, value = _PARSERS[kind](text)
                yield where, Row(key, value.strip() or None, number)
            except ValueError as error:
                self._note(where, number, str(error))


def _is_map(word: str) -> bool:
    """Whether a word is `type:name`; `dead:beef::` is an address."""
    kind, colon, _ = word.partition(":")
    return bool(colon) and kind.isalpha() and ip_key(word.partition("/")[0]) is None


def split_list(value: str) -> list[str]:
    """The members of a Postfix list: separated by commas and blanks, with `{ ... }` kept whole."""
    words, word, depth = [], "", 0
    for char in value:
        depth += (char == "{") - (char == "}")
        if depth <= 0 and (char.isspace() or char == ","):
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def _is_name(key: str) -> bool:
    """Whether there are names below it; of what is none, one complaint is enough."""
    try:
        return not key.startswith(".") and not NUMERIC_TOP.search(parse_host_pattern(key))
    except ValueError:
        return False


def _texts(kind: str, name: str, place: str, line: int) -> list[tuple[str, int, str]]:
    """The texts of a map's entries, of its file or of its name, each with what it stands in and its line."""
    if kind != "inline" and not name.startswith("{"):
        return [(name, number, text) for number, text in _logical_lines(name)]
    words = split_list(_without_braces(name))
    texts = [word if kind == "inline" and not word.startswith("{") else _without_braces(word) for word in words]
    return [(place, line, text) for text in texts if text and not text.startswith("#")]


def _without_braces(text: str) -> str:
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError(f'expected {{ ... }}, found "{text}"')
    return text[1:-1].strip()


def _words(text: str) -> tuple[str, str]:
    """Key and value of a line, the key with its quotes: for Postfix, they are part of it."""
    found = _KEY.match(text)
    end = found.end() if found else 0
    if text[end : end + 1].strip():
        raise ValueError(f"a quote that is not closed, or a backslash that nothing follows: {text}")
    return text[:end], text[end:].strip()


def _rule(text: str) -> tuple[str, str]:
    """The pattern and the action of a line of cidr_table(5)."""
    if re.match(r"(if|endif)\b", text, re.IGNORECASE):
        raise ValueError("if and endif of cidr_table(5) cannot be listed: write the networks that are meant")
    if text.startswith("!"):
        raise ValueError(f"the exclusion {_words(text)[0]} cannot be part of a table: list what is meant")
    return _words(text)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f'expected key=value, found "{text}"')
    return key.strip(), value


def _lines(path: str) -> list[tuple[int, str]]:
    """The lines of a file that are neither blank nor comments, with their numbers."""
    lines = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[0] != "#"]


def _logical_lines(path: str) -> list[tuple[int, str]]:
    """The same, with indented lines joined to the one before, as Postfix reads its text maps."""
    lines: list[tuple[int, str]] = []
    for number, line in _lines(path):
        if line[0].isspace() and lines:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {line.strip()}")
        else:
            lines.append((number, line.strip()))
    return lines


_PARSERS: Final[dict[str, Callable[[str], tuple[str, str]]]] = {"texthash": _words, "cidr": _rule, "inline": _pair}


def _postconf(parameter: str) -> tuple[str, list[str]]:
    output, warnings = _run("postconf", "-x", "-h", parameter)
    return output.strip(), warnings


def _run(program: str, *arguments: str) -> tuple[str, list[str]]:
    """What a program of Postfix writes, and what it warns of. Raises ValueError."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if path is None:
        raise ValueError(f"{program} is not there: is Postfix installed on this machine?")
    directory = os.environ.get("MAIL_CONFIG")
    where = ["-c", directory] if directory else []
    try:
        done = subprocess.run(  # noqa: S603 - the program was looked up, the arguments are a list
            [path, *where, *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{program} {' '.join(arguments)} has not answered within {_TIMEOUT_S} s") from error
    lines = done.stderr.strip().split("\n")
    said = [re.sub(r"^\S*post\w+: (warning: |fatal: )?", "", line) for line in lines]
    # Postfix goes on to warn of other things behind what matters here.
    unknown = [line for line in said if "unknown parameter" in line]
    complaint = (unknown or said or [""])[-1]
    if done.returncode or unknown:
        raise ValueError(f"{program} {' '.join(arguments)}: {complaint or f'exit status {done.returncode}'}")
    return done.stdout, [found[1] for line in lines if (found := _WARNING.match(line))]


def refuse_map(word: str) -> None:
    """Say what to write where a map of Postfix stands for a source. Raises ValueError; nothing for what is none."""
    kind, _, name = word.removeprefix("proxy:").partition(":")
    if kind in _ASKED_ONLY:
        raise ValueError(f"a {kind} map of Postfix cannot be listed: it is {_ASKED_ONLY[kind]}")
    if kind in (*_LISTED_BY_POSTMAP, *_PARSERS):
        inline = kind == "inline" or name.startswith("{")
        meant = "write its entries into a text file." if inline else f'did you mean the text file itself, "{name}"?'
        raise ValueError(
            f"a {kind} map of Postfix is no source: {meant} lmdb:FILE lists what postmap lmdb:FILE wrote, "
            "postconf:PARAMETER the maps that a parameter names"
        )


def open_source(argument: str, _base: Path) -> PostconfSource:
    """The source of a parameter's name. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", argument):
        raise ValueError("expected postconf:PARAMETER, such as postconf:mynetworks")
    return PostconfSource(f"postconf:{argument}", argument)
