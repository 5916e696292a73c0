"""Browsers and sites of these tests. `site` is for tests that change nothing; those that act make their own."""

from __future__ import annotations

import contextlib

import pytest

from tests.browser.chromium import Chromium, missing
from tests.browser.site import Site

WHY_NOT = missing()


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/browser/" in str(item.path):
            # Some pages, four looks of each: on a busy machine that takes a while.
            item.add_marker(pytest.mark.timeout(400))
            if WHY_NOT:
                item.add_marker(pytest.mark.skip(reason=WHY_NOT))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with a history and a console."""
    with Site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def admin(site):
    """A browser in which the administrator has signed in."""
    with Chromium(site.origin) as browser:
        browser.sign_in(site.links["admin"])
        yield browser


@pytest.fixture
def browsers():
    """Opens browsers that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Chromium(*arguments, **options))
