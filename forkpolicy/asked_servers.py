"""Which servers a policy needs by its settings and its ACLs, and where each is named.

Pure, but for the settings file, which a diagnostic reads again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from forkpolicy.reachable import AskedServer
from forkpolicy.redis_urls import host_and_port, parse_url
from forkpolicy.settings import diagnostic_at_setting
from forkpolicy.state_settings import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.settings import Settings


def asked_servers(settings: Settings, model: Model) -> tuple[AskedServer, ...]:
    """All of them."""
    return (*(_engine(settings) if model.remembers else ()), *_services(model))


def _services(model: Model) -> Iterator[AskedServer]:
    """Other policy servers, each once, at the first ACL that asks it."""
    first: dict[str, Acl] = {}
    for acl in model.acls.values():
        for endpoint in (each.endpoint for each in acl.matchers if each.endpoint):
            first.setdefault(endpoint, acl)
    for endpoint, acl in first.items():
        yield AskedServer(f"service {endpoint}", acl.word.error, (endpoint,))


def _engine(settings: Settings) -> Iterator[AskedServer]:
    """The hosts that the URL names. Sentinels and clusters name others, which only they know."""
    state = settings.state
    if state.url == EMBEDDED:
        return
    url = parse_url(state.url)
    endpoints = (f"unix:{url.path}",) if url.path else tuple(f"inet:{host_and_port(*each)}" for each in url.hosts)
    files = (state.password_file, state.sentinel_password_file, state.ca_file, state.cert_file, state.key_file)
    at = partial(diagnostic_at_setting, settings.path, "state", "url")
    yield AskedServer("engine", at, endpoints, tuple(filter(None, files)))
