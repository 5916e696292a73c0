"""The story of a refused mail in a browser: what if, apply, and the mail passes; with scripts and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.site import FORGED, Site
from tests.process.waiting import eventually

PICTURES = Path(__file__).parent.parent.parent / "build" / "screenshots"


@pytest.mark.parametrize("scripts", [True, False])
def test_an_exception_lets_the_mail_in(tmp_path, browsers, scripts):
    """Proposed, counted, applied; the rule is among the rules, and where it stands it is asked first."""
    with Site(tmp_path / "site") as site:
        admin = browsers(site.origin, scripts=scripts)
        admin.sign_in(site.links["admin"])
        code = next(each["id"] for each in site.found("from:boss@example.com", "since:1d"))
        admin.go(f"/whatif?id={code}&choice=1")
        if scripts:
            admin.until(lambda: "being counted" not in admin.text)
        else:
            eventually(lambda: admin.go(f"/whatif?id={code}&choice=1") or "being counted" not in admin.text)
        assert "claims a domain of ours without having signed in" in admin.text
        admin.picture(PICTURES / f"what-if-{'with' if scripts else 'without'}-scripts.png")
        assert site.ask(FORGED).startswith("REJECT")
        admin.click("Apply")
        admin.until_shown("Undo")
        eventually(lambda: site.ask(FORGED) == "DUNNO")
        admin.go("/rules")
        assert f"access {code}_sender {code}_client_address" in admin.text
        assert admin.said() == []


def test_what_no_exception_can_let_in_is_said(tmp_path, browsers):
    """A rule of the administrator stands in front of the include."""
    with Site(tmp_path / "site") as site:
        policy = site.directory / "policy.conf"
        text = policy.read_text().replace("include console/rules.conf restricted\n", "")
        policy.write_text(f"{text}include console/rules.conf restricted\n")
        admin = browsers(site.origin)
        admin.sign_in(site.links["admin"])
        code = next(each["id"] for each in site.found("from:boss@example.com", "since:1d"))
        admin.go(f"/whatif?id={code}")
        admin.until_shown("This exception cannot let it in")
        admin.until_shown("refuses it before the console's rules are asked")
        admin.picture(PICTURES / "what-if-in-vain.png")
