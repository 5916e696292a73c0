#!/usr/bin/env bash
# Python's email: a header of the whole message that begins with Content-.
#
# Guess: EmailMessage keeps the headers that were set on it; set_content() writes Content-Type and its like, and
#        Content-Language (RFC 3282) stays, as Subject does.
# Seen:  set_content() removes it without a word, and where it was set between the two calls add_alternative() moves it
#        into the first part. It stays on the message only if it is set last of all.
#
# Needs python3 alone, and no network. Exit status 0: as described; 1: not so any more.
set -euo pipefail
python3 - <<'PY'
import platform
import sys
from email.message import EmailMessage

print("python", platform.python_version())


def made(when):
    """Where Content-Language stands when it is set at that moment: on the message, in its first part."""
    mail = EmailMessage()
    mail["Subject"] = "Hola"
    for step in ("first", "between", "last"):
        if step == when:
            mail["Content-Language"] = "es"
        if step == "first":
            mail.set_content("Hola")
        if step == "between":
            mail.add_alternative("<p>Hola</p>", subtype="html")
    found = mail["Content-Language"], next(mail.iter_parts())["Content-Language"]
    print(f"set {when}: on the message {found[0]}, in its first part {found[1]}")
    return found


seen = [made(when) for when in ("first", "between", "last")]
sys.exit(seen != [(None, None), (None, "es"), ("es", None)])
PY
