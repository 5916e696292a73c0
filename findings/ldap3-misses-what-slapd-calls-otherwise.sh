#!/usr/bin/env bash
# ldap3 2.9.1 and slapd 2.5: an attribute that is asked for by another of its names (rfc822Mailbox is mail, its OID too).
#
# Guess: what was asked for stands in the answer under the name that it was asked by, or the name is refused.
# Seen:  slapd answers under the first name of its schema, `mail`, and ldap3 adds an empty list under the name that was
#        asked for: an entry that has the attribute looks like one without it. In filters both names work.
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
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix dc=example
directory $T/data
maxsize 16777216
EOF
{
    printf 'dn: dc=example\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n'
    printf 'dn: uid=a,dc=example\nobjectClass: inetOrgPerson\nuid: a\ncn: A\nsn: A\nmail: a@example.com\n'
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
seen = []
with ldap3.Connection(server, check_names=False) as connection:
    for name in ("mail", "rfc822Mailbox", "0.9.2342.19200300.100.1.3"):
        connection.search("dc=example", f"({name}=a@example.com)", ldap3.SUBTREE, attributes=[name])
        (found,) = connection.response
        seen.append(dict(found["attributes"]))
        print(f"asked for {name}: {seen[-1]}")
has = {"mail": ["a@example.com"]}
sys.exit(seen != [has, {**has, "rfc822Mailbox": []}, {**has, "0.9.2342.19200300.100.1.3": []}])
PY
