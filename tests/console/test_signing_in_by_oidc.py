"""People without an account sign in at an OpenID provider: npm's oidc-provider, and an odd one that says anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from urllib.parse import parse_qsl, urlsplit

import pytest
import trustme
from joserfc import jwt
from joserfc.jwk import RSAKey

from forkpolicy.console.access.directory import directory as directories
from forkpolicy.console.access.directory import provider as providers
from forkpolicy.console.access.limits import OF_NETWORK, Tries
from forkpolicy.console.access.rights import Role
from tests.console.directories import (
    PASSWORD,
    account,
    browser_of,
    cheap_hashes,
    console,
    gateway,
    me,
    sign_in,
    token_of,
)
from tests.oidc_servers import Provider

BACK = "http://127.0.0.1:8025/sign-in/oidc/back"
PEOPLE = {
    "anna": {"email": "Anna@EXAMPLE.com.", "email_verified": True},
    "kept": {"email": "kept@example.com", "email_verified": True},
    "elsewhere": {"email": "anna@example.org", "email_verified": True},
    "unverified": {"email": "ben@example.com", "email_verified": False},
    "unsaid": {"email": "ben@example.com"},
    "text": {"email": "ben@example.com", "email_verified": "true"},
    "nameless": {"email_verified": True},
    "odd": {"email": 'ben"@example.com', "email_verified": True},
}
NOT_SIGNED_IN = "You are not signed in"


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    cheap_hashes(monkeypatch)
    monkeypatch.setattr(directories, "AWAY_S", 0.0)


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    """One that puts the mail address into its tokens."""
    found = Provider(tmp_path_factory.mktemp("provider") / "one", trustme.CA(), BACK, PEOPLE)
    yield found
    found.stop()


def by_oidc(tmp_path, server, **settings):
    """A console whose people sign in there."""
    given = {
        "oidc_issuer": server.issuer,
        "oidc_client": "the console",
        "oidc_secret_file": str(server.secret),
        "ca_file": str(server.authority),
        **settings,
    }
    return console(tmp_path / "console", sign_in=("local", "oidc"), **given)


def begin(asked, to=""):
    """Where the button of the form leads to."""
    answer = asked.get(f"/sign-in/oidc?to={to}")
    assert answer.status == 303
    return answer.headers["location"]


def come_back(asked, address):
    """The answer to a browser that the provider has sent back."""
    assert address.startswith(BACK)
    return asked.get(address.removeprefix("http://127.0.0.1:8025"))


def test_signing_in_at_a_provider(tmp_path, provider):
    """Leads to the page that was asked for, as the folded address, with the rights of a user."""
    parts = by_oidc(tmp_path, provider)
    asked = browser_of(parts)
    page = asked.get("/sign-in?to=%2Faccount%3Fa%3Db").text
    assert 'href="/sign-in/oidc?to=%2Faccount%3Fa%3Db"' in page
    assert "Sign in at localhost" in page
    answer = come_back(asked, provider.sign_in(begin(asked, "%2Faccount%3Fa%3Db"), "anna"))
    assert (answer.status, answer.headers["location"]) == (303, "/account?a=b")
    found = me(asked)
    assert (found["name"], found["role"], found["addresses"]) == ("anna@example.com", "user", ["anna@example.com"])
    assert [each.what for each in parts.audit.find(who="anna@example.com")] == ["signed in by oidc"]
    assert asked.post("/sign-out", {"token": token_of(asked)}).status == 303
    assert asked.get("/account").status == 303


def test_what_the_browser_carries(tmp_path, provider):
    """A state, a nonce and the digest of a verifier, new each time; and a cookie for this origin and no script."""
    asked = browser_of(by_oidc(tmp_path, provider))
    queries = [dict(parse_qsl(urlsplit(begin(asked)).query)) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert len(queries[0][name]) == 43
        assert queries[0][name] != queries[1][name]
    assert len({queries[0][name] for name in ("state", "nonce", "code_challenge")}) == 3
    assert queries[0]["code_challenge_method"] == "S256"
    cookie, *attributes = asked.get("/sign-in/oidc").headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-forkpolicy-oidc=")
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"}


@pytest.mark.parametrize("way", ["client_secret_post", "none", "userinfo"])
def test_other_providers(tmp_path, way):
    """That want the secret in a form, none at all, or are asked about the person."""
    client = {} if way == "userinfo" else {"token_endpoint_auth_method": way}
    found = Provider(tmp_path / "two", trustme.CA(), BACK, PEOPLE, client=client, by_userinfo=way == "userinfo")
    try:
        parts = by_oidc(tmp_path, found, **({"oidc_secret_file": ""} if way == "none" else {}))
        asked = browser_of(parts)
        if way == "client_secret_post":
            # This one says that it takes both; a provider that says this alone is asked so.
            about = {**parts.door.directory._oidc.provider.about(), "token_endpoint_auth_methods_supported": [way]}
            parts.door.directory._oidc.provider._about = about
        answer = come_back(asked, found.sign_in(begin(asked), "anna"))
        assert (answer.status, me(asked)["name"]) == (303, "anna@example.com")
    finally:
        found.stop()


@pytest.mark.parametrize("who", ["unverified", "unsaid", "text", "nameless", "odd", "elsewhere", "access_denied"])
def test_who_is_not_proved_does_not_sign_in(tmp_path, provider, who):
    """Without a mail address that was verified, or one that the gateway does not serve, or where somebody said no."""
    parts = by_oidc(tmp_path, provider, gateway=gateway(tmp_path, "example.com relay:[192.0.2.5]:25\n"))
    asked = browser_of(parts)
    answer = come_back(asked, provider.sign_in(begin(asked), who))
    assert (answer.status, NOT_SIGNED_IN in answer.text) == (401, True)
    assert asked.get("/account").status == 303
    assert parts.audit.find() == []


def test_who_looks_after_a_domain(tmp_path, provider):
    """Has the role of one by the address that was proved."""
    lines = "example.com relay:[192.0.2.5]:25 admins=anna@example.com\n"
    parts = by_oidc(tmp_path, provider, gateway=gateway(tmp_path, lines))
    asked = browser_of(parts)
    come_back(asked, provider.sign_in(begin(asked), "anna"))
    assert (me(asked)["role"], me(asked)["domains"]) == ("domain", ["example.com"])


def test_an_account_of_the_console_is_not_taken_over(tmp_path, provider):
    """Its own password signs in alone; disabled, it stays out."""
    parts = by_oidc(tmp_path, provider)
    account(parts, "kept@example.com", Role.OPERATOR)
    for _ in range(2):
        asked = browser_of(parts)
        answer = come_back(asked, provider.sign_in(begin(asked), "kept"))
        assert (answer.status, "has an account of this console" in answer.text) == (401, True)
        assert asked.get("/account").status == 303
        parts.door.accounts.disable("kept@example.com")


def test_who_comes_back_is_who_went(tmp_path, provider):
    """An answer works once, in the browser that was sent, as it was sent; a stranger's gets nobody in."""
    parts = by_oidc(tmp_path, provider)
    asked, other = browser_of(parts), browser_of(parts)
    address = provider.sign_in(begin(asked), "anna")
    query = dict(parse_qsl(urlsplit(address).query))
    begin(other)
    for browser, wrong in (
        (browser_of(parts), address),
        (other, address),
        (asked, address.replace(query["state"], "x" * 43)),
        (asked, address.replace(f"state={query['state']}", "")),
        (asked, address.replace("localhost", "evil.example")),
        (asked, address.partition("&iss=")[0]),
        (asked, address.replace(query["code"], "")),
        (asked, address.replace(query["code"], "x" * 5000)),
        (asked, address.replace(query["code"], "made-up")),
    ):
        parts.door.tries = Tries()  # five failures with one state are enough
        answer = come_back(browser, wrong)
        assert (answer.status, NOT_SIGNED_IN in answer.text) == (401, True)
        assert browser.get("/account").status == 303
    assert come_back(asked, address).status == 303
    assert me(asked)["name"] == "anna@example.com"
    again = browser_of(parts)
    again.cookies["__Host-forkpolicy-oidc"] = other.cookies["__Host-forkpolicy-oidc"]
    assert come_back(again, address).status == 401


