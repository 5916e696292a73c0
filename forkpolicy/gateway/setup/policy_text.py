"""The recipe's policy, its tables, and gateway.toml. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.setup.place import GatewayPlace

POLICY_FILE: Final = "gateway.conf"
DOMAINS_TABLE: Final = "tables/gateway-domains"
_POLICY: Final = """\
# What forkpolicy decides at a gateway. `forkpolicy gateway setup` has written it once; it is yours to change.
#
# It is asked with four values of policy_context: `front` and `late` by Postfix at RCPT, before and behind the
# verification of the recipient; `held-policy` and `held-spam` by the store, for each recipient of held mail.

table  local_networks  cidr    interfaces: postconf:mynetworks
table  our_domains     domain  {domains}

# Users' lists, written by the console: a recipient (an address, or a domain for all in it) and a sender (the same).
table  user_welcome    pair:address,address  may-shrink  {lists}/user-welcome
table  user_block      pair:address,address  may-shrink  {lists}/user-block

acl    front           policy_context   front
acl    late            policy_context   late
acl    held            policy_context   held-policy held-spam
acl    held_spam       policy_context   held-spam
acl    from_inside     client_address   table:local_networks
acl    from_us         sender           table:our_domains
acl    to_us           recipient        table:our_domains
acl    vouched         spam_auth        pass
acl    welcome         table:user_welcome {{recipient}} {{sender}}
acl    blocked         table:user_block   {{recipient}} {{sender}}

action goes_on         OK
action stays           HOLD
action stays_blocked   HOLD this recipient blocks the sender
action prove_it        REJECT 5.7.1 Authentication required to send as {{sender_domain}}
action not_wanted      REJECT 5.7.1 The recipient does not want mail from {{sender}}

# Held mail, first of all, and nothing behind the last of these rules is tried for it. Anybody can write a sender:
# welcome needs SPF or a signature.
access held blocked stays_blocked
access held_spam welcome vouched goes_on
access held stays

# Before verification: what needs no memory.
access front !from_inside from_us to_us prove_it
access front blocked not_wanted

# DNS lists and SPF refuse before the backend is asked. Examples, to be uncommented, with lists that you may use; they
# need forkpolicy[dns], and best a resolver on this host ([dns] servers in forkpolicy.toml).
# acl    listed_twice  rbl >=2 bl.example.org=127.0.0.2-11 dnsbl.example.net=127.0.0.2-11
# acl    spf_forbids   spf fail
# action listed        554 5.7.1 {{client_address}} is on two DNS lists ({{match.listed_twice}})
# action spf_no        550 5.7.23 SPF of {{sender_domain}} does not allow {{client_address}}
# access front !from_inside listed_twice listed
# access front !from_inside spf_forbids spf_no

# Behind it: greylisting of the doubtful, limits, and what is held without being spam. Examples, to be uncommented:
# acl    no_name       client_name unknown
# acl    listed_once   rbl bl.example.org=127.0.0.2-11 dnsbl.example.net=127.0.0.2-11
# acl    spf_doubts    spf softfail permerror
# acl    doubtful      any no_name listed_once spf_doubts
# acl    new_here      greylisting
# action later         450 4.2.0 Greylisted - please try again later
# access late !from_inside doubtful new_here later
# acl    busy          rate {{client_address}} count=recipients 200/1h
# action slower        450 4.7.1 Too many recipients from {{client_address}} - please try again later
# access late !from_inside busy slower
# acl    strange       helo_name .dynamic.example.org
# action hold_it       FILTER quarantine:unix:private/store
# access late strange hold_it
"""


def policy_files(domains: Sequence[Domain], place: GatewayPlace) -> dict[str, str]:
    """Names below the directory of forkpolicy's configuration, and texts. The first is written where there is none."""
    return {
        POLICY_FILE: _POLICY.format(domains=DOMAINS_TABLE, lists=place.console_tables),
        DOMAINS_TABLE: "# forkpolicy gateway setup writes it from the domains file.\n"
        + "".join(f"{each.name}\n" for each in domains),
    }


def settings_text(place: GatewayPlace) -> str:
    """gateway.toml."""
    return f"""\
# The gateway: `forkpolicy gateway setup` has written it once; it is yours to change. docs/gateway.md has every setting.
domains = "{place.domains}"

[store]
path = "{place.store}"
sockets = "{place.queue}/private"
# forkpolicy-store-policy.socket: user fp-store may not go into Postfix's private/.
policy = "{place.store_policy}"
# Members may ask for held mail, as the console does.
api_group = "{place.api_group}"
mail_log = "{place.mail_log}"

[release]
smtp = "{place.release}"

[scanner]
controller = "http://{place.controller}"

# Digests (docs/gateway.md) need both.
[digest]
# sender = "gateway@example.com"
# url = "https://mail.example.com"
"""
