#!/usr/bin/env bash
# ldap3 2.9.1 and slapd 2.5: a search in pages of more entries than slapd's size limit allows.
#
# Guess: pages are what gets around a size limit, as with Active Directory; or else paged_search of a connection with
#        raise_exceptions=True raises LDAPSizeLimitExceededResult.
# Seen:  slapd counts the entries of all pages, and ends the page in which the limit is reached with sizeLimitExceeded.
#        The generator of paged_search gives the entries so far and ends as if those were all, even with
#        raise_exceptions=True, which is silent about this result in a plain search, too. connection.result alone has it.
#
# Installs ldap3 in a temporary folder; needs Debian's slapd installed, and starts one there on a UNIX socket.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'kill "${SLAPD:-}" 2>/dev/null; rm -rf "$T"' EXIT
PATH=$PATH:/usr/sbin
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check ldap3==2.9.1
mkdir "$T/data"
cat > "$T/slapd.conf" <<EOF
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix dc=example
directory $T/data
maxsize 16777216
sizelimit 50
EOF
{
    printf 'dn: dc=example\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n'
    for at in $(seq 120); do printf 'dn: ou=u%s,dc=example\nobjectClass: organizationalUnit\nou: u%s\n\n' "$at" "$at"; done
} | slapadd -q -f "$T/slapd.conf"
slapd -d 0 -f "$T/slapd.conf" -h "ldapi://${T//\//%2F}%2Fsocket" 2> /dev/null &
SLAPD=$!
until [ -S "$T/socket" ]; do kill -0 $SLAPD; done
slapd -VV 2>&1 | sed -n 's/.*\(OpenLDAP: slapd [0-9.]*\).*/\1/p' | head -1
"$T/venv/bin/python" -W ignore - "ldapi://$T/socket" <<'PY'
import sys

import ldap3

print("ldap3", ldap3.__version__)
server = ldap3.Server(sys.argv[1], get_info=ldap3.NONE)
with ldap3.Connection(server, raise_exceptions=True, check_names=False) as connection:
    found = list(
        connection.extend.standard.paged_search(
            "dc=example", "(ou=*)", ldap3.SUBTREE, attributes=["ou"], paged_size=20, generator=True
        )
    )
    print(f"in pages of 20: {len(found)} of 120 entries and no exception; result: {connection.result['description']}")
    paged = len(found), connection.result["description"]
    try:
        connection.search("dc=example", "(ou=*)", ldap3.SUBTREE, attributes=["ou"])
        raised = "nothing"
    except ldap3.core.exceptions.LDAPOperationResult as error:
        raised = type(error).__name__
    print(f"without pages: raises {raised}")
sys.exit((paged, raised) != ((50, "sizeLimitExceeded"), "nothing"))
PY
