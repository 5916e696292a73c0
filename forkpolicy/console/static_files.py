"""What pages load next to their HTML: read at the start, served from memory under an address with its digest.

Such an address never has other bytes, so browsers keep it for a year.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

DIRECTORY: Final = Path(__file__).with_name("static")
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


class StaticFile(NamedTuple):
    """Its bytes and their type."""

    body: bytes
    kind: str


class StaticFiles:
    """The files of a directory by their addresses."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._address: dict[str, str] = {}
        self._file: dict[str, StaticFile] = {}
        for path in sorted(directory.iterdir()):
            if path.suffix in TYPES:
                body = path.read_bytes()
                digest = sha256(body).hexdigest()[:16]
                self._address[path.name] = f"/static/{digest}/{path.name}"
                self._file[f"{digest}/{path.name}"] = StaticFile(body, TYPES[path.suffix])

    def address(self, name: str) -> str:
        """Where a file is. Raises KeyError where there is none: a template is wrong."""
        return self._address[name]

    def find(self, digest: str, name: str) -> StaticFile | None:
        """The file at an address."""
        return self._file.get(f"{digest}/{name}")
