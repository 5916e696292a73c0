#!/usr/bin/env bash
# mtpolicyd 2.05 (Debian 12): the times of its greylisting cannot be set.
#
# Guess: `min_retry_wait = 2` in <Plugin greylist>, which the manual (Mail::MtPolicyd::Plugin::Greylist) lists among the
#        parameters of the plugin with a default of 300, lets a triplet pass after two seconds; a misspelt one is an error.
# Seen:  it waits for 300 seconds whatever stands there. The ticket has the parameter, and Greylist.pm makes tickets
#        and list without any (`$module_full->new()`): autowl_expire_days, autowl_table and max_retry_wait are lost likewise.
#        Nothing is said about it, nor about `min_retry_wait_s = 2`, which does not exist. `defer_message` works.
#
# Needs root and Debian 12. Installs mtpolicyd and memcached if they are missing, runs both on UNIX sockets in a temporary
# folder, and ends them. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v mtpolicyd >/dev/null || ! command -v memcached >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'mtpolicyd=2.05*' memcached \
        libdbd-sqlite3-perl libcache-memcached-perl >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
chown nobody:nogroup "$T"
PIDS=()
cleanup() {
    kill "${PIDS[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
cat >"$T/settings" <<CONF
user=nobody
group=nogroup
pid_file="$T/pid"
log_level=2
host=127.0.0.1
port="$T/policy|unix"
min_servers=2
min_spare_servers=1
max_spare_servers=2
max_servers=5
max_requests=1000
keepalive_timeout=60
max_keepalive=0
request_timeout=20
<Connection memcached>
    module = "Memcached"
    servers = "$T/memcached"
</Connection>
<Connection db>
    module = "Sql"
    dsn = "dbi:SQLite:dbname=$T/db.sqlite"
</Connection>
<VirtualHost $T/policy>
    name = "greylisting"
    <Plugin greylist>
        module = "Greylist"
        min_retry_wait = 2
        min_retry_wait_s = 2
        defer_message = "defer come again"
    </Plugin>
</VirtualHost>
CONF
memcached -u nobody -s "$T/memcached" -a 0666 &
PIDS+=($!)
mtpolicyd -f -c "$T/settings" >"$T/log" 2>&1 &
PIDS+=($!)
dpkg-query -W -f '${Package} ${Version}\n' mtpolicyd memcached
python3 - "$T" <<'PY'
import re, socket, sys, time

folder = sys.argv[1]
REQUEST = (
    "request=smtpd_access_policy\nprotocol_state=RCPT\ninstance={}\nclient_address=203.0.113.9\n"
    "client_name=mx.example.net\nsender=anna@example.net\nrecipient=bob@example.com\nsize=100\n\n"
)
until_s = time.monotonic() + 20
while True:
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{folder}/policy")
        break
    except OSError:
        if time.monotonic() > until_s:
            sys.exit(f"mtpolicyd did not start:\n{open(f'{folder}/log').read()}")
        time.sleep(0.1)
connection.settimeout(20)
replies = []
for number, pause_s in enumerate((0, 0.5, 3.5)):
    time.sleep(pause_s)
    connection.sendall(REQUEST.format(number).encode())
    replies.append(connection.recv(4096).decode().strip())
    print(f"after {pause_s:g} s more: {replies[-1]}")
print("said at the start:", repr([line for line in open(f"{folder}/log") if "retry" in line]))
left = re.search(r"\((\d+)s left\)", replies[2])
sys.exit(not (replies[0] == "action=defer come again" and left and 285 <= int(left[1]) <= 300))
PY
