# Install Debian's Postfix, with its LMDB and PCRE maps, when something is missing and this is root; otherwise say that its tests
# will not run.
# Nothing is started and no /etc/postfix/main.cf is written: the tests run private instances.
export PATH="$PATH:/usr/sbin:/sbin"
command -v postconf >/dev/null && [ -e /usr/lib/postfix/postfix-lmdb.so ] && [ -e /usr/lib/postfix/postfix-pcre.so ] && exit 0
say_no() {
    echo "Postfix is not installed, or not its LMDB and PCRE maps, and $1: the tests that need them will not run" \
        "(apt-get install postfix postfix-lmdb postfix-pcre)" >&2
    exit 0
}
[ "$(id -u)" = 0 ] || say_no "this is not root"
command -v apt-get >/dev/null || say_no "there is no apt-get"
echo "installing Postfix, for the tests only"
apt-get update -qq || say_no "apt-get update failed"
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postfix postfix-lmdb postfix-pcre >/dev/null ||
    say_no "apt-get could not install it"