def test_a_session_is_another_one_after_signing_in(tmp_path, provider):
    """One that was there before has ended, and the cookie of the way there and back is removed."""
    parts = by_oidc(tmp_path, provider)
    asked = account(parts, "admin", Role.ADMIN)
    before = dict(asked.cookies)
    come_back(asked, provider.sign_in(begin(asked), "anna"))
    assert (me(asked)["name"], asked.cookies["__Host-forkpolicy-oidc"]) == ("anna@example.com", "")
    asked.cookies = before
    assert asked.get("/account").status == 303


@pytest.mark.parametrize(
    "settings",
    [{"ca_file": ""}, {"ca_file": "/nowhere.pem"}, {"oidc_issuer": "https://localhost:1"}, {"slash": True}],
)
def test_a_provider_that_cannot_be_asked(tmp_path, provider, settings):
    """For its certificate, as it is away, or calls itself otherwise: the page says so, and local accounts sign in."""
    if settings.get("slash"):
        settings = {"oidc_issuer": f"{provider.issuer}/"}
    parts = by_oidc(tmp_path, provider, **settings)
    account(parts, "admin", Role.ADMIN)
    answer = browser_of(parts).get("/sign-in/oidc")
    assert (answer.status, "localhost cannot be asked now" in answer.text) == (503, True)
    assert sign_in(parts, "admin", PASSWORD)[1].status == 303


