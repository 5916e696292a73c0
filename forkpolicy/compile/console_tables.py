"""Which tables the web console writes the sources of: those that have no other source than files below its directory.

The administrator declares them; the console's user owns the files. Opens nothing and follows no link.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.compile.sources.registry import STDIN

if TYPE_CHECKING:
    from forkpolicy.policy.nodes import TableDeclaration


def is_of_console(declaration: TableDeclaration, directory: Path) -> bool:
    """Whether all sources of a table are files below `directory`, which is absolute."""
    base = Path(declaration.path).absolute().parent
    # A word with a prefix is a path only where such a file is, which no administrator's policy relies on here.
    paths = [word for word in declaration.sources if word != STDIN and (":" not in word or word.startswith("/"))]
    below = [Path(os.path.normpath(base / path)).is_relative_to(directory) for path in paths]
    return bool(below) and all(below) and len(paths) == len(declaration.sources)
