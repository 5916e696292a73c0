"""The server of an OpenID provider: what it says of itself, its keys, and answers to questions, all JSON by HTTPS.

What it says of itself is kept for an hour, its keys until a token has another one. No redirect is followed. urllib3 and
joserfc (`pip install 'forkpolicy[oidc]'`) are imported when a provider is asked. For all threads. Raises
DirectoryAwayError.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from forkpolicy.console.access.directory.errors import DirectoryAwayError
from forkpolicy.directory_urls import is_web_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from joserfc.jwk import KeySet

CONNECT_S: Final = 4.0
TOTAL_S: Final = 8.0
MOST_BYTES: Final = 1 << 20
_KEPT_S: Final = 3600.0
# A stranger's token with a key that is not there must not have the provider asked for each.
_KEYS_EVERY_S: Final = 30.0
_ABOUT: Final = "/.well-known/openid-configuration"
_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_NOT_INSTALLED: Final = "the packages joserfc and urllib3 are not installed: pip install 'forkpolicy[oidc]'"


class Provider:
    """`issuer`: as tokens have it, to the letter."""

    def __init__(self, issuer: str, ca_file: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer, self._ca_file, self._clock = issuer, ca_file, clock
        self.host = urlsplit(issuer).hostname or issuer
        self._lock = threading.Lock()
        self._about: Mapping[str, object] = {}
        self._about_s = self._keys_s = -_KEPT_S
        self._keys: KeySet | None = None

    def about(self) -> Mapping[str, object]:
        """Its metadata (OpenID Connect Discovery 1.0): each URL in it that is used goes by TLS."""
        with self._lock:
            if self._clock() - self._about_s >= _KEPT_S:
                self._about = self._checked(self.get(self.issuer.rstrip("/") + _ABOUT))
                self._about_s = self._clock()
            return self._about

    def _checked(self, about: Mapping[str, object]) -> Mapping[str, object]:
        if about.get("issuer") != self.issuer:
            raise DirectoryAwayError(f"it calls itself {about.get('issuer')!r}: write that as oidc_issuer")
        for name in _NEEDED:
            if not is_web_url(str(about.get(name, ""))):
                raise DirectoryAwayError(f"it has no {name} that can be reached by https")
        return about

    def keys(self, *, fresh: bool = False) -> KeySet:
        """Those that it signs with. `fresh`: a token has another one."""
        about = self.about()
        with self._lock:
            if self._keys is None or (fresh and self._clock() - self._keys_s >= _KEYS_EVERY_S):
                self._keys_s = self._clock()
                self._keys = _key_set(self.get(str(about["jwks_uri"])))
            return self._keys

    def get(self, url: str, token: str = "") -> Mapping[str, object]:
        """A document; `token`: of the person whom it is about."""
        status, answer = self._ask("GET", url, {"Authorization": f"Bearer {token}"} if token else {})
        if status != 200:
            raise DirectoryAwayError(f"{url}: status {status}")
        return answer

    def post(self, url: str, form: Mapping[str, str], credentials: str) -> tuple[int, Mapping[str, object]]:
        """The status and the document that a form gets; `credentials`: of Authorization, empty for none."""
        return self._ask("POST", url, {"Authorization": credentials} if credentials else {}, form)

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, object]]:
        library = _urllib3()
        timeout = library.Timeout(connect=CONNECT_S, total=TOTAL_S)
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        sent = {"Accept": "application/json", **kind, **headers}
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
            with library.PoolManager(ssl_context=context, timeout=timeout, retries=False) as pool:
                response = pool.request(
                    method,
                    url,
                    body=urlencode(form) if form is not None else None,
                    headers=sent,
                    redirect=False,
                    preload_content=False,
                )
                body = response.read(MOST_BYTES + 1)
                response.close()
        except (library.exceptions.HTTPError, OSError) as error:
            raise DirectoryAwayError(f"{url}: {error}") from error
        return response.status, _document(url, body)


def _document(url: str, body: bytes) -> Mapping[str, object]:
    if len(body) > MOST_BYTES:
        raise DirectoryAwayError(f"{url}: the answer is larger than {MOST_BYTES >> 20} MiB")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DirectoryAwayError(f"{url}: the answer is not JSON") from error
    if not isinstance(found, dict):
        raise DirectoryAwayError(f"{url}: the answer is not a JSON object")
    return found


def _key_set(document: Mapping[str, object]) -> KeySet:
    """Its keys for signatures; one of a kind that nobody here knows is left out."""
    from joserfc.errors import JoseError  # noqa: PLC0415 - optional
    from joserfc.jwk import JWKRegistry, KeySet  # noqa: PLC0415 - optional

    found = []
    keys = document.get("keys")
    for each in keys if isinstance(keys, list) else ():
        try:
            if each.get("use", "sig") == "sig":
                found.append(JWKRegistry.import_key(each))
        except (JoseError, ValueError, TypeError, AttributeError, KeyError):
            continue
    return KeySet(found)


def _urllib3() -> ModuleType:
    try:
        import joserfc  # noqa: F401, PLC0415 - optional
        import urllib3  # noqa: PLC0415 - optional
    except ImportError as error:
        raise DirectoryAwayError(_NOT_INSTALLED) from error
    return urllib3