def test_a_secret_that_is_wrong(tmp_path, provider):
    """Or that others may read, is no fault of who signs in."""
    parts = by_oidc(tmp_path, provider)
    asked = browser_of(parts)
    own = tmp_path / "secret"
    own.write_text("wrong\n")
    for mode in (0o600, 0o604):
        own.chmod(mode)
        parts = by_oidc(tmp_path, provider, oidc_secret_file=str(own))
        asked = browser_of(parts)
        answer = come_back(asked, provider.sign_in(begin(asked), "anna"))
        assert (answer.status, "cannot be asked now" in answer.text) == (503, True)


def test_keys_that_have_changed(tmp_path, monkeypatch):
    """Are asked for again, when a token has another one."""
    monkeypatch.setattr(providers, "_KEYS_EVERY_S", 0.0)
    found = Provider(tmp_path / "two", trustme.CA(), BACK, PEOPLE)
    try:
        parts = by_oidc(tmp_path, found)
        for _ in range(2):
            asked = browser_of(parts)
            assert come_back(asked, found.sign_in(begin(asked), "anna")).status == 303
            found.stop()
            found.start()
    finally:
        found.stop()


def test_a_console_without_a_provider(tmp_path):
    """Has neither button nor pages for it."""
    asked = browser_of(console(tmp_path / "console"))
    assert "oidc" not in asked.get("/sign-in").text
    assert [asked.get(each).status for each in ("/sign-in/oidc", "/sign-in/oidc/back?code=a&state=b")] == [404, 404]


def test_many_failures_of_one_network(tmp_path, provider):
    """End it for a while there; the provider is not asked meanwhile."""
    parts = by_oidc(tmp_path, provider)
    asked = browser_of(parts)
    address = provider.sign_in(begin(asked), "anna")
    stranger = browser_of(parts)
    assert {come_back(stranger, address.replace("state=", f"state={n}")).status for n in range(OF_NETWORK)} == {401}
    assert come_back(asked, address).status == 429


