"""The samples for nginx and Caddy (contrib/console, contrib/gateway), as they are but for ports and certificates, in
front of a real console: signing in, other names, forms of other sites, a socket file.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from loadtest.servers.ports import free_port
from tests.console.serving import PASSWORD, Console
from tests.process.waiting import eventually

CONTRIB = Path(__file__).parents[2] / "contrib"
SAMPLES = CONTRIB / "console"
HOST = "console.example.com"
NGINX = """\
{user}
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/console.conf;
}}
"""


class Proxy:
    """A proxy of that kind on a port of its own; its certificate is of the name that the samples have."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind, self.directory, self.port = kind, directory, free_port()
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
        words += ["-out", str(self.certificate), "-keyout", str(self.key)]
        subprocess.run(words, check=True, capture_output=True)

    def __enter__(self):
        environment = {"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory), "PATH": "/usr/bin"}
        with (self.directory / "proxy.log").open("w") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        eventually(self._listens)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def _listens(self):
        assert self.process.poll() is None, (self.directory / "proxy.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _command(self):
        return getattr(self, f"_{self.kind}")()

    def with_backend(self, address):
        """The sample with another address of the console."""
        self.backend = address
        return self

    def _gateway(self):
        return self._nginx(CONTRIB / "gateway", "unix:/run/forkpolicy-console/socket")

    def _nginx(self, samples=SAMPLES, address="127.0.0.1:8025"):
        text = (samples / "nginx.conf").read_text()
        assert f"server {address};" in text
        text = text.replace(f"server {address};", f"server {self.backend};")
        text = re.sub(r"listen \[::\]:443.*\n", "", text).replace("listen 443", f"listen 127.0.0.1:{self.port}")
        text = text.replace("/etc/ssl/console.example.com.pem", str(self.certificate))
        text = text.replace("/etc/ssl/private/console.example.com.key", str(self.key))
        (self.directory / "console.conf").write_text(text)
        main = self.directory / "nginx.conf"
        # Otherwise its workers are of another user, who may not open a socket file of ours.
        user = "user root;" if os.geteuid() == 0 else ""
        main.write_text(NGINX.format(directory=self.directory, user=user))
        return ["/usr/sbin/nginx", "-c", str(main), "-e", str(self.directory / "error.log")]

    def _caddy(self):
        text = (SAMPLES / "Caddyfile").read_text()
        backend = self.backend.replace("unix:", "unix/")
        text = text.replace("reverse_proxy 127.0.0.1:8025", f"reverse_proxy {backend}")
        site = f"{HOST}:{self.port}"
        text = text.replace(f"\n{HOST} {{", f"\n{site} {{\n\tbind 127.0.0.1\n\ttls {self.certificate} {self.key}")
        path = self.directory / "Caddyfile"
        path.write_text("{\n\tadmin off\n\tgrace_period 1s\n\tauto_https disable_redirects\n}\n" + text)
        return ["/usr/bin/caddy", "run", "--config", str(path), "--adapter", "caddyfile"]


class Browser:
    """What a browser does, on one connection a request: TLS by name, cookies, Origin."""

    def __init__(self, proxy, name=HOST):
        self.proxy, self.name, self.cookies = proxy, name, {}
        self.tls = ssl.create_default_context(cafile=str(proxy.certificate))
        self.tls.check_hostname = name == HOST
        if name != HOST:
            self.tls.verify_mode = ssl.CERT_NONE

    def ask(self, address, form=None, origin="", more=()):
        """A page, or a form that a page of `origin` has sent, of the same site if it is empty; `more` headers."""
        with self.begun(address, form, origin, more) as response:
            for value in response.headers.get_all("Set-Cookie", []):
                name, _, rest = value.partition("=")
                self.cookies[name] = rest.partition(";")[0]
            return response, response.read().decode()

    @contextlib.contextmanager
    def begun(self, address, form=None, origin="", more=()):
        """The same, of which nothing but the headers was read."""
        raw = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=20)
        connection = http.client.HTTPSConnection("127.0.0.1", self.proxy.port)
        connection.sock = self.tls.wrap_socket(raw, server_hostname=self.name)
        own = f"https://{self.name}:{self.proxy.port}"
        headers = {"Host": urlsplit(own).netloc, **dict(more)}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if form is not None:
            body = urlencode(form)
            headers |= {"Origin": origin or own, "Content-Type": "application/x-www-form-urlencoded"}
        with contextlib.closing(connection):
            connection.request("GET" if form is None else "POST", address, body, headers)
            yield connection.getresponse()


@pytest.fixture(scope="module", params=["nginx inet", "nginx unix", "gateway unix", "caddy inet", "caddy unix"])
def proxied(request):
    """A console on a port or a socket file, behind a proxy of that kind if this machine has it."""
    kind, family = request.param.split()
    program = kind.replace("gateway", "nginx")
    if not shutil.which(program, path="/usr/sbin:/usr/bin"):
        pytest.skip(f"{program} is not installed: apt-get install {program.replace('nginx', 'nginx-light')}")
    with tempfile.TemporaryDirectory(prefix="forkpolicy-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        proxy = Proxy(kind, folder)
        listen = f"unix:{folder}/socket" if family == "unix" else ""
        more = f'url = "https://{HOST}:{proxy.port}"\ntrusted_proxies = ["{"unix" if listen else "127.0.0.1"}"]'
        with Console(folder, listen=listen, more=more) as console, proxy.with_backend(console.listen):
            yield console, proxy


def test_signing_in_through_a_proxy(proxied):
    """A one-time link, the password of its account, a page that only those see who have signed in."""
    console, proxy = proxied
    link = console.first_link()
    assert link.startswith(f"https://{HOST}:{proxy.port}/first/")
    browser = Browser(proxy)
    response, text = browser.ask(urlsplit(link).path)
    assert response.status == 200, text
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    response, text = browser.ask(urlsplit(link).path, {"password": PASSWORD, "again": PASSWORD})
    assert (response.status, response.headers["Location"]) == (303, "/"), text
    assert list(browser.cookies) == ["__Host-forkpolicy"]
    assert browser.ask("/account")[0].status == 200
    other = Browser(proxy)
    response, text = other.ask("/sign-in", {"name": "anna", "password": PASSWORD})
    assert response.status == 303, text
    assert "anna" in other.ask("/account")[1]


def test_no_page_under_another_name(proxied):
    """Neither by the proxy nor by the console itself, where somebody reaches it past the proxy."""
    console, proxy = proxied
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Browser(proxy, "attacker.example").ask("/sign-in")
    if console.listen.startswith("unix:"):
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(console.listen.removeprefix("unix:"))
    else:
        raw = socket.create_connection(("127.0.0.1", console.port))
    connection = http.client.HTTPConnection("attacker.example")
    connection.sock = raw
    connection.request("GET", "/sign-in")
    answer = connection.getresponse()
    assert answer.status == 403
    assert "not as attacker.example" in answer.read().decode()
    connection.close()


def test_a_form_of_another_site_is_refused(proxied):
    """What a proxy passes on keeps the Origin that the browser has sent."""
    console, proxy = proxied
    browser = Browser(proxy)
    browser.ask(urlsplit(console.first_link("berta")).path, {"password": PASSWORD, "again": PASSWORD})
    response, text = browser.ask("/sign-out", {}, "https://attacker.example")
    assert (response.status, "does not come from a page of this console" in text) == (403, True)
    assert browser.ask("/account")[0].status == 200


def test_where_a_browser_is(proxied):
    """The console knows it from the proxy, and what the browser says of itself does not count."""
    console, proxy = proxied
    browser = Browser(proxy)
    browser.ask(urlsplit(console.first_link("carla")).path, {"password": PASSWORD, "again": PASSWORD})
    _, text = browser.ask("/account", more={"X-Forwarded-For": "192.0.2.99", "Forwarded": "for=192.0.2.99"})
    assert "<dt>You come from</dt><dd>127.0.0.1</dd>" in text
    assert "192.0.2.99" not in text


def test_live_lists_come_at_once(proxied):
    """No proxy waits until an answer that goes on is whole."""
    console, proxy = proxied
    browser = Browser(proxy)
    browser.ask(urlsplit(console.first_link("dora")).path, {"password": PASSWORD, "again": PASSWORD})
    with browser.begun("/now/live") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.read1(1000)
