#!/bin/bash
# pflogsumm, the daily report that most Postfix machines mail to their administrator, counts rejections by their text. Expected:
# by the whole text, as Postfix logs it. Seen: by what stands before the first colon, semicolon or comma, so that two policies'
# reasons become one entry; WARN and INFO are in no section at all. Needs root and a Debian (apt-get).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command -v pflogsumm >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq pflogsumm=1.1.5-8 >/dev/null
pflogsumm --version
second=10
log() { # what Postfix did, and the code and text
    echo "Nov 28 03:00:$second mx postfix/smtpd[100]: NOQUEUE: $1: RCPT from unknown[192.0.2.$second]:$2;" \
        "from=<a@example.net> to=<you@example.com> proto=ESMTP helo=<x>" >>"$folder/log"
    second=$((second + 1))
}
rejected=" 554 5.7.1 <you@example.com>: Recipient address rejected:"
log reject "$rejected Refused: listed by a neighbour"
log reject "$rejected Refused: no login"
log reject "$rejected Slow down, you have sent much"
log reject "$rejected Slow down, you are new"
log reject "$rejected Plain text without any of them"
log warn " looked at this one"
log info " noted this one"
pflogsumm "$folder/log" >"$folder/report"
sed -n '/reject detail/,/^$/p; /^warn/p' "$folder/report"

echo "expected: five texts of one each, and the two that were warned and noted of"
entry() { grep -q "Recipient address rejected: $1 (total: $2)" "$folder/report"; }
entry Refused 2 && entry "Slow down" 2 && entry "Plain text without any of them" 1 || { echo "CHANGED: texts are whole"; exit 1; }
! grep -q "looked at\|noted this" "$folder/report" || { echo "CHANGED: WARN or INFO is reported"; exit 1; }
echo "seen: two entries of two texts each, cut at the colon and at the comma; nothing of WARN and INFO"
