"""The manual pages that `make man` makes: whole, without a warning of groff and mandoc, readable on 80 columns."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from manual.page import PageError, make_page

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted((ROOT / "docs").glob("*.[1-8].md"))
# What code may have: 80 columns less the indent of a page and its own, and in a list that of the list, too.
CODE_COLUMNS, LIST_INDENT = 71, 4
every_page = pytest.mark.parametrize("source", DOCUMENTS, ids=lambda path: path.stem)


SIGNS = """\
# a(8): b

.bp is text

    .code \\n
    'x

## A "b" \\\\

stra\u00dfe ~ ^ `a-b`

| a | c |
|---|---|
| .x | y |
"""


def page_of(source):
    return make_page(source.read_text(), "0.0", "2026-01-31")


def read(page, program):
    """The page as a terminal of 80 columns shows it, without fonts, and what the program warns of."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}: apt-get install {'groff-base' if program == 'groff' else program}")
    options = {
        "groff": ["-man", "-t", "-ww", "-Tutf8", "-P-cbou", "-rLL=78n"],
        "mandoc": ["-Tutf8", "-Owidth=78", "-Wstyle"],
    }
    done = subprocess.run(
        [program, *options[program]], input=page, capture_output=True, text=True, check=False, timeout=30
    )
    # A hyphen of a text is a character of its own.
    return re.sub(r".\x08", "", done.stdout).replace("\u2010", "-"), done.stderr


def words(text):
    """Letters and digits alone, so that fonts, signs and line breaks do not count."""
    return set(re.findall(r"[^\W_]{2,}", text.lower()))


@pytest.mark.parametrize("program", ["groff", "mandoc"])
@every_page
def test_a_page_is_read_without_a_warning(source, program):
    """Neither reader warns of anything, and no line is longer than a terminal."""
    shown, warnings = read(page_of(source), program)
    assert warnings == ""
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@every_page
def test_a_page_has_every_word_of_its_document(source):
    """Nothing gets lost on the way, and nothing of Markdown is left: links, tables, stars, backquotes, fences."""
    text = source.read_text()
    shown, _ = read(page_of(source), "groff")
    # But for the targets of links, and the heads of lists: what an option, a file or a variable is, everybody knows.
    gone = r"\]\([^)]*\)|^```.*$|^\|.*\| *(?:meaning|what)? *\|\n(?=\|-)"
    assert sorted(words(re.sub(gone, "]", text, flags=re.MULTILINE)) - words(shown)) == []
    for leftover in ("](", "**", "`", "|---"):
        assert leftover not in shown.replace("\\`", ""), leftover


@every_page
def test_code_of_a_page_fits_a_terminal(source):
    """Code is shown as it stands: a line too long is to be broken, or shortened, in the document."""
    wide = []
    for token in MarkdownIt("commonmark").enable("table").parse(source.read_text()):
        if token.type in ("code_block", "fence"):
            limit = CODE_COLUMNS - (LIST_INDENT if token.level else 0)
            wide += [f"{source.name}: {line}" for line in token.content.splitlines() if len(line) > limit]
    assert wide == [], f"longer than {CODE_COLUMNS} characters, with which `man` fills a terminal of 80 columns"


@every_page
def test_a_page_has_the_parts_that_readers_look_for(source):
    """Its name and section at the top, NAME as whatis(1) reads it, DESCRIPTION, SEE ALSO at the end."""
    name, _, section = source.stem.rpartition(".")
    lines = page_of(source).splitlines()
    assert lines[0] == "'\\\" t"
    assert lines[1].startswith(f'.TH "{name.upper()}"'.replace("-", "\\-") + f" {section} ")
    assert lines[lines.index(".SH NAME") + 1].startswith(name.replace("-", "\\-") + " \\- ")
    headings = [line for line in lines if line.startswith(".SH")]
    assert ".SH DESCRIPTION" in headings
    assert headings[-1] == '.SH "SEE ALSO"'


def test_pages_are_the_same_again(tmp_path):
    """`make man` twice, with the date that a reproducible build sets: one file for each document, the same bytes."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    for name in ("one", "other"):
        subprocess.run(
            [sys.executable, "-m", "manual", tmp_path / name], cwd=ROOT, env=environment, check=True, timeout=60
        )
    one, other = ({each.name: each.read_bytes() for each in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert one == other
    assert set(one) == {each.stem for each in DOCUMENTS}
    assert all(b'"2026-09-21"' in page for page in one.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no title\n", 'begins with "# NAME(SECTION): what it is"'),
        ("# a(8): b\n\n<b>x</b>\n", "has no html_inline"),
        ("# a(8): b\n\n<p>\n", "line 3: a manual page has no html_block"),
        ("# a(8): b\n\n![x](y.png)\n", "has no image"),
        ("# a(8): b\n\n## c\n\n> d\n", "line 5: a manual page has no blockquote"),
    ],
)
def test_what_a_page_cannot_have_is_named(text, said):
    """Nothing is passed over in silence."""
    with pytest.raises(PageError, match=re.escape(said)):
        make_page(text, "0.0", "")


def test_signs_of_roff_are_text():
    """A dot and an apostrophe at the start of a line, backslashes, quotes in headings, letters outside ASCII."""
    page = make_page(SIGNS, "0.0", "2026-01-31")
    shown, warnings = read(page, "groff")
    assert warnings == ""
    for line in ("       .bp is text", "         .code \\n", "         'x", 'A "B" \\', "       .x   y"):
        assert line in shown.splitlines()
    assert "~ ^ a-b" in shown
