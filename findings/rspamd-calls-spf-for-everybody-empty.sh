#!/usr/bin/env bash
# rspamd 3.4 (Debian 12): an SPF record that allows every client.
#
# Guess: `v=spf1 +all` and `v=spf1 all` are valid records (RFC 7208 5.1) and pass for each client: R_SPF_ALLOW.
# Seen:  R_SPF_PERMFAIL with the option "empty SPF record", as for the record `v=spf1` that says nothing at all. A record
#        that names the client's network is R_SPF_ALLOW. Who reads PERMFAIL looks in vain for a mistake in the record, and
#        a rule that wants SPF to pass never holds for such a sender.
#
# Needs root for the installation, and Debian 12. Installs rspamd if it is missing, runs it on loopback in a temporary
# folder with a name server of this script, and ends both. Its first start takes up to two minutes. Exit status 0: as
# described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v rspamd >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'rspamd=3.4-1*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
PIDS=()
cleanup() {
    kill "${PIDS[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check dnspython==2.9.2
cat >"$T/names.py" <<'PY'
import socket
import dns.message, dns.rcode, dns.rdatatype, dns.rrset

TEXTS = {
    "signed.example": "v=spf1 +all",
    "unsigned.example": "v=spf1 all",
    "network.example": "v=spf1 ip4:203.0.113.0/24 ip4:192.0.2.0/24 -all",
    "nothing.example": "v=spf1",
}
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
while True:
    raw, peer = sock.recvfrom(4096)
    query = dns.message.from_wire(raw)
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    text = TEXTS.get(name.to_text(omit_final_dot=True).lower())
    if text is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif query.question[0].rdtype == dns.rdatatype.TXT:
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", f'"{text}"'))
    sock.sendto(reply.to_wire(), peer)
PY
"$T/venv/bin/python" "$T/names.py" >"$T/port" &
PIDS+=($!)
until [ -s "$T/port" ]; do read -rt 0.1 <> <(:) || true; done
SCAN=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$T"/{db,run,log}
cp -r /etc/rspamd "$T/etc"
cd "$T/etc"
mkdir -p local.d
: >modules.d/fuzzy_check.conf
for module in rbl dkim dmarc arc surbl asn phishing neural mx_check reputation dkim_signing greylist ratelimit \
    url_redirector rspamd_update bimi aws_s3 elastic clickhouse replies hfilter; do
    echo 'enabled = false;' >"local.d/$module.conf"
done
echo "dns { nameserver = [\"127.0.0.1:$(cat "$T/port")\"]; timeout = 1s; } local_addrs = [];" >local.d/options.inc
echo "bind_socket = \"127.0.0.1:$SCAN\"; count = 1;" >local.d/worker-normal.inc
for worker in proxy controller fuzzy; do echo 'enabled = false; count = 0;' >"local.d/worker-$worker.inc"; done
sed -i '/bind_socket = "localhost:/d' rspamd.conf
chown -R _rspamd:_rspamd "$T"/{etc,db,run,log}
rspamd -f -u _rspamd -g _rspamd -c "$T/etc/rspamd.conf" --var=CONFDIR="$T/etc" --var=LOCAL_CONFDIR="$T/etc" \
    --var=DBDIR="$T/db" --var=RUNDIR="$T/run" --var=LOGDIR="$T/log" >"$T/rspamd.out" 2>&1 &
PIDS+=($!)
cat >"$T/ask.py" <<'PY'
import http.client, json, sys, time

port, until = int(sys.argv[1]), time.monotonic() + 180
seen = {}
for domain in ("signed", "unsigned", "network", "nothing"):
    sender = f"news@{domain}.example"
    body = f"From: <{sender}>\r\nSubject: x\r\n\r\nhello\r\n"
    headers = {"IP": "203.0.113.9", "From": sender, "Rcpt": "ann@example.com", "Helo": "mail.example.org"}
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/checkv2", body, headers)
            symbols = json.load(connection.getresponse())["symbols"]
            break
        except OSError:
            assert time.monotonic() < until, "rspamd does not answer"
            time.sleep(0.2)
    seen[domain] = [(name, each.get("options", [])) for name, each in symbols.items() if name.startswith("R_SPF")]
    print(domain, seen[domain])
empty = [("R_SPF_PERMFAIL", ["empty SPF record"])]
assert seen["signed"] == seen["unsigned"] == seen["nothing"] == empty, "not so any more"
assert [name for name, _ in seen["network"]] == ["R_SPF_ALLOW"], "not so any more"
PY
rspamd --version | head -1
python3 "$T/ask.py" "$SCAN" || exit 1
