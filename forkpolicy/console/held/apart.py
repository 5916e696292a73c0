"""The process in which one mail is taken apart (taking_apart.py starts it): the mail on standard input, what was asked
for on standard output. Its arguments are a limit of seconds, one of bytes, and one of

    letter                       whether it is HTML, and its attachments, as JSON
    document LANGUAGE html|text  the document of the frame
    part NUMBER                  the name of an attachment, a NUL, its bytes

A mail that takes longer, or more memory, ends it: `email` and the sanitiser take minutes for some mails of a megabyte.
Its status is HARD then, or that of a signal; NONE where there is no such part.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.console.held.letter import part_of, read_letter
from forkpolicy.console.held.preview import document
from forkpolicy.translations import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

HARD: Final = 3
NONE: Final = 4


def main(words: Sequence[str]) -> int:
    """The status."""
    cpu_s, most_bytes = int(words[0]), int(words[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    try:
        found = _asked(words[2:], sys.stdin.buffer.read())
    except MemoryError:
        return HARD
    if found is None:
        return NONE
    sys.stdout.buffer.write(found)
    return 0


def _asked(words: Sequence[str], raw: bytes) -> bytes | None:
    match words:
        case ["letter"]:
            return json.dumps(_outline_of(raw)).encode()
        case ["document", language, form]:
            return document(read_letter(raw), partial(translate, language), as_text=form == "text").encode()
        case ["part", number]:
            found = part_of(raw, int(number))
            return None if found is None else f"{found.name}\0".encode() + found.content
    raise AssertionError(f"nobody asks for {words}")


def _outline_of(raw: bytes) -> dict[str, object]:
    letter = read_letter(raw)
    return {"is_html": letter.is_html, "parts": [asdict(each) for each in letter.parts]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
