#!/usr/bin/env bash
# pyroute2 0.9.7: IPRoute().get_routes(dst=...).
#
# Guess: get_routes() dumps the routes, and keywords filter the dump ("the routine filters routes from full output"), as
#        table= and family= do: get_routes(dst="203.0.113.0/24") is empty where no such route exists.
# Seen:  a dst that is a string turns the dump into the question "which way would a packet to this address go?" (ip
#        route get). On a machine with a default route there is always one answer, with dst_len 32 and the prefix length of
#        the question thrown away; without any route it is an exception, "Network is unreachable". A program that asks so
#        whether a network is routed here gets yes for the whole Internet. match={"dst": ...} filters.
#
# Needs root or user namespaces: works in a network namespace of its own. Installs the package in a temporary folder.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pyroute2==0.9.7
cat >"$T/routes.py" <<'PY'
from importlib.metadata import version

from pyroute2 import IPRoute, NetlinkError

NETWORK = "203.0.113.0/24"


def asked(route):
    return [f"{each.get('dst')}/{each['dst_len']}" for each in route]


print("pyroute2", version("pyroute2"))
with IPRoute() as netlink:
    loopback = netlink.link_lookup(ifname="lo")[0]
    netlink.link("set", index=loopback, state="up")
    try:
        print("no route: get_routes(dst):", asked(netlink.get_routes(dst=NETWORK)))
    except NetlinkError as error:
        print("no route: get_routes(dst):", error.args[1])
    netlink.route("add", dst="0.0.0.0/0", oif=loopback)
    print("default route alone: get_routes(dst):", asked(netlink.get_routes(dst=NETWORK)))
    print("default route alone: get_routes(match):", asked(netlink.get_routes(match={"dst": NETWORK.split("/")[0]})))
    netlink.route("add", dst=NETWORK, oif=loopback)
    print("with the route: get_routes(dst):", asked(netlink.get_routes(dst=NETWORK)))
    print("with the route: get_routes(match):", asked(netlink.get_routes(match={"dst": NETWORK.split("/")[0]})))
PY
unshare --map-root-user --net "$T/venv/bin/python" "$T/routes.py" | tee "$T/seen"
diff "$T/seen" - <<'SEEN'
pyroute2 0.9.7
no route: get_routes(dst): Network is unreachable
default route alone: get_routes(dst): ['203.0.113.0/32']
default route alone: get_routes(match): []
with the route: get_routes(dst): ['203.0.113.0/32']
with the route: get_routes(match): ['203.0.113.0/24']
SEEN
