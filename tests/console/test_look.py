"""What every page is made of: the frame, the macros of pages, the static files and where they come from."""

import html as entities
import json
import re
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

from forkpolicy.console.access.rights import Right
from forkpolicy.console.app import application
from forkpolicy.console.links import is_ours, with_query
from forkpolicy.console.page import Page, Rows
from forkpolicy.console.parts import Parts
from forkpolicy.console.rendering import TEMPLATES, Renderer
from forkpolicy.console.routes import ROUTES, Route
from forkpolicy.console.static_files import DIRECTORY, TYPES, StaticFiles
from forkpolicy.settings import Settings
from tests.console.asking import Browser, SignedIn

HOSTILE = "<script>alert(1)</script>\u202e\"'&"


def browser():
    """One who has signed in, and sees a page with a list."""

    def show(_visit):
        rows = Rows(("a",), [("b",)])
        return Page("home", HOSTILE, HOSTILE, {"role": "admin"}, command=HOSTILE, rows=rows)

    return Browser(application(Parts(Settings()), SignedIn(), (*ROUTES, Route("/page", Right.SIGNED_IN, get=show))))


def test_files_of_other_projects_are_as_they_were_released():
    """Each has its digest in HASHES, and its licence next to it."""
    lines = [line.split() for line in (DIRECTORY / "HASHES").read_text().splitlines()]
    names = {name for _, name in lines}
    assert names == {path.name for path in DIRECTORY.iterdir() if path.name.startswith(("htmx", "uPlot"))}
    assert {"htmx.LICENSE", "uPlot.LICENSE"} <= names
    for digest, name in lines:
        assert sha256((DIRECTORY / name).read_bytes()).hexdigest() == digest, name


def test_a_page_loads_what_is_ours_and_kept_for_ever():
    """Each file that a page names is there, and browsers keep it; nothing stands in the page itself."""
    asked = browser()
    html = asked.get("/page").text
    addresses = re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]*)"', html)
    assert len(addresses) == 6
    for address in addresses:
        answer = asked.get(address)
        assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert answer.headers["content-type"] == TYPES[Path(address).suffix]
    assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=|javascript:", html)


def test_hostile_text_of_a_page_is_text():
    """In its title, sentence and command."""
    html = browser().get("/page").text
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;\\u202e") == 4


def test_the_theme_is_a_cookie_set_by_a_form():
    """It is followed from the next page on, `system` takes it away, and the way back leads to no other host."""
    asked = browser()
    assert "data-theme" not in asked.get("/page").text
    done = asked.post("/theme", {"theme": "dark", "back": "/page?a=1"})
    assert (done.status, done.headers["location"]) == (303, "/page?a=1")
    assert '<html lang="en" data-theme="dark">' in asked.get("/page").text
    assert asked.post("/theme", {"theme": "blue", "back": "/"}).status == 422
    assert asked.post("/theme", {"theme": "", "back": "//example.org"}).headers["location"] == "/"
    assert "Max-Age=0" in asked.post("/theme", {"theme": "", "back": "/"}).headers["set-cookie"]


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("/", True),
        ("/a?b=//c", True),
        ("", False),
        ("//a", False),
        ("/\\a", False),
        ("http://a", False),
        ("/\na", False),
    ],
)
def test_a_way_back_is_a_path(address, ours):
    """Browsers take two slashes, or a slash and a backslash, for a host."""
    assert is_ours(address) is ours


def test_an_address_gets_another_query():
    """What it had stays, unless it is named."""
    assert with_query("/a?q=x+y&before=3", before=None, format="csv") == "/a?q=x+y&format=csv"


def test_a_list_has_its_csv():
    """Linked from the foot of the page, with the same query."""
    assert 'href="/page?q=1&amp;format=csv"' in browser().get("/page?q=1").text


def macro_examples():
    """The examples that the comments of macros.html have, in {{ }}."""
    comments = re.findall(r"\{#(.*?)#\}", (TEMPLATES / "macros.html").read_text(), re.DOTALL)
    return [example for each in comments for example in re.findall(r"\{\{ ui\.(\w+)\(", each)]


def test_each_macro_has_an_example():
    """Its comment shows how it is called."""
    text = (TEMPLATES / "macros.html").read_text()
    named = set(re.findall(r"\{% macro (\w+)\(", text)) - {"theme_switch", "language_switch", "kind_of"}
    called = set(macro_examples()) | set(re.findall(r"\{% call ui\.(\w+)\(", text))
    assert named <= called


def test_macros_show_hostile_text_as_text():
    """Everything that takes a text."""
    environment = Renderer(StaticFiles())._templates
    calls = [
        "ui.notice({'text': h, 'kind': 'done', 'link': ''})",
        "ui.action(h)",
        "ui.chip(h)",
        "ui.empty(h)",
        "ui.bar(1, 2, h)",
        "ui.parts([('refused', 1), ('passed', 3)], h)",
        "ui.sparkline([1, none, 3], h)",
        "ui.term(h, 'met')",
        "ui.rule([{'text': h, 'answer': 'unknown', 'link': '/x'}])",
        "ui.diff(['+' ~ h])",
        "ui.command(h)",
        "ui.field('note', h, h, mistake=h)",
    ]
    plot = "{% call ui.plot(h, {'x': [], 'lines': [{'name': h}]}) %}{% endcall %}"
    table = "{% call ui.table(h, [h, (h, 'number')]) %}{% endcall %}"
    for text in [*("{{ " + each + " }}" for each in calls), plot, table]:
        template = environment.from_string('{% import "macros.html" as ui with context %}' + text)
        html = template.render(h=HOSTILE, now_s=0.0, visit={"token": ""}, theme="", full_address="/")
        assert "<script" not in html, text
        assert "alert(1)" in html, text


def test_a_plot_is_json_in_an_attribute():
    """What a browser reads from it is what the page gave."""
    given = {"x": [1, 2], "lines": [{"name": "a\"'<>&", "kind": "refused", "values": [3, None]}], "unit": "mails"}
    text = '{% import "macros.html" as ui with context %}{% call ui.plot("Mails", p) %}{% endcall %}'
    page = Renderer(StaticFiles())._templates.from_string(text).render(p=given)
    assert json.loads(entities.unescape(re.search(r'data-plot="([^"]*)"', page)[1])) == given


def test_every_template_is_well_formed():
    """Each can be compiled, and none marks a value as safe."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        environment.parse(text)
        without_comments = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
        assert not re.search(r"\|\s*safe|autoescape|\sstyle=|\son[a-z]+=|hx-on|js:", without_comments), path.name


def test_a_wheel_has_every_file_of_the_pages():
    """pyproject.toml names what is not Python."""
    package = DIRECTORY.parent.parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["forkpolicy"]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    there = {path for room in (DIRECTORY, TEMPLATES) for path in room.rglob("*") if path.is_file()}
    assert there <= packed