class OddProvider(http.server.ThreadingHTTPServer):
    """Answers each path with what `answers` has for it: a document, or bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, {"use": "sig", "kid": "one"}, private=True)
        self.about = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/me",
        }
        self.answers = {
            "/.well-known/openid-configuration": self.about,
            "/keys": {"keys": [{"kty": "new"}, self.key.as_dict(private=False)]},
        }
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def claims(self, nonce, **others):
        """Of a token that is good."""
        now_s = int(time.time())
        return {
            "iss": self.issuer,
            "aud": "the console",
            "sub": "anna",
            "iat": now_s,
            "exp": now_s + 60,
            "nonce": nonce,
            "email": "anna@example.com",
            "email_verified": True,
            **others,
        }

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.server.answers.get(self.path.partition("?")[0], {})
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def odd():
    """One that says anything."""
    with OddProvider() as found:
        yield found


def of_odd(tmp_path, odd):
    """A console that asks it, without a secret."""
    settings = {"oidc_issuer": odd.issuer, "oidc_client": "the console"}
    return console(tmp_path / "console", sign_in=("local", "oidc"), **settings)


def at_odd(tmp_path, odd, make, **answer):
    """The status for who comes back from there with a token: `make` gets the claims of a good one, and the key."""
    asked = browser_of(of_odd(tmp_path, odd))
    query = dict(parse_qsl(urlsplit(begin(asked)).query))
    odd.answers["/token"] = {"id_token": make(odd.claims(query["nonce"]), odd.key), **answer}
    return asked.get(f"/sign-in/oidc/back?code=a&state={query['state']}").status


def signed(claims, key, **header):
    """A token."""
    return jwt.encode({"alg": "RS256", "kid": "one", **header}, claims, key)


def _plain(*parts):
    return ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts)


def _unsigned(claims, _key):
    return f"{_plain({'alg': 'none'}, claims)}."


def _by_public_key(claims, key):
    """As a library takes it that believes the algorithm of a token."""
    text = _plain({"alg": "HS256"}, claims)
    digest = hmac.new(key.as_pem(private=False), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _cut(claims, key):
    head, _, signature = signed(claims, key).split(".")
    return f"{head}.{_plain({**claims, 'email': 'ben@example.com'})}.{signature}"


@pytest.mark.parametrize(
    ("status", "make"),
    [
        (303, signed),
        (303, lambda claims, key: signed({**claims, "aud": ["the console"]}, key)),
        (303, lambda claims, key: signed({**claims, "aud": ["the console", "b"], "azp": "the console"}, key)),
        (303, lambda claims, key: jwt.encode({"alg": "PS256"}, claims, key, algorithms=["PS256"])),
        (401, lambda claims, key: signed({**claims, "aud": ["the console", "b"]}, key)),
        (401, lambda claims, key: signed({**claims, "aud": ["the console", "b"], "azp": "b"}, key)),
        (401, lambda claims, key: signed({**claims, "azp": "b"}, key)),
        (401, lambda claims, key: signed({**claims, "aud": "b"}, key)),
        (401, lambda claims, key: signed({**claims, "aud": []}, key)),
        (401, lambda claims, key: signed({**claims, "aud": {"the console": 1}}, key)),
        (401, lambda claims, key: signed({**claims, "iss": "https://evil.example"}, key)),
        (401, lambda claims, key: signed({**claims, "nonce": "another"}, key)),
        (401, lambda claims, key: signed({**claims, "exp": claims["iat"] - 100}, key)),
        (401, lambda claims, key: signed({**claims, "iat": claims["iat"] + 1000}, key)),
        (401, lambda claims, key: signed({**claims, "exp": "soon"}, key)),
        (401, lambda claims, key: signed({**claims, "sub": 5}, key)),
        *(
            (401, lambda claims, key, name=name: signed({k: v for k, v in claims.items() if k != name}, key))
            for name in ("iss", "aud", "sub", "exp", "iat", "nonce", "email_verified")
        ),
        (401, lambda claims, _key: signed(claims, RSAKey.generate_key(2048, {"kid": "one"}))),
        (401, lambda claims, key: signed(claims, key, kid="two")),
        (401, _unsigned),
        (401, _by_public_key),
        (401, _cut),
        (401, lambda *_: ""),
        (401, lambda *_: "a.b.c"),
        (401, lambda *_: 5),
    ],
)
def test_a_token_is_good_or_nobody_signs_in(tmp_path, odd, status, make):
    """Whatever is wrong with it: signature, algorithm, who it is of and for, when, or which sign-in it belongs to."""
    assert at_odd(tmp_path, odd, make) == status


@pytest.mark.parametrize("keys", [{}, {"keys": "x"}, {"keys": [1, None, {"kty": "RSA"}]}, {"keys": []}])
def test_a_provider_without_a_key_of_the_token(tmp_path, odd, keys):
    """Signs nobody in, whatever it says instead."""
    odd.answers["/keys"] = keys
    assert at_odd(tmp_path, odd, signed) == 401


@pytest.mark.parametrize(("kid", "status"), [("one", 303), ("two", 303), (None, 401)])
def test_a_provider_with_several_keys(tmp_path, odd, kid, status):
    """Must name the one of a token (OpenID Connect Core 1.0, 10.1)."""
    second = RSAKey.generate_key(2048, {"use": "sig", "kid": "two"}, private=True)
    odd.answers["/keys"]["keys"].append(second.as_dict(private=False))
    header = {"alg": "RS256", **({"kid": kid} if kid else {})}
    assert (
        at_odd(tmp_path, odd, lambda claims, key: jwt.encode(header, claims, second if kid == "two" else key)) == status
    )


@pytest.mark.parametrize(
    ("status", "about_me"),
    [
        (303, {"sub": "anna", "email": "anna@example.com", "email_verified": True}),
        (401, {"sub": "ben", "email": "anna@example.com", "email_verified": True}),
        (401, {"email": "anna@example.com", "email_verified": True}),
        (401, {"sub": "anna", "email": "anna@example.com"}),
        (401, {"sub": "anna"}),
        (503, b"not JSON"),
        (503, b"[]"),
        (503, b" " * (2 << 20)),
    ],
)
def test_what_it_says_about_a_person(tmp_path, odd, status, about_me):
    """Must be about the person of the token."""
    odd.answers["/me"] = about_me
    without = lambda claims, key: signed({k: v for k, v in claims.items() if "email" not in k}, key)  # noqa: E731
    assert at_odd(tmp_path, odd, without, access_token="a") == status


@pytest.mark.parametrize(
    "about",
    [{"token_endpoint": "http://192.0.2.1/token"}, {"jwks_uri": "file:///etc/passwd"}, {"token_endpoint": None}],
)
def test_no_code_crosses_a_network_in_clear(tmp_path, odd, about):
    """Whatever the provider says of itself."""
    odd.about.update(about)
    assert browser_of(of_odd(tmp_path, odd)).get("/sign-in/oidc").status == 503


def test_a_verifier_is_what_its_digest_says(tmp_path, odd):
    """The provider gets the one that belongs to the challenge."""
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        odd.about["token_endpoint"] = f"http://127.0.0.1:{listener.getsockname()[1]}/token"

        def hear():
            connection, _ = listener.accept()
            with connection:
                text = b""
                while b"code_verifier" not in text:
                    text += connection.recv(65536)
                got.append(dict(parse_qsl(text.partition(b"\r\n\r\n")[2].decode())))

        thread = threading.Thread(target=hear)
        thread.start()
        asked = browser_of(of_odd(tmp_path, odd))
        query = dict(parse_qsl(urlsplit(begin(asked)).query))
        assert asked.get(f"/sign-in/oidc/back?code=a&state={query['state']}").status == 503
        thread.join()
    digest = hashlib.sha256(got[0]["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == query["code_challenge"]
    assert got[0]["redirect_uri"] == BACK
