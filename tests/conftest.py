"""What holds for every test: Postfix's tests run where Postfix can, and say clearly where they did not."""

from __future__ import annotations

import pytest

from loadtest.servers.postfix import missing

WHY_NO_POSTFIX = missing()


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/postfix/" in str(item.path):
            item.add_marker(pytest.mark.postfix)
            if WHY_NO_POSTFIX:
                item.add_marker(pytest.mark.skip(reason=WHY_NO_POSTFIX))


def pytest_terminal_summary(terminalreporter):
    skipped = [each for each in terminalreporter.stats.get("skipped", []) if "postfix" in each.keywords]
    if skipped and WHY_NO_POSTFIX:
        terminalreporter.write_sep("=", "POSTFIX TESTS WERE NOT RUN", yellow=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests through a real Postfix were left out: {WHY_NO_POSTFIX}.")
