"""The copyright file of a Debian package: the licence of forkpolicy, and that of each package that is inside.

    licences.py WHEELS LICENSE... > copyright

The first LICENSE is ours, the others are of files of other projects among ours. Reads the licence files and the
metadata of every wheel and sdist in WHEELS, so that the list is complete whatever the lock file has. A licence that
Debian has in /usr/share/common-licenses is named and not repeated. Run by packaging/debian/rules.
"""

from __future__ import annotations

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

LICENCE = re.compile(r"(?:^|/)(?:licen[cs]e|copying|notice|copyright)[^/]*$", re.IGNORECASE)
METADATA = re.compile(r"^[^/]+\.dist-info/METADATA$|^[^/]+/PKG-INFO$")
# By words that only the whole text of the licence has.
COMMON = (
    (re.compile(r"TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION"), "Apache-2.0"),
    (re.compile(r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3, 29 June 2007"), "LGPL-3"),
    (re.compile(r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2.1"), "LGPL-2.1"),
    (re.compile(r"GNU GENERAL PUBLIC LICENSE\s+Version 3, 29 June 2007"), "GPL-3"),
    (re.compile(r"GNU GENERAL PUBLIC LICENSE\s+Version 2, June 1991"), "GPL-2"),
)


class Inside(NamedTuple):
    """A package: its name and version, where it comes from, and its licence files in their order."""

    name: str
    version: str
    licence: str
    texts: tuple[str, ...]


def members(archive: Path) -> dict[str, str]:
    """The text files of interest in a wheel or an sdist, by their names in it."""
    wanted = re.compile(f"{LICENCE.pattern}|{METADATA.pattern}", re.IGNORECASE)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return {
                name: opened.read(name).decode(errors="replace") for name in opened.namelist() if wanted.search(name)
            }
    with tarfile.open(archive) as opened:
        files = [each for each in opened.getmembers() if each.isfile() and wanted.search(each.name)]
        return {each.name: opened.extractfile(each).read().decode(errors="replace") for each in files}  # type: ignore[union-attr]


def read(archive: Path) -> Inside:
    """What it says of itself. Raises ValueError for an archive without metadata or licence."""
    found = members(archive)
    metadata = next((text for name, text in sorted(found.items()) if METADATA.match(name)), None)
    if metadata is None:
        raise ValueError(f"{archive}: no metadata")
    fields = email.message_from_string(metadata)
    classifiers = [
        each.rpartition(" :: ")[2] for each in fields.get_all("Classifier", []) if each.startswith("License")
    ]
    licence = fields["License-Expression"] or (fields["License"] or "").partition("\n")[0] or ", ".join(classifiers)
    texts = [
        text for name, text in sorted(found.items()) if LICENCE.search(name) and not name.endswith((".py", ".pyc"))
    ]
    if not licence and not texts:
        raise ValueError(f"{archive}: no licence")
    return Inside(fields["Name"], fields["Version"], licence, tuple(dict.fromkeys(map(shortened, texts))))


def shortened(text: str) -> str:
    """The text, or where Debian has it."""
    for words, name in COMMON:
        if words.search(text):
            return f"On Debian systems the full text of this licence is in /usr/share/common-licenses/{name}.\n"
    return text


def document(archives: list[Path], ours: Path, *others: Path) -> str:
    """The whole file."""
    parts = [f"forkpolicy\n\n{ours.read_text()}"]
    parts += [f"{each.stem}, in {each.parent}\n\n{each.read_text()}" for each in others]
    parts += ["The packages below /usr/lib/forkpolicy, as their authors published them:\n"]
    for each in sorted(map(read, archives)):
        parts.append(
            "\n".join([f"{each.name} {each.version}", f"Licence: {each.licence or 'as follows'}", "", *each.texts])
        )
    return f"\n{'-' * 72}\n\n".join(parts)


def main() -> None:
    """Print it."""
    wheels, *licences = map(Path, sys.argv[1:])
    archives = [path for path in sorted(wheels.iterdir()) if not path.name.startswith("setuptools-")]
    print(document(archives, *licences))


if __name__ == "__main__":
    main()
