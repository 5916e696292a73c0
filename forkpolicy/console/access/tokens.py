"""Secrets that a browser holds: random, kept as digests, compared in constant time."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import Final

_BYTES: Final = 32


def new_secret() -> str:
    """256 random bits as 43 characters of an address."""
    return secrets.token_urlsafe(_BYTES)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret. It has too many bits to be guessed from this, so no slow hash is needed."""
    return sha256(secret.encode()).digest()


def form_token(session_secret: str) -> str:
    """What each form of a session must have. It says nothing about the session's cookie."""
    return hmac.new(session_secret.encode(), b"form", sha256).hexdigest()


def is_same(given: str, right: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), right.encode())
