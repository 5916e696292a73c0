"""Which servers a policy needs by its settings and its ACLs, and where each is named.

Pure, but for the settings file, which a diagnostic reads again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.dns_settings import endpoint_of
from forkpolicy.reachable import RESOLV_CONF, AskedServer, name_servers
from forkpolicy.redis_urls import host_and_port, parse_url
from forkpolicy.settings import diagnostic_at_setting
from forkpolicy.state_settings import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.settings import Settings

# The ACL types that ask the DNS.
_DNS_TYPES: Final = ("rbl", "rhsbl", "spf")


def asked_servers(settings: Settings, model: Model) -> tuple[AskedServer, ...]:
    """All of them."""
    engine = _engine(settings) if model.remembers else ()
    return (*engine, *_name_servers(settings, model), *asked_services(model))


def asked_services(model: Model) -> Iterator[AskedServer]:
    """Other policy servers, each once, at the first ACL that asks it."""
    first: dict[str, Acl] = {}
    for acl in model.acls.values():
        for endpoint in (each.endpoint for each in acl.matchers if each.endpoint):
            first.setdefault(endpoint, acl)
    for endpoint, acl in first.items():
        yield AskedServer(f"service {endpoint}", acl.word.error, (endpoint,))


def _name_servers(settings: Settings, model: Model) -> Iterator[AskedServer]:
    """Those of the settings, otherwise those of the system, which an ACL needs."""
    asked = (acl for rule in model.rules for acl in rule.asked_acls)
    first = next((acl for acl in asked if acl.type_name in _DNS_TYPES), None)
    servers = settings.dns.servers
    if first and servers:
        at = partial(diagnostic_at_setting, settings.path, "dns", "servers")
        yield AskedServer("name server", at, tuple(map(endpoint_of, servers)))
    elif first:
        yield AskedServer(f"name server of {RESOLV_CONF}", first.word.error, name_servers())


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
