#!/usr/bin/env bash
# postfix-policyd-spf-python 3.0.4 (Debian 12): its reply depends on the connection as well as on the request.
#
# Guess: one header a message: it knows messages by their `instance`, so the second recipient of one gets DUNNO, wherever
#        it is asked.
# Seen:  it remembers instances in its process, and spawn(8) gives each connection a process of its own. The same request
#        on a second connection gets the header once more. Postfix has one connection for each way in which a service is
#        written, so a message that is asked about at two places may have two headers; who passes requests on, and keeps
#        several connections, must send those of one instance over one of them.
#
# Needs root and Debian 12. Installs postfix-policyd-spf-python if it is missing. It asks no DNS here: the client is local.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
if ! command -v policyd-spf >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        'postfix-policyd-spf-python=3.0.4*' >/dev/null
fi
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
printf 'debugLevel = 0\nTestOnly = 1\nskip_addresses = 127.0.0.0/8\n' >"$T/conf"
dpkg-query -W -f '${Package} ${Version}\n' postfix-policyd-spf-python
request() {
    printf 'request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=127.0.0.1\n'
    printf 'client_name=localhost\nhelo_name=localhost\nsender=anna@example.net\nrecipient=%s@example.com\n' "$1"
    printf 'instance=1.2.3\nsize=100\n\n'
}
# A process for each connection, as spawn(8) has it.
{ request a; request b; } | policyd-spf "$T/conf" | grep . >"$T/one"
{ request a; } | policyd-spf "$T/conf" | grep . >"$T/two"
{ request b; } | policyd-spf "$T/conf" | grep . >>"$T/two"
echo "both recipients on one connection:"; sed 's/^/    /' "$T/one"
echo "each on one of its own:"; sed 's/^/    /' "$T/two"
[ "$(grep -c '^action=prepend ' "$T/one")" = 1 ] && [ "$(grep -c '^action=dunno' "$T/one")" = 1 ] &&
    [ "$(grep -c '^action=prepend ' "$T/two")" = 2 ]
