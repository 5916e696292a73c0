"""Ask postconf(1) and postmap(1), with the configuration directory of `MAIL_CONFIG` where that is set."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Final

_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_TIMEOUT_S: Final = 60

_WARNING: Final = re.compile(r"^\S*post\w+: warning: (?!.*\bunused parameter: )(.*)")


def value_of(parameter: str) -> tuple[str, list[str]]:
    """A parameter, expanded, and what postconf(1) warns of. Raises ValueError."""
    output, warnings = _run("postconf", "-x", "-h", parameter)
    return output.strip(), warnings


def listing_of(name: str) -> tuple[str, list[str]]:
    """All entries of the map `type:name`, a line each, and what postmap(1) warns of. Raises ValueError."""
    return _run("postmap", "-s", name)


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
