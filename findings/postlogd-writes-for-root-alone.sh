#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): who may read the file that maillog_file names.
#
# Guess: `postconf -e maillog_file=/var/log/mail.log`, Postfix's own way without a syslog daemon, gives a log that group adm
#        reads, as rsyslog's is; or a directory with a group of its own (setgid) does.
# Seen:  the command `postfix start` makes the file, with the mask of its shell: 0644, so that all seems well. After the
#        first `postfix logrotate` postlogd(8) makes it, with mode 0600, also in such a directory, where only its group is
#        another one; the mode that somebody has given the old one is gone. A program that follows the log must be root,
#        or there must be a syslog daemon. maillog_file_permissions came with Postfix 3.9.
#
# Needs Debian 12, root, and nobody on port 42525 of loopback. Installs Postfix where it is missing; starts one of its
# own in a temporary folder and stops it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postconf >/dev/null; then
    apt-get update -qq
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postfix=3.7.11*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
umask 022
trap 'postfix -c "$T/etc" stop >/dev/null 2>&1 || true; rm -rf "$T"' EXIT
mkdir "$T/etc" "$T/queue" "$T/data" "$T/log"
chown postfix "$T/data"
chgrp adm "$T/log"
chmod 2755 "$T/log"
cat >"$T/etc/main.cf" <<CF
compatibility_level = 3.6
queue_directory = $T/queue
data_directory = $T/data
maillog_file = $T/log/mail.log
maillog_file_prefixes = $T
inet_interfaces = 127.0.0.1
mydestination =
alias_maps =
CF
sed -E 's/^smtp +inet/127.0.0.1:42525 inet/; s/^([a-z]+ +(unix|inet|unix-dgram) +[^ ]+ +[^ ]+ +)y/\1n/' \
    /usr/share/postfix/master.cf.dist | sed '/^127/s/ y / n /' >"$T/etc/master.cf"
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
seen() { # One line about the log, once it is there.
    for _ in $(seq 100); do [ -s "$T/log/mail.log" ] && break; sleep 0.1; done
    stat -c '%U %G %a' "$T/log/mail.log"
}
postfix -c "$T/etc" start >/dev/null 2>&1
first=$(seen)
echo "after postfix start:     $first"
chmod 640 "$T/log/mail.log"
postfix -c "$T/etc" logrotate >/dev/null 2>&1
postfix -c "$T/etc" reload >/dev/null 2>&1
second=$(seen)
echo "after postfix logrotate: $second"
[[ $first == *" 644" && $second == *" 600" ]]
