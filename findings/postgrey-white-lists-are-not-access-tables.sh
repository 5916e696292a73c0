#!/usr/bin/env bash
# postgrey 1.37 (Debian 12): its white lists look like access(5) and are not.
#
# Guess: in a white list of clients, .example.com is every host below example.com, as in access(5), whose rules its manual
#        calls similar; 203.0 is 203.0.0.0/16, as 203.0.113 is 203.0.113.0/24; what cannot be is warned of.
# Seen:  .example.com matches nothing: every line that is not an address is compared literally, with a dot in front or at
#        the beginning. 203.0 is 203.0.0.0/24. 010.0.0.1 is 8.0.0.1, and 203.0.113.400 is passed over. No warning of any.
#
# Needs root and Debian 12. Installs postgrey if it is missing, runs it on a UNIX socket in a temporary folder, and ends it.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postgrey >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postgrey=1.37*' >/dev/null
    update-rc.d postgrey disable >/dev/null 2>&1 || true
fi
T=$(mktemp -d)
chmod 755 "$T"
chown postgrey "$T"
PID=
cleanup() {
    [ -z "$PID" ] || kill "$PID" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
printf '%s\n' .example.com example.org 203.0.113 203.1 010.0.0.1 203.0.113.400 >"$T/clients"
postgrey --unix="$T/socket" --dbdir="$T" --auto-whitelist-clients=0 --whitelist-clients="$T/clients" \
    --whitelist-recipients=/dev/null >"$T/log" 2>&1 &
PID=$!
dpkg-query -W -f '${Package} ${Version}\n' postgrey
python3 - "$T" <<'PY'
import socket, sys, time

folder = sys.argv[1]
REQUEST = (
    "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address={}\nclient_name={}\n"
    "helo_name=mx.example.net\nsender=anna@example.net\nrecipient=bert@example.com\nrecipient_count=0\nqueue_id=\n"
    "instance=1.2.3\nsize=0\netrn_domain=\npolicy_test_time={}\n\n"
)
until_s = time.monotonic() + 20
while True:
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{folder}/socket")
        break
    except OSError:
        if time.monotonic() > until_s:
            sys.exit(f"postgrey did not start:\n{open(f'{folder}/log').read()}")
        time.sleep(0.1)
connection.settimeout(20)


def ask(address, name, at_s=1_700_000_000):
    connection.sendall(REQUEST.format(address, name, at_s).encode())
    reply = connection.recv(4096).decode().strip()
    print(f"{address} {name} at {at_s}: {reply[:60]}")
    return reply.split()[0].removeprefix("action=")


expected = {
    ("192.0.2.1", "mx.example.com"): "DEFER_IF_PERMIT",
    ("192.0.2.2", "mx.example.org"): "DUNNO",
    ("203.0.113.9", "unknown"): "DUNNO",
    ("203.1.0.9", "unknown"): "DUNNO",
    ("203.1.7.9", "unknown"): "DEFER_IF_PERMIT",
    ("10.0.0.1", "unknown"): "DEFER_IF_PERMIT",
    ("8.0.0.1", "unknown"): "DUNNO",
}
log = open(f"{folder}/log").read()
print("warnings:", [line for line in log.splitlines() if "look like" in line])
sys.exit({key: ask(*key) for key in expected} != expected or "look like" in log)
PY
