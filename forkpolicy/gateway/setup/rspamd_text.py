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
# Who vouches for the sender (store/letter.py). X-Spamd-Result has senders' words among its options, as they wrote them:
# "]" and ";" in an address of Reply-To make symbols of their own. Here nothing is taken but names of domains.
_AUTH: Final = """custom {
  spamd-auth = <<EOD
return function(task, common)
  local found = {}
  if task:has_symbol('R_SPF_ALLOW') then table.insert(found, 'spf') end
  local signed = task:get_symbol('R_DKIM_ALLOW')
  for _, option in ipairs((signed and signed[1].options) or {}) do
    local domain = option:match('^([%w%-%_%.]+):s=[%w%-%_%.]+$')
    if domain and #found < 20 then table.insert(found, 'dkim=' .. domain) end
  end
  return nil, {['X-Spamd-Auth'] = #found > 0 and table.concat(found, ' ') or 'none'}, {}, {}
end
EOD;
}
"""


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
        "local.d/milter_headers.conf": f'{_HEAD}use = ["x-spamd-result", "x-virus", "spamd-auth"];\n{_AUTH}',
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
