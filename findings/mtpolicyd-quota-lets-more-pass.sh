#!/usr/bin/env bash
# mtpolicyd 2.05 (Debian 12): its quota under requests that come at the same time.
#
# Guess: with `threshold = 5`, <Plugin quota> in front of <Plugin accounting> lets five mails an hour of a login pass,
#        whenever they are sent: the manual shows the two as a limit, and they use one database.
# Seen:  it reads the count, and Accounting adds to it later in the request, without a transaction. Of 16 mails that 16
#        connections ask about at the same moment, more than five pass, up to all of them. One after the other, it is five.
#
# Needs root and Debian 12. Installs mtpolicyd if it is missing, runs it on a UNIX socket in a temporary folder, and ends
# it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v mtpolicyd >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'mtpolicyd=2.05*' \
        libdbd-sqlite3-perl libcache-memcached-perl >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
touch "$T/db.sqlite"
chown -R nobody:nogroup "$T"
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
log_level=0
host=127.0.0.1
port="$T/policy|unix"
min_servers=18
min_spare_servers=2
max_spare_servers=18
max_servers=26
max_requests=1000
keepalive_timeout=60
max_keepalive=0
request_timeout=20
<Connection db>
    module = "Sql"
    dsn = "dbi:SQLite:dbname=$T/db.sqlite"
</Connection>
<VirtualHost $T/policy>
    name = "quota"
    <Plugin quota>
        module = "Quota"
        time_pattern = "%Y-%m-%d"
        field = "sasl_username"
        metric = "count"
        threshold = 5
        action = "defer too much mail"
    </Plugin>
    <Plugin accounting>
        module = "Accounting"
        time_pattern = "%Y-%m-%d"
        fields = "sasl_username"
    </Plugin>
</VirtualHost>
CONF
mtpolicyd -f -c "$T/settings" >"$T/log" 2>&1 &
PIDS+=($!)
dpkg-query -W -f '${Package} ${Version}\n' mtpolicyd
python3 - "$T" <<'PY'
import socket, sys, threading, time

folder = sys.argv[1]
MAILS, LOGINS = 16, 10
REQUEST = (
    "request=smtpd_access_policy\nprotocol_state=RCPT\ninstance={login}{number}\nclient_address=203.0.113.9\n"
    "client_name=mx.example.net\nsender={login}@example.com\nrecipient=friend@example.org\nrecipient_count=0\n"
    "size=100\nsasl_method=PLAIN\nsasl_username={login}@example.com\n\n"
)


def connected():
    until_s = time.monotonic() + 20
    while True:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(f"{folder}/policy")
            connection.settimeout(60)
            return connection
        except OSError:
            if time.monotonic() > until_s:
                sys.exit(f"mtpolicyd did not start:\n{open(f'{folder}/log').read()}")
            time.sleep(0.1)


def ask(connection, login, number):
    connection.sendall(REQUEST.format(login=login, number=number).encode())
    return connection.recv(4096).decode().strip()


with connected() as one:
    alone = sum(ask(one, "alone", number) == "action=dunno" for number in range(8))
print(f"8 mails one after the other, threshold 5: {alone} pass")
connections = [connected() for _ in range(MAILS)]
for number, each in enumerate(connections):
    ask(each, "first", number)  # each connection has its process now
passed = []
for login in range(LOGINS):
    replies = []
    together = threading.Barrier(MAILS)

    def send(connection, number):
        together.wait()
        replies.append(ask(connection, f"login{login}", number))

    threads = [threading.Thread(target=send, args=(each, number)) for number, each in enumerate(connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    passed.append(replies.count("action=dunno"))
print(f"{MAILS} mails at the same moment, {LOGINS} logins, threshold 5: {passed} pass")
sys.exit(not (alone == 5 and max(passed) > 5))
PY
