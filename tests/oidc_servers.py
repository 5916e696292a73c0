"""npm's oidc-provider, an OpenID provider that is certified, started by a test on loopback, and ended by it.

The package is fetched into build/ once, never into the repository.
"""

from __future__ import annotations

import http.cookiejar
import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey

from loadtest.servers.ports import free_port

ROOT = Path(__file__).parent.parent
VERSION = "8.8.1"
MODULES = ROOT / "build" / f"oidc-provider-{VERSION}"
SCRIPT = Path(__file__).with_name("oidc_provider.mjs")


def fetched():
    """The directory of the package; skips the test where it cannot be had."""
    if not (MODULES / "whole").exists():
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("node or npm is not installed")
        MODULES.mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(MODULES)]
        words.append(f"oidc-provider@{VERSION}")
        made = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
        if made.returncode:
            pytest.skip(f"oidc-provider cannot be fetched: {made.stderr[-300:]}")
        (MODULES / "whole").touch()
    return MODULES


class Provider:
    """One provider with one client and some people: accounts with their claims. It is ready when this returns.
    Without an authority it is reached by http.
    """

    def __init__(self, directory, authority, back, people, *, client=None, by_userinfo=False):
        self.directory = directory
        directory.mkdir(parents=True)
        self.port = free_port()
        self.issuer = f"http{'s' if authority else ''}://localhost:{self.port}"
        self.authority = directory / "authority.pem"
        if authority:
            authority.cert_pem.write_to_path(self.authority)
            issued = authority.issue_cert("localhost")
            issued.private_key_pem.write_to_path(directory / "key.pem")
            (directory / "certificate.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        self.secret = directory / "secret"
        self.secret.write_text("a client's secret: 100 % & more\n")
        self.secret.chmod(0o600)
        self.settings = {
            "issuer": self.issuer,
            "port": self.port,
            "by_userinfo": by_userinfo,
            "people": people,
            "client": {
                "client_id": "the console",
                "client_secret": self.secret.read_text().strip(),
                "redirect_uris": [back],
                **(client or {}),
            },
        }
        self.process = None
        self.start()

    def start(self):
        """With a key of its own, again too."""
        key = RSAKey.generate_key(2048, {"use": "sig"}, private=True)
        self.settings["key"] = key.as_dict(private=True)
        (self.directory / "settings.json").write_text(json.dumps(self.settings))
        words = ["node", str(SCRIPT), str(self.directory), str(fetched())]
        with (self.directory / "log").open("w") as log:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        assert "listens" in self.process.stdout.readline(), (self.directory / "log").read_text()

    def stop(self):
        """End it."""
        self.process.kill()
        self.process.communicate()

    def sign_in(self, address, who):
        """Where a browser is sent back to that is sent there, when its owner signs in as that account."""
        (self.directory / "who").write_text(who)
        context = ssl.create_default_context(cafile=self.authority)
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar), _Stays()
        )
        while address.startswith(self.issuer):
            with opener.open(address) as answer:
                assert answer.status in (302, 303), answer.read().decode()
                to = answer.headers["location"]
            address = f"{self.issuer}{to}" if to.startswith("/") else to
        return address


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the answer is the redirect itself."""

    def http_error_302(self, _request, answer, *_):
        """As it came."""
        return answer

    http_error_303 = http_error_302
