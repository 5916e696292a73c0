#!/usr/bin/env bash
# postfwd 1.35 (Debian 12): `days=Sat-Sun`, as the sample has it that comes with it.
#
# Guess: it is met on Saturday and on Sunday.
# Seen:  days are numbers, Sunday is 0, and nothing is from 6 to 0. `Sun-Sat` is met each day, `Mon-Sun` never.
#
# Needs root and Debian 12. Installs postfwd if it is missing, and asks it by its standard input. Exit status 0: as described;
# 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postfwd1 >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postfwd=1.35*' >/dev/null
fi
dpkg-query -W -f '${Package} ${Version}\n' postfwd
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
failed=0
# The replies to requests: each argument is one, as attributes that differ from the usual request.
ask() {
    for more; do
        printf '%s\n' request=smtpd_access_policy protocol_state=RCPT client_address=192.0.2.7 client_name=mail.example.org \
            helo_name=mail.example.org sender=anna@example.org recipient=info@example.com sasl_username= size=100
        printf '%s\n' $more ''
    done | postfwd1 --nodaemon --cache=0 --nodns --norulelog -f "$T/rules.cf" 2>/dev/null | sed -n 's/^action=//p'
}
# What is expected, then requests.
expect() {
    expected=$1
    shift
    seen=$(ask "$@" | paste -sd '|')
    cat "$T/rules.cf"
    echo "  $* -> $seen"
    [ "$seen" = "$expected" ] || failed=1
}
rules() { printf '%s\n' "$@" 'id=REST; action=OK' >"$T/rules.cf"; }

grep -n 'days=Sat-Sun' /usr/share/doc/postfwd/examples/postfwd.cf.sample || true  # not where documents are not installed
rules "id=A; days=$(LC_ALL=C date +%a); action=REJECT today"
expect 'REJECT today' ''
rules 'id=A; days=Sun-Sat; action=REJECT each day'
expect 'REJECT each day' ''
rules 'id=A; days=Mon-Sun; action=REJECT each day'
expect 'OK' ''
exit $failed
