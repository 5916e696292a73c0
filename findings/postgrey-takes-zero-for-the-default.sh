#!/usr/bin/env bash
# postgrey 1.37 (Debian 12): --delay=0 is five minutes.
#
# Guess: --delay=0 lets a client that comes again pass at once, as --auto-whitelist-clients=0 turns that list off.
# Seen:  zero is the default: 300 seconds (and 35 days for --max-age=0, /24 for --ipv4cidr=0). --delay=1 is the shortest.
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
postgrey --unix="$T/socket" --dbdir="$T" --delay=0 --auto-whitelist-clients=0 --whitelist-clients=/dev/null \
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


began_s = 1_700_000_000
replies = [ask("192.0.2.1", "mx.example.org", began_s + wait_s) for wait_s in (0, 1, 299, 300)]
sys.exit(replies != ["DEFER_IF_PERMIT"] * 3 + ["PREPEND"])
PY
