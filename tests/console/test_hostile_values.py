"""Every page of the product, asked with what no form of ours sends: an answer, never a bug, and no script in it."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.routes import ROUTES
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.console.changing import Site

VALUES = {
    "script": "<script>alert(1)</script>",
    "attribute": '" onload="alert(1)',
    "template": "{{ 7 * 7 }}",
    "path": "../../../../etc/passwd",
    "lines": "a\r\nSet-Cookie: x=y",
    "zero": "a\x00b",
    "turned": "\u202eabc\u2066",
    "digits": "9" * 5000,
    "64 bits": str(1 << 63),
    "negative": "-1",
    "other digits": "\u0661\u00b2",
    "query": "' OR 1=1 --",
    "glob": "*?[a-",
    "expression": "~(((((",
    "not text": "\udcff",
    "formula": "=1+1",
    "empty": "",
}
# What pages read, and some more.
NAMES = (
    *(
        "q",
        "before",
        "after",
        "since",
        "until",
        "id",
        "n",
        "at",
        "name",
        "key",
        "table",
        "list",
        "kind",
        "rule",
        "group",
    ),
    *("who", "about", "done", "to", "add", "applied", "days", "span", "what", "do", "text", "seen", "note", "sample"),
    *("line", "lines", "reason", "session", "theme", "back", "by", "days", "exception", "choice", "request", "mail"),
    *("from", "domain", "queue"),
)
# A stream does not end.
PAGES = [
    (each, method)
    for each in ROUTES
    for method in ("GET", "POST")
    if (each.get if method == "GET" else each.post) and not each.path.endswith("/live")
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A console of a site whose server does not run."""
    site = Site(tmp_path_factory.mktemp("site"))
    return application(Parts(load_settings(str(site.settings))), SignedIn(Role.ADMIN))


def asked(app, route, method, value):
    """An answer."""
    written = urlencode(dict.fromkeys(NAMES, value), errors="surrogatepass")
    address = re.sub(r"\{[^}]*\}", quote(value, safe="", errors="surrogatepass"), route.path)
    browser = Browser(app)
    if method == "GET":
        return browser.get(f"{address}?{written}")
    return browser.post(address, dict.fromkeys(NAMES, value.encode("utf-8", "surrogatepass")))


def seen_in(answer):
    """A page without what its forms carry along."""
    text = answer.body.decode("utf-8", "replace")
    return re.sub(r' value="[^"]*"|<textarea[^>]*>[^<]*</textarea>', "", text)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(("route", "method"), PAGES, ids=[f"{method} {each.path}" for each, method in PAGES])
def test_a_hostile_value_is_text(app, route, method, value):
    """The console has no bug with it, and nothing of it is markup."""
    answer = asked(app, route, method, value)
    assert answer.status != 500, answer.text
    assert "set-cookie" not in answer.headers or "x=y" not in answer.headers["set-cookie"]
    text = seen_in(answer)
    assert "<script>alert" not in text
    assert ' onload="alert' not in text
    assert "\u202e" not in text
    assert "root:x:0" not in text
