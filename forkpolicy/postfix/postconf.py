"""The one runner of postconf(1) and postmap(1): Postfix's own view of its parameters and maps.

Both are looked for in PATH, then where Postfix installs them, and read the configuration directory that they are
given, else that of MAIL_CONFIG, else their own. Raises PostconfError with their words.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Final

_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_TIMEOUT_S: Final = 60

_PREFIX: Final = re.compile(r"^\S*post\w+: (warning: |fatal: )?")
_WARNING: Final = re.compile(r"^\S*post\w+: warning: (?!.*\bunused parameter: )(.*)")


class PostconfError(ValueError):
    """The program is not installed, does not end, or refuses what it was asked."""


class RefusedError(PostconfError):
    """The program ended with an error; `reason` has its last words."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(f"{command}: {reason}")
        self.reason = reason


def value_of(parameter: str) -> tuple[str, list[str]]:
    """A parameter, expanded, and the warnings of postconf(1)."""
    output, warnings = _run("postconf", None, "-x", "-h", parameter)
    return output.strip(), warnings


def entries_of(name: str) -> tuple[str, list[str]]:
    """All entries of the map `type:name`, a line each, and the warnings of postmap(1)."""
    return _run("postmap", None, "-s", name)


def listing(directory: str | None, option: str) -> str:
    """What postconf(1) lists of a configuration directory with one option, such as every parameter with `-x`."""
    return _run("postconf", directory, option)[0]


def parameter(directory: str, name: str) -> str:
    """A parameter of a configuration directory, as it stands there."""
    return _run("postconf", directory, "-h", name)[0].strip()


def change(directory: str, option: str, assignment: str) -> None:
    """Change a configuration directory as `postconf -e NAME=VALUE` and `-P SERVICE/NAME=VALUE` do."""
    _run("postconf", directory, option, assignment)


def _run(program: str, directory: str | None, *arguments: str) -> tuple[str, list[str]]:
    """What the program writes, and its warnings."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if path is None:
        raise PostconfError(f"{program} is not installed: is there a Postfix on this machine?")
    directory = directory or os.environ.get("MAIL_CONFIG")
    where = ["-c", directory] if directory else []
    command = f"{program} {' '.join(arguments)}"
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
        raise PostconfError(f"{command} did not end within {_TIMEOUT_S} s") from error
    lines = done.stderr.strip().split("\n")
    said = [_PREFIX.sub("", line) for line in lines]
    # Postfix goes on to warn of other things after what matters here.
    unknown = [line for line in said if "unknown parameter" in line]
    if done.returncode or unknown:
        raise RefusedError(command, (unknown or said)[-1] or f"exit status {done.returncode}")
    return done.stdout, [found[1] for line in lines if (found := _WARNING.match(line))]
