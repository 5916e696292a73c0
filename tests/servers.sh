# Install the servers and programs of other projects that tests run (Debian's packages), when some are missing and this is
# root; otherwise say that their tests will not run. Each test starts a server of its own: nothing is started here, and
# what is installed here does not start with the machine. With packages as arguments it looks for those of the list alone.
export PATH="$PATH:/usr/sbin:/sbin"
missing=
for each in redis-server:redis-server rbldnsd:rbldnsd unbound:unbound knotd:knot postgrey:postgrey \
    policyd-spf:postfix-policyd-spf-python slapd:slapd mandoc:mandoc groff:groff-base \
    sshd:openssh-server rsync:rsync zsh:zsh fish:fish chromium:chromium chromedriver:chromium-driver \
    nginx:nginx-light caddy:caddy rspamd:rspamd dovecot:dovecot-imapd node:nodejs npm:npm \
    swaks:swaks; do
    case " ${*:-${each#*:}} " in *" ${each#*:} "*) ;; *) continue ;; esac
    command -v "${each%:*}" >/dev/null || missing="$missing ${each#*:}"
done
if [ $# = 0 ]; then
    # PostgreSQL's own programs are in a directory of their version.
    set -- /usr/lib/postgresql/*/bin/initdb
    [ -e "$1" ] || missing="$missing postgresql"
fi
[ "$missing" ] || exit 0
say_no() {
    echo "$1: the tests that start one of these will not run:$missing (apt-get install$missing)" >&2
    exit 0
}
[ "$(id -u)" = 0 ] || say_no "this is not root"
command -v apt-get >/dev/null || say_no "there is no apt-get"
echo "installing for the tests only:$missing"
apt-get update -qq || say_no "apt-get update failed"

# Debian starts what it installs unless this program says 101 (invoke-rc.d(8)); the machine's own comes back.
policy=/usr/sbin/policy-rc.d
give_back() {
    rm -f $policy
    [ ! -e $policy.aside ] || mv $policy.aside $policy
}
trap give_back EXIT
trap 'exit 1' HUP INT TERM
[ ! -e $policy ] || [ -e $policy.aside ] || mv $policy $policy.aside
printf '#!/bin/sh\nexit 101\n' >$policy
chmod 755 $policy
# shellcheck disable=SC2086 # a word for each package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    say_no "apt-get could not install all of them"
for each in $missing; do
    case $each in openssh-server) each=ssh ;; nginx-light) each=nginx ;; dovecot-imapd) each=dovecot ;; esac
    update-rc.d "$each" disable >/dev/null
    [ ! -e "/lib/systemd/system/$each.socket" ] || systemctl --quiet disable "$each.socket"
done
