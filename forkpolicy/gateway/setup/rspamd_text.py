"""The recipe's rspamd: files below its local.d. Pure. rspamd.com/doc/configuration has their form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.setup.place import GatewayPlace

_HEAD: Final = "# forkpolicy gateway setup writes this file from the domains file.\n"
# The scanner refuses nothing and greylists nothing: what is doubtful is held, and forkpolicy greylists.
_NEVER: Final = 1000


def rspamd_files(domains: Sequence[Domain], place: GatewayPlace) -> dict[str, str]:
    """Names below the directory of rspamd's configuration, and texts."""
    least = min(each.hold for each in domains)
    return {
        "local.d/worker-proxy.inc": f"{_HEAD}"
        f'bind_socket = "{place.milter}";\n'
        "milter = yes;\n"
        'upstream "local" {\n  default = yes;\n  self_scan = yes;\n}\n'
        # It would be Postfix's HOLD, of the whole message.
        "quarantine_on_reject = false;\n",
        "local.d/actions.conf": f"{_HEAD}reject = {_NEVER};\nadd_header = {least:g};\ngreylist = {_NEVER - 1};\n",
        "local.d/milter_headers.conf": f'{_HEAD}use = ["x-spamd-result", "x-virus"];\n',
        "local.d/settings.conf": _HEAD + "".join(_settings(each, least) for each in domains),
        # Only people teach it: what it learns by itself an attacker may choose.
        "local.d/classifier-bayes.conf": f"{_HEAD}autolearn = false;\n",
    }


def _settings(domain: Domain, least: float) -> str:
    """The threshold of a domain that has another than the least one."""
    if domain.hold == least:
        return ""
    name = f"hold_{domain.name.replace('.', '_').replace('-', '_')}"
    return f'{name} {{\n  rcpt = "@{domain.name}";\n  apply {{ actions {{ "add header" = {domain.hold:g}; }} }}\n}}\n'
