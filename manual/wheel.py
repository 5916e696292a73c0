"""The manual pages in the wheel: below share/man, where man(1) looks for those of the programs in a `bin` beside it.

setuptools builds with this class (pyproject.toml). They are made in a process of its own, because setuptools loads this
file alone and not its package.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby
from pathlib import Path

from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.parent


class BuildWithPages(build_py):  # type: ignore[misc]  # setuptools has no types
    """Builds the modules as ever, then the pages, which become data files of the distribution."""

    def run(self) -> None:
        """Raises CalledProcessError where markdown-it-py is missing: it is among the requirements of the build."""
        super().run()
        directory = Path("build", "man")
        subprocess.run([sys.executable, "-m", "manual", directory], cwd=ROOT, check=True)  # noqa: S603 - our own module
        pages = sorted((ROOT / directory).iterdir(), key=lambda page: page.suffix)
        self.distribution.data_files = [
            *(self.distribution.data_files or ()),
            *(
                (f"share/man/man{suffix[1:]}", [str(directory / page.name) for page in group])
                for suffix, group in groupby(pages, key=lambda page: page.suffix)
            ),
        ]
