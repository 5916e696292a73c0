"""A store of held mail and a console that shows it, with people; and a host that a hostile mail would ask."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Self

from tests.console.held import HeldStore
from tests.console.serving import Console

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = {
    "admin": ("--role", "admin"),
    "domain": ("--role", "domain", "--domain", "example.net"),
    "anna": ("--role", "user", "--address", "anna@example.com"),
    "bob": ("--role", "user", "--address", "bob@example.com"),
}
# Those of the gateway's shipped policy.
LISTS = """\
table user_welcome pair:address,address may-shrink console/tables/user-welcome
table user_block pair:address,address may-shrink console/tables/user-block
action default DUNNO
"""


class HeldSite:
    """Use as a context manager. `links`: the one-time link of each account. `others`: sections of gateway.toml."""

    def __init__(self, base: Path, others: str = "") -> None:
        base.mkdir(exist_ok=True)
        (base / "policy.conf").write_text(LISTS)
        (base / "console" / "tables").mkdir(parents=True)
        for name in ("user-welcome", "user-block"):
            (base / "console" / "tables" / name).write_text("")
        self.held = HeldStore(base, others)
        self.console = Console(base, more=f'gateway = "{self.held.store.settings}"\n')
        self.origin = f"http://127.0.0.1:{self.console.port}"
        self.links: dict[str, str] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.held)
            stack.enter_context(self.console)
            self.links = {name: self.console.first_link(name, *options) for name, options in ACCOUNTS.items()}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Stranger:
    """A host that counts what asks it. Use as a context manager."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                """Not to standard error."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def hostile(stranger: str) -> bytes:
    """A mail that tries whatever a browser knows: in its headers, its HTML, the names of its attachments."""
    script = "<script>top.document.title='owned'</script>"
    html = (
        f"{script}<img src='{stranger}/image.png' onerror=\"top.document.title='owned'\">"
        f"<svg><image href='{stranger}/svg.png'/><script>top.document.title='owned'</script></svg>"
        f"<style>@import '{stranger}/style.css'; body{{background:url({stranger}/background.png)}}</style>"
        f"<link rel=stylesheet href='{stranger}/link.css'><link rel=prefetch href='{stranger}/prefetch'>"
        f"<meta http-equiv=refresh content='0;url={stranger}/refresh'><base href='{stranger}/'>"
        f"<iframe src='{stranger}/frame'></iframe><object data='{stranger}/object'></object>"
        f"<video src='{stranger}/video' autoplay></video><form action='{stranger}/form'><input name=p autofocus></form>"
        f"<p onclick=\"top.document.title='owned'\">Dear <b>Anna</b></p><a href='{stranger}/click'>your bank</a>"
        "<a href=\"javascript:top.document.title='owned'\">here</a>"
    )
    boundary = "=_b"
    return "\r\n".join(
        [
            f"Subject: {script} hostile",
            f'From: "{script}" <x@example.org>',
            "To: anna@example.com",
            f"X-Odd: {script}",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: text/html; charset=utf-8",
            "",
            html,
            f"--{boundary}",
            "Content-Type: image/svg+xml",
            f'Content-Disposition: attachment; filename="{script}.svg"',
            "",
            f"<svg xmlns='http://www.w3.org/2000/svg'>{script}</svg>",
            f"--{boundary}",
            "Content-Type: text/html",
            'Content-Disposition: attachment; filename="page.html"',
            "",
            script,
            f"--{boundary}--",
            "",
        ]
    ).encode()
