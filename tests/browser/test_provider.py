"""Signing in at an OpenID provider in Debian's Chromium: over to another site, and back with the cookie."""

from __future__ import annotations

from tests.console.serving import Console
from tests.oidc_servers import Provider

PEOPLE = {"anna": {"email": "anna@example.com", "email_verified": True}}


def test_over_there_and_back(tmp_path, browsers):
    """The button leads to the provider, and that back to the page that was asked for; the browser complains of nothing.
    An old address signs nobody in.
    """
    console = Console(tmp_path)
    back = f"http://127.0.0.1:{console.port}/sign-in/oidc/back"
    provider = Provider(tmp_path / "provider", None, back, PEOPLE)
    more = (
        f'sign_in = ["local", "oidc"]\noidc_issuer = "{provider.issuer}"\noidc_client = "the console"\n'
        f'oidc_secret_file = "{provider.secret}"'
    )
    try:
        with Console(tmp_path, more=more, listen=console.listen) as console:
            anna = browsers(f"http://{console.listen}")
            console.first_link("admin")
            (provider.directory / "who").write_text("anna")
            anna.go("/account")
            anna.link("Sign in at localhost", "main").click()
            anna.until_shown("You are anna@example.com")
            assert anna.address == "/account"
            assert anna.said() == []
            anna.go("/sign-in/oidc/back?code=old&state=old")
            anna.until_shown("localhost did not say who you are")
    finally:
        provider.stop()
