"""Sign-in at an OpenID provider: authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9700).

The browser goes to the provider with a state, a nonce and a challenge, which are all made of one secret that it keeps
in a cookie; nothing is kept here meanwhile. It comes back with a code, for which the provider gives a token with its
signature. Who it is: the mail address in it, which the provider must have verified. Raises DirectoryAwayError where the
provider cannot be asked, NotProvedError where it does not say who this is.
"""

from __future__ import annotations

import base64
import hmac
import logging
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, urlencode

from forkpolicy.console.access.directory.errors import DirectoryAwayError, NotProvedError
from forkpolicy.console.access.directory.person import address_of
from forkpolicy.console.access.directory.provider import Provider
from forkpolicy.console.access.tokens import is_same, new_secret
from forkpolicy.sign_in_checks import read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console_settings import ConsoleSettings

COOKIE: Final = "__Host-forkpolicy-oidc"
BACK: Final = "/sign-in/oidc/back"
# How long somebody may take to sign in there.
_MINUTES: Final = 10
_ATTRIBUTES: Final = f"Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={_MINUTES * 60}"
# Signatures that need the provider's private key: not `none`, nor those that the client's secret makes.
_ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
_OF_CLIENT: Final = ("invalid_client", "unauthorized_client", "unsupported_grant_type")
_MOST_CODE: Final = 4096
_LEEWAY_S: Final = 60
_log: Final = logging.getLogger("forkpolicy.console")


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and what it is to keep: a value of Set-Cookie."""

    address: str
    cookie: str


class Oidc:
    """The provider of the settings."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._back = settings.origin + BACK
        self.provider = Provider(settings.oidc_issuer, settings.ca_file)

    def begin(self, to: str) -> Begun:
        """`to`: the page to come back to."""
        secret = new_secret()
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client,
            "redirect_uri": self._back,
            "scope": "openid email",
            "state": _made_of(secret, "state"),
            "nonce": _made_of(secret, "nonce"),
            "code_challenge": _base64(sha256(_made_of(secret, "verifier").encode()).digest()),
            "code_challenge_method": "S256",
        }
        place = str(self.provider.about()["authorization_endpoint"])
        address = f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"
        return Begun(address, f"{COOKIE}={secret}.{quote(to, safe='')}; {_ATTRIBUTES}")

    def address(self, query: Mapping[str, str], cookie: str) -> str:
        """The mail address of who comes back, folded."""
        secret = cookie.partition(".")[0]
        if not secret or not is_same(query.get("state", ""), _made_of(secret, "state")):
            raise NotProvedError("it was not begun in this browser, or took longer than ten minutes")
        self._check_sender(query)
        answer = self._exchange(query["code"], _made_of(secret, "verifier"))
        claims = self._claims(str(answer.get("id_token", "")), _made_of(secret, "nonce"))
        return self._verified_address(claims, str(answer.get("access_token", "")))

    def _check_sender(self, query: Mapping[str, str]) -> None:
        if "error" in query:
            raise NotProvedError(f"it says {query['error']}: {query.get('error_description', '')}")
        # RFC 9207: of several providers one must not answer for another.
        says_so = self.provider.about().get("authorization_response_iss_parameter_supported") is True
        if query.get("iss", "" if says_so else self.provider.issuer) != self.provider.issuer:
            raise NotProvedError(f"the answer is of another issuer, {query.get('iss', '')!r}")
        if not 0 < len(query.get("code", "")) <= _MOST_CODE:
            raise NotProvedError("the answer has no code")

    def _exchange(self, code: str, verifier: str) -> Mapping[str, object]:
        """The tokens for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": verifier,
        }
        credentials, more = self._credentials()
        place = str(self.provider.about()["token_endpoint"])
        status, answer = self.provider.post(place, {**form, **more}, credentials)
        if status != 200:
            said = f"{answer.get('error', '')}: {answer.get('error_description', '')}"
            # All but these is of the code, which anybody may have made up.
            if 400 <= status < 500 and answer.get("error") not in _OF_CLIENT:
                raise NotProvedError(f"the code is not good ({said})")
            raise DirectoryAwayError(f"{place}: status {status}, {said}")
        return answer

    def _credentials(self) -> tuple[str, Mapping[str, str]]:
        """How this console says who it is: a value of Authorization, or fields of the form."""
        client, path = self._settings.oidc_client, self._settings.oidc_secret_file
        if not path:
            return "", {"client_id": client}
        try:
            secret = read_secret("[console] oidc_secret_file", path)
        except ValueError as error:
            raise DirectoryAwayError(str(error)) from error
        ways = self.provider.about().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways:
            return "", {"client_id": client, "client_secret": secret}
        # RFC 6749, 2.3.1: each is a field of a form first.
        both = f"{quote_plus(client)}:{quote_plus(secret)}"
        return f"Basic {base64.b64encode(both.encode()).decode()}", {}

    def _claims(self, token: str, nonce: str) -> Mapping[str, object]:
        """What a token says, when all that it must have is good (OpenID Connect Core 1.0, 3.1.3.7)."""
        from joserfc import errors, jwt  # noqa: PLC0415 - optional

        client = self._settings.oidc_client
        wanted = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self.provider.issuer},
            aud={"essential": True, "value": client},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = self._decoded(token)
            wanted.validate(claims)
        except (errors.JoseError, ValueError, TypeError, KeyError) as error:
            raise NotProvedError(f"its token is not good: {error}") from error
        is_for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_for_several else client) != client:
            raise NotProvedError("its token is for another client, too")
        return claims

    def _decoded(self, token: str) -> dict[str, object]:
        from joserfc import errors, jwt  # noqa: PLC0415 - optional

        try:
            return dict(jwt.decode(token, self.provider.keys(), algorithms=_ALGORITHMS).claims)
        except (errors.JoseError, ValueError):
            # Its keys may have changed.
            return dict(jwt.decode(token, self.provider.keys(fresh=True), algorithms=_ALGORITHMS).claims)

    def _verified_address(self, claims: Mapping[str, object], access_token: str) -> str:
        place = str(self.provider.about().get("userinfo_endpoint", ""))
        if "email" not in claims and place and access_token:
            more = self.provider.get(place, access_token)
            if more.get("sub") != claims["sub"]:
                raise NotProvedError("what it says about the person is about another one")
            claims = more
        if claims.get("email_verified") is not True:
            raise NotProvedError("it has not verified the mail address (email, email_verified)")
        address = address_of(str(claims.get("email", "")))
        if not address:
            raise NotProvedError(f"{claims.get('email')!r} is not a mail address")
        return address


def page_of(cookie: str) -> str:
    """The page to come back to, as it was asked for."""
    return unquote(cookie.partition(".")[2])


def no_cookie() -> str:
    """Set-Cookie that removes it."""
    return f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"


def _made_of(secret: str, what: str) -> str:
    """A value of 256 bits that tells nothing of the secret, nor of another one that is made of it."""
    return _base64(hmac.new(secret.encode(), what.encode(), sha256).digest())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
