"""A Postfix next to the forkpolicy that it should ask, and how a finding about both is reported.

The other files judge; here is what they share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forkpolicy.addresses import unix_path
from forkpolicy.errors import Diagnostic
from forkpolicy.postfix.restrictions import find_call_sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.model import Model
    from forkpolicy.postfix.parameters import Postfix
    from forkpolicy.postfix.restrictions import CallSite
    from forkpolicy.settings import Settings

GOOD_CALL = "check_policy_service { unix:private/policy, timeout=10s, { default_action = 451 4.7.1 try again later } }"


@dataclass(frozen=True, slots=True)
class Finding(Diagnostic):
    """A diagnostic about a Postfix parameter."""

    parameter: str = ""

    def as_json(self) -> dict[str, object]:
        """The same for `--json`."""
        return {**Diagnostic.as_json(self), "parameter": self.parameter}


@dataclass(frozen=True, slots=True)
class Setup:
    """A Postfix, and the forkpolicy that it should ask. `model`: None where the policy failed to load."""

    postfix: Postfix
    settings: Settings
    model: Model | None
    call_sites: tuple[CallSite, ...]
    ours: tuple[CallSite, ...]


def look_at(postfix: Postfix, settings: Settings, model: Model | None) -> Setup:
    """Find the places at which this Postfix asks one of our sockets."""
    call_sites = tuple(find_call_sites(postfix))
    return Setup(
        postfix, settings, model, call_sites, tuple(site for site in call_sites if socket_of(site, postfix, settings))
    )


def socket_of(site: CallSite, postfix: Postfix, settings: Settings) -> str:
    """Which of our sockets a call site asks: a path, or host:port; empty when none."""
    return next((each for each in _asked(site, postfix) if each in listening(settings)), "")


def _asked(site: CallSite, postfix: Postfix) -> Iterator[str]:
    kind, _, rest = site.endpoint.partition(":")
    if kind == "unix":
        queue = postfix.parameters["queue_directory"]
        if site.chrooted:
            yield str(Path(queue, rest.lstrip("/")))
        yield str(Path(queue, rest))
    else:
        # Without its type it is an error, and still ours.
        yield inet_text(rest if kind == "inet" else site.endpoint)


def listening(settings: Settings) -> set[str]:
    """Our sockets: absolute paths, and host:port."""
    base = Path(settings.path).parent
    return {
        unix_path(each, base) if each.startswith("unix:") else inet_text(each.removeprefix("inet:"))
        for each in settings.server.listen
    }


def inet_text(host_port: str) -> str:
    """host:port, in one spelling."""
    return re.sub(r"[\[\]]", "", host_port).replace("localhost", "127.0.0.1")


def spot_of(setup: Setup, site: CallSite, parameter: str) -> tuple[str, int, str]:
    """Where a parameter is set that counts for a call site: path, line and the line's text. For one that is not set,
    the place of the call site itself.
    """
    service = site.services[0]
    spot = setup.postfix.spot(parameter, service if parameter in site.own else "")
    if not spot.line and parameter != site.list_name:
        spot = setup.postfix.spot(site.list_name, service if site.list_name in site.own else "")
    return spot.path, spot.line, spot.source


def about(
    setup: Setup,
    site: CallSite,
    parameter: str,
    message: str,
    hint: str = "",
    severity: Literal["error", "warning"] = "warning",
) -> Diagnostic:
    """A finding about a parameter, as it counts for a call site."""
    path, line, source = spot_of(setup, site, parameter)
    text = f"{site.service}: {parameter}: {message}"
    return Finding(path, line, 0, text, source, 1, hint, severity, parameter)
