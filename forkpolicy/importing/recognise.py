"""What a file is that an import was given, where it is not of the format that was named.

An import of the wrong file would leave all of it out, line by line. The first file of an import says which format it
is; the others (maps, lists of values) may look like anything.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ConfigError, Diagnostic, UsageError
from forkpolicy.importing.formats import FORMATS, load_format
from forkpolicy.importing.source import read_source

if TYPE_CHECKING:
    from forkpolicy.importing.formats import Format, Inputs

# What a format is given to recognise a file by.
HEAD_CHARS: Final = 65536
HEAD_LINES: Final = 4096
# Formats search with expressions that take the square of a line's length in the worst case.
HEAD_LINE_CHARS: Final = 1000
SQLITE: Final = b"SQLite format 3\0"
_BINARY: Final = {
    b"\x1f\x8b": "is compressed by gzip: decompress it before (zcat)",
    b"\xfd7zXZ": "is compressed by xz: decompress it before (xzcat)",
    b"BZh": "is compressed by bzip2: decompress it before (bzcat)",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: decompress it before (zstdcat)",
    b"PK\x03\x04": "is a ZIP archive: unpack it before",
    b"\x7fELF": "is a program",
    b"%PDF": "is a PDF document",
    SQLITE: "is an SQLite database",
}
_HTML: Final = re.compile(r"\s*<(?:!doctype html|html|head|\?xml)\b", re.IGNORECASE)
# A file that has nothing but the URL of a database, and its password.
_URL: Final = re.compile(r"(?:#.*\n)*\s*[a-z][a-z0-9+.-]*://\S+\s*", re.IGNORECASE)
# Statements, types and values that only our language has.
_OURS: Final = re.compile(
    r"^(?:table[ \t]+\S+[ \t]+(?:cidr|domain|address|key|pair:\S+)[ \t]|include[ \t]+\S+[ \t]*$"
    r"|acl[ \t]+\S+[ \t]+(?:rate|listed|distinct|service|any|rhsbl|authenticated|encrypted|null_sender|date|score)\b"
    r"|acl[ \t].*[ \t](?:table:[\w.-]+|\{\w+\}))",
    re.MULTILINE | re.IGNORECASE,
)


def refuse_others(form: Format, inputs: Inputs) -> None:
    """Raises UsageError for files that cannot be of this format, and ConfigError where some cannot be read at all, with
    every file that is wrong.
    """
    wrong: list[Diagnostic] = []
    unreadable: list[Diagnostic] = []
    for number, path in enumerate(inputs.paths):
        if "://" in path or not form.is_file(path):
            continue
        try:
            found = _binary(inputs.files.read(path), form) or (_text(path, form, inputs) if number == 0 else "")
        except ConfigError as error:
            unreadable += error.diagnostics
        else:
            wrong += [Diagnostic(path, 0, 0, found)] if found else []
    if unreadable:
        raise ConfigError([*unreadable, *wrong])
    if wrong:
        raise UsageError("\n".join(str(each) for each in wrong))


def _binary(raw: bytes, form: Format) -> str:
    if raw.startswith(SQLITE) and form.takes_databases:
        return ""
    return next((what for magic, what in _BINARY.items() if raw.startswith(magic)), "")


def _text(path: str, form: Format, inputs: Inputs) -> str:
    """What the first file is instead; empty where it may be of the format."""
    if form.takes_databases and inputs.files.read(path).startswith(SQLITE):
        return ""
    lines = (line.rstrip()[:HEAD_LINE_CHARS] for line in read_source(path, inputs.files).lines)
    head = "\n".join(islice(filter(None, lines), HEAD_LINES))[:HEAD_CHARS]
    if not head.strip():
        return "is empty"
    if _HTML.match(head):
        return f"is an HTML page, not {form.title}: was the page saved, and not the file?"
    if _URL.fullmatch(head):
        formats = ", ".join(name for name in FORMATS if load_format(name).takes_databases)
        return "" if form.takes_databases else f"is the URL of a database: forkpolicy import reads one for {formats}"
    if _OURS.search(head):
        return "is a policy of forkpolicy already: forkpolicy check checks it"
    if form.looks_like(head):
        return ""
    other = next((each for each in _others(form) if each.looks_like(head)), None)
    return f"is in the format {other.name} ({other.title}): forkpolicy import {other.name} {path}" if other else ""


def _others(form: Format) -> list[Format]:
    return [load_format(name) for name in FORMATS if name != form.name]
