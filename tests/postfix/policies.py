"""The founding policy in its two spellings, with the sources of its tables."""

COMPILED = """\
table  local_networks  cidr    local-networks.cidr
table  local_domains   domain  local-domains

acl    from_inside     client_address  table:local_networks
acl    from_us         sender          table:local_domains
acl    to_us           recipient       table:local_domains
acl    signed_in       authenticated
action prove_it        REJECT 5.7.1 Authentication required to send as {sender_domain}
access !from_inside from_us to_us !signed_in prove_it
"""
SOURCES = {
    "local-networks.cidr": "192.0.2.0/24\n2001:db8:1::/48\n",
    "local-domains": "example.com\nexample.net\n.example.net\nb\u00fccher.example\n",
}
APOLICY = """\
acl wl client_address 192.0.2.0/24 2001:db8:1::/48
action nice_users DUNNO
access wl nice_users

acl remitent sender @example.com
acl desti recipient @example.com
acl aut sasl_method (PLAIN|LOGIN)
action rej REJECT Auth required
access remitent desti !aut rej
"""
