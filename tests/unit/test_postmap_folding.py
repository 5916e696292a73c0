"""The text next to a map of postmap: which of its keys became another domain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from forkpolicy.postfix.folding import warnings_for

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_that_fold_into_other_domains(tmp_path: Path) -> None:
    """ß, and the sigma at the end of a word: the first with its line, and how many more."""
    text = tmp_path / "domains"
    text.write_text("# weiß.example\nbücher.example x\n  groß.example\nfaß.example x\n@λόγος.example\tx\nss.example\n")
    (said,) = warnings_for(text)
    assert said.startswith(f"{text}:4: postmap made fass.example of faß.example, and 1 more: ")
    text.write_text("info@.straße.example x\n")
    (said,) = warnings_for(text)
    assert said.startswith(f"{text}:1: postmap made info@.strasse.example of info@.straße.example: ")


@pytest.mark.parametrize(
    "content", [b"", b"example.com x\n", "STRASSE.example ß\nß@example.com x\n".encode(), b"\xff\n"]
)
def test_keys_that_stay_what_they_are(tmp_path: Path, content: bytes) -> None:
    """Values and local parts are no domains; what is no UTF-8 is none either."""
    (tmp_path / "domains").write_bytes(content)
    assert warnings_for(tmp_path / "domains") == []


def test_a_text_that_is_no_file(tmp_path: Path) -> None:
    """Gone, a directory, or a pipe that nobody writes to: the map is all there is."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("gone", ".", "pipe"):
        assert warnings_for(tmp_path / name) == []
