"""`postconf:PARAMETER`: a list of the running Postfix: `mynetworks`, `mydestination`, `relay_domains` and their like.

The value comes expanded from postconf(1), with the configuration directory of `MAIL_CONFIG` where that is set. Files
are read, maps are listed (`postmap -s`, or parsed where they are text). What Postfix can ask but nobody can list
(ldap, sql, regexp ...) is an error that names it, and so is an exclusion (`!pattern`), because a table that silently
held less or more than Postfix means would be worse than none.
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
from forkpolicy.tables.keys import ip_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_TIMEOUT_S: Final = 60
_MAX_DEPTH: Final = 10

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


@dataclass(slots=True)
class PostconfSource:
    """One parameter of Postfix that is a list."""

    name: str
    parameter: str
    warnings: list[str] = field(default_factory=list)
    _skipped: int = 0
    _skipped_literals: int = 0

    def rows(self) -> Iterator[Row]:
        """The members of the list. Raises ValueError, OSError."""
        value = _postconf(self.parameter)
        with_subdomains = self.parameter in re.split(r"[\s,]+", _postconf(_PARENTS))
        for row in self._expand(value, 0):
            yield row
            if with_subdomains and _is_name(row.key):
                # By default relay_domains names the domains below the listed ones too.
                yield row._replace(key=f".{row.key}")
        if self._skipped:
            self.warnings.append(f"mail addresses in maps are left out ({self._skipped}): they name no domain")
        if self._skipped_literals:
            self.warnings.append(f"address literals such as [192.0.2.1] are left out ({self._skipped_literals})")

    def _expand(self, value: str, depth: int) -> Iterator[Row]:
        if depth > _MAX_DEPTH:
            raise ValueError(f"files that include files {_MAX_DEPTH} deep")
        for word in split_list(value):
            if word.startswith("!"):
                raise ValueError(f"the exclusion {word} cannot be part of a table: list what is meant")
            if word.startswith("/"):
                yield from self._expand(_list_file(word), depth + 1)
            elif _is_map(word):
                yield from self._members(_rows_of_map(word))
            elif self.parameter != "mynetworks" and word.startswith("["):
                self._skipped_literals += 1
            else:
                yield Row(word)

    def _members(self, rows: Iterator[Row]) -> Iterator[Row]:
        """What a map says about a list of names or networks: its keys. Values count in parameters that are maps."""
        is_map = self.parameter.endswith("_maps")
        for row in rows:
            if not is_map and "@" in row.key:
                self._skipped += 1
            else:
                yield row if is_map else row._replace(value=None)


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
    return not key.startswith(".") and re.fullmatch(r"[^\s:/\[\]@]*[A-Za-z][^\s:/\[\]@]*", key) is not None


def _list_file(path: str) -> str:
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _rows_of_map(word: str) -> Iterator[Row]:
    kind, _, name = word.removeprefix("proxy:").partition(":")
    if kind in _LISTED_BY_POSTMAP:
        output = _run("postmap", "-s", f"{kind}:{name}")
        return (_row(line) for line in output.splitlines() if line)
    if kind in _PARSED:
        return _PARSED[kind](name)
    what = _ASKED_ONLY.get(kind, "a kind of map that is not known here")
    raise ValueError(f"{word} cannot be listed: {kind} is {what}")


def _row(line: str) -> Row:
    key, _, value = line.replace("\t", " ", 1).partition(" ")
    return Row(key, value.strip() or None)


def _texthash(name: str) -> Iterator[Row]:
    for line in _logical_lines(name):
        yield _row(line)


def _cidr(name: str) -> Iterator[Row]:
    lines = [name[1:-1].strip()] if name.startswith("{") else _logical_lines(name)
    for line in lines:
        if re.match(r"(if|endif)\b", line, re.IGNORECASE):
            raise ValueError(f"cidr:{name} has if and endif, which cannot be listed")
        if line.startswith("!"):
            raise ValueError(f"cidr:{name} has the exclusion {line.split()[0]}, which cannot be listed")
        yield _row(line)


def _inline(name: str) -> Iterator[Row]:
    """`{ { key = value }, ... }`, or without inner braces where nothing has blanks."""
    for word in split_list(name.strip()[1:-1]):
        key, _, value = word.strip("{}").partition("=")
        yield Row(key.strip(), value.strip() or None)


def _logical_lines(path: str) -> list[str]:
    """A text map's lines, with indented ones joined to the one before and comments left out, as Postfix reads them."""
    lines: list[str] = []
    for line in Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and lines:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.strip())
    return lines


_PARSED: Final[dict[str, Callable[[str], Iterator[Row]]]] = {"texthash": _texthash, "cidr": _cidr, "inline": _inline}


def _postconf(parameter: str) -> str:
    output = _run("postconf", "-x", "-h", parameter)
    return output.strip()


def _run(program: str, *arguments: str) -> str:
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
    said = [re.sub(r"^\S*post\w+: (warning: |fatal: )?", "", line) for line in done.stderr.strip().splitlines()]
    # Postfix goes on to warn of other things behind what matters here.
    unknown = [line for line in said if "unknown parameter" in line]
    complaint = (unknown or said or [""])[-1]
    if done.returncode or unknown:
        raise ValueError(f"{program} {' '.join(arguments)}: {complaint or f'exit status {done.returncode}'}")
    return done.stdout


def open_source(argument: str, _base: Path) -> PostconfSource:
    """The source of a parameter's name. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", argument):
        raise ValueError("expected postconf:PARAMETER, such as postconf:mynetworks")
    return PostconfSource(f"postconf:{argument}", argument)
