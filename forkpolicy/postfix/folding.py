"""Keys that postmap(1) folds into another domain: case folding makes ss of ß, and in IDNA 2008 they are two letters.

postmap writes `faß.example` as `fass.example`, which is another domain, and a lookup of the first by its A-label finds
nothing. The map no longer says which of them was meant; the text next to it, if there is one, does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.tables.keys import fold_domain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def warnings_for(text: Path) -> list[str]:
    """The warnings about the map that was made of a text; none where the text cannot be read or is not a file."""
    try:
        found = list(_folded_otherwise(text)) if text.is_file() else []
    except OSError:
        found = []
    if not found:
        return []
    number, key = found[0]
    count = f", and {len(found) - 1} more" if len(found) > 1 else ""
    made = f"postmap made {key.casefold()} of {key}{count}: another domain, since ß is not ss in a domain"
    return [f"{text}:{number}: {made}; name the text itself as the source"]


def _folded_otherwise(text: Path) -> Iterator[tuple[int, str]]:
    with text.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.isascii() or line[:1] in b"# \t":
                continue
            key = line.decode("utf-8", "surrogateescape").split(maxsplit=1)[0]
            domain = key.rpartition("@")[2]
            if fold_domain(domain) != fold_domain(domain.casefold()):
                yield number, key
