"""The name server of `bench-world`: a list that has every client, two that have nobody, and one SPF record."""

from __future__ import annotations

from loadtest.servers.names.behaviours import has, listed, nxdomain
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from loadtest.traffic.asking_cost import EMPTY_LIST, FRESH_LIST, LIST, SPF_DOMAIN

# Longer than any run.
TTL_S = 3600


def bench_names() -> NameServer:
    """It answers at once; the test records of RFC 5782 are right."""
    record = Record("TXT", "v=spf1 ip4:198.18.0.0/15 -all", TTL_S)
    return NameServer(
        {
            f"1.0.0.127.{LIST}": nxdomain(),
            f"2.0.0.127.{EMPTY_LIST}": listed(ttl_s=TTL_S),
            f"test.{FRESH_LIST}": listed(ttl_s=TTL_S),
            SPF_DOMAIN: has(record),
        },
        zones={LIST: listed(ttl_s=TTL_S), EMPTY_LIST: nxdomain(), FRESH_LIST: nxdomain()},
    )
