"""One manual page in man(7) from one document in Markdown (CommonMark with tables).

The title `NAME(SECTION): what it is` becomes the NAME, code directly below it the SYNOPSIS, and what follows up to the
first heading the DESCRIPTION. Lists, code and headings have their macros. A link to another page is its name; one to
another document names the file. tables.py has the tables.

Raises PageError for what has no form in a manual page, such as an image or HTML: it must not get lost.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from manual.roff import argument, bold, filled, guarded, italic, literal, plain
from manual.tables import table_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECTIONS: Final = {"1": "General Commands Manual", "5": "File Formats Manual", "8": "System Manager\\(aqs Manual"}
_TITLE: Final = re.compile(r"([\w.-]+)\((\d)\): (.+)")
_PAGE: Final = re.compile(r"(?:.*/)?([\w.-]+)\.(\d)\.md(?:#.*)?")
# Tables need tbl(1), which man(1) runs for pages that begin so. Literals are neither hyphenated nor spread, and
# no blank is added behind what may end a sentence.
_HEAD: Final = "'\\\" t\n.TH {name} {section} {date} {source} {manual}\n.nr HY 0\n.nh\n.ad l\n.ss 12 0"


class PageError(Exception):
    """A document that cannot become a manual page."""


def make_page(text: str, version: str, date: str) -> str:
    """The page of a document, with the program's version and a date such as 2026-11-28 at its foot."""
    root = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
    lines = list(_Page(root, version, date).lines())
    # A heading begins a paragraph by itself; mandoc warns of a second one.
    kept = [each for before, each in pairwise(["", *lines]) if each != ".PP" or not before.startswith((".SH", ".SS"))]
    return "\n".join([*kept, ""])


class _Page:
    def __init__(self, root: SyntaxTreeNode, version: str, date: str) -> None:
        self._blocks = list(root.children)
        self._version, self._date = version, date
        self._headings = {_anchor(each): _text_of(each) for each in self._blocks if each.type == "heading"}
        self._kinds: dict[str, Callable[[SyntaxTreeNode], Iterator[str]]] = {
            "heading": self._heading,
            "paragraph": self._paragraph,
            "code_block": _code,
            "fence": _code,
            "bullet_list": self._list,
            "ordered_list": self._list,
            "table": lambda node: table_lines(node, self._inline),
        }

    def lines(self) -> Iterator[str]:
        title, *blocks = self._blocks
        found = _TITLE.fullmatch(_text_of(title))
        if title.tag != "h1" or not found:
            raise PageError('a page begins with "# NAME(SECTION): what it is"')
        name, section, summary = found.groups()
        yield _HEAD.format(
            name=argument(literal(name.upper())),
            section=section,
            date=argument(self._date),
            source=argument(plain(f"forkpolicy {self._version}")),
            manual=argument(SECTIONS[section]),
        )
        yield from (".SH NAME", f"{literal(name)} \\- {plain(summary)}")
        if blocks and blocks[0].type == "code_block":
            yield from (".SH SYNOPSIS", *_as_it_stands(blocks.pop(0)))
        if blocks and blocks[0].type != "heading":
            yield ".SH DESCRIPTION"
        for block in blocks:
            yield from self._block(block)

    def _block(self, node: SyntaxTreeNode) -> Iterator[str]:
        if node.type not in self._kinds:
            raise PageError(f"line {node.map[0] + 1 if node.map else '?'}: a manual page has no {node.type}")
        return self._kinds[node.type](node)

    def _heading(self, node: SyntaxTreeNode) -> Iterator[str]:
        text = _text_of(node)
        if node.tag == "h2" and not text.startswith("["):
            yield f".SH {argument(plain(text.upper()))}"
        else:
            yield f"{'.SH' if node.tag == 'h2' else '.SS'} {argument(literal(text))}"

    def _paragraph(self, node: SyntaxTreeNode) -> Iterator[str]:
        yield ".PP"
        yield from filled(self._inline(node.children[0]))

    def _list(self, node: SyntaxTreeNode) -> Iterator[str]:
        first = int(node.attrs.get("start", 1))
        for number, item in enumerate(node.children, first):
            mark, indent = ("\\(bu", 2) if node.type == "bullet_list" else (f"{number}.", 4)
            yield f".IP {argument(mark)} {indent}"
            yield from self._item(item, indent)

    def _item(self, item: SyntaxTreeNode, indent: int) -> Iterator[str]:
        """Its first paragraph stands next to the mark, what follows below it."""
        first, *rest = item.children
        yield from filled(self._inline(first.children[0]))
        if rest:
            yield f".RS {indent}"
            for block in rest:
                yield from self._block(block)
            yield ".RE"

    def _inline(self, node: SyntaxTreeNode) -> str:
        """Text with its fonts."""
        return "".join(self._piece(each) for each in node.children)

    def _piece(self, node: SyntaxTreeNode) -> str:
        if node.type == "text":
            return plain(node.content)
        if node.type == "code_inline":
            return bold(literal(node.content))
        if node.type in ("strong", "em"):
            # Code within stays as it is: both are bold.
            text = self._inline(node)
            return (bold if node.type == "strong" else italic)(text.replace("\\fB", "").replace("\\fR", ""))
        if node.type == "softbreak":
            return " "
        if node.type == "link":
            return self._link(node)
        raise PageError(f"a manual page has no {node.type}")

    def _link(self, node: SyntaxTreeNode) -> str:
        text, target = self._inline(node), str(node.attrs["href"])
        page = _PAGE.fullmatch(target)
        if page:
            return f"{bold(literal(page[1]))}({page[2]})"
        if target.startswith("#"):
            heading = self._headings[target[1:]]
            return f'{text} ("{plain(heading)}")' if text in ("below", "above") else text
        name = target.partition("#")[0].rpartition("/")[2] if "://" not in target else target
        return text if name in text else f"{text} ({literal(name)})"


def _code(node: SyntaxTreeNode) -> Iterator[str]:
    yield from (".PP", ".RS 2", *_as_it_stands(node), ".RE")


def _as_it_stands(node: SyntaxTreeNode) -> Iterator[str]:
    yield ".EX"
    for line in node.content.rstrip("\n").split("\n"):
        yield guarded(literal(line)) or "\\&"
    yield ".EE"


def _text_of(node: SyntaxTreeNode) -> str:
    """The words of a heading, without fonts."""
    return "".join(each.content for each in node.walk() if each.type in ("text", "code_inline"))


def _anchor(node: SyntaxTreeNode) -> str:
    """The anchor of a heading, as it is made on the web."""
    return re.sub(r"[^\w\- ]", "", _text_of(node).lower()).replace(" ", "-")
