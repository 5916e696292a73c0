"""`python -m manual DIRECTORY`: write the manual pages there, one for each document such as docs/forkpolicy.8.md."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from forkpolicy import __version__
from manual.page import make_page

DOCS = Path(__file__).parent.parent / "docs"


def write_pages(directory: Path) -> list[Path]:
    """The files written. Their date is SOURCE_DATE_EPOCH, as in any reproducible build, else that of the document."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted(DOCS.glob("*.[1-8].md")):
        page = directory / source.stem
        time_s = float(os.environ.get("SOURCE_DATE_EPOCH") or source.stat().st_mtime)
        date = datetime.fromtimestamp(time_s, UTC).date().isoformat()
        page.write_text(make_page(source.read_text(encoding="utf-8"), __version__, date), encoding="ascii")
        written.append(page)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m manual DIRECTORY")
    write_pages(Path(sys.argv[1]))
