#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): what postconf(1) can write into master.cf and main.cf.
#
# Guess: `postconf -P 'smtp/inet/NAME = a, b'` sets a parameter of a service to any value, in the form that master.cf has
#        for it, `-o { NAME = a, b }`; and `postconf -e` of a list in several lines replaces those lines.
# Seen:  -P ends with "-Pe does not accept whitespace in parameter value", although `postconf -P` shows such a value that
#        was written by hand. A script must put the list into a parameter of main.cf and name that: `-P ...=$mine`.
#        -e keeps comment lines that stood in the list, now behind it and without what they were about.
#
# Needs Debian 12, and root where Postfix is missing, which it installs. Starts nothing; works in a temporary folder.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postconf >/dev/null; then
    apt-get update -qq
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postfix=3.7.11*' >/dev/null
fi
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cat >"$T/main.cf" <<'CF'
compatibility_level = 3.7
smtpd_recipient_restrictions =
    permit_mynetworks
    # nobody relays but those above
    reject_unauth_destination
CF
cat >"$T/master.cf" <<'CF'
smtp inet n - y - - smtpd
submission inet n - y - - smtpd
  -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject }
CF
postconf -c "$T" -h mail_version | sed 's/^/Postfix /'
echo "by hand:  $(postconf -c "$T" -P | tail -1)"
said=$(postconf -c "$T" -P 'smtp/inet/smtpd_recipient_restrictions = permit_mynetworks, reject' 2>&1) && status=0 || status=$?
echo "by -P:    status $status, $said"
# shellcheck disable=SC2016 # Postfix expands it
postconf -c "$T" -P 'smtp/inet/smtpd_recipient_restrictions=$mine'
postconf -c "$T" -e 'mine = permit_mynetworks, reject' 'smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination'
echo "by name:  $(postconf -c "$T" -Px smtp/inet/smtpd_recipient_restrictions)"
echo "main.cf after -e:"
sed 's/^/    /' "$T/main.cf"
[[ $status != 0 && $said == *"does not accept whitespace in parameter value"* ]] &&
    [[ $(postconf -c "$T" -Px smtp/inet/smtpd_recipient_restrictions) == *"= permit_mynetworks, reject" ]] &&
    grep -q '^    # nobody relays but those above$' "$T/main.cf"
