"""Rule files of postfwd and requests, made at random from what administrators write; documentation names only."""

from __future__ import annotations

SENDERS = (
    "anna@example.com",
    "Bob@Example.org",
    "news-17@lists.example.net",
    "",
    "x@mail.example.com",
    "0@example.net",
)
RECIPIENTS = ("info@example.com", "sales@example.org", "postmaster@example.net", "a.b@mail.example.com")
HOSTS = ("unknown", "mail.example.com", "dsl-192-0-2-7.example.net", "mx1.example.org", "host.local")
CLIENTS = ("192.0.2.7", "192.0.2.200", "198.51.100.25", "203.0.113.9", "2001:db8::25", "2001:db8:1::1")
LOGINS = ("", "anna", "bob@example.org", "0")
SIZES = ("0", "100", "5000", "1048576")
EXPRESSIONS = (
    r"@example\.com$", "example", r"^news-\d+@", r"\.example\.(com|net)$", "^[^.]+$", r"(\d+[.-]){3}", "^unknown$",
    "/^mail/", r"anna|bob", r"^(dsl|dyn|ppp)-", "<>", "^$", ".", r"[a-c]{2,}", r"(?!x)a", r"\bmx\d?\b", "a.b@",
)  # fmt: skip
NETWORKS = (
    "192.0.2.0/24", "192.0.2.7", "198.51.100.0/25, 203.0.113.9", "0.0.0.0/0", "2001:db8::/32", "192.0.2.0/33",
    "192.0.2.1 192.0.2.7", "10.1.2.3/8", "192.0.2.128/25", "203.0.113.0/24", "198.51.100.0/24,203.0.113.0/28",
)  # fmt: skip
REPLIES = (
    "REJECT", "dunno", "450 4.7.1 later", "OK", "REJECT no, $$client_name", "WARN from $$sender to $$(recipient)",
    "PREPEND X-Rule: $$sender_domain", "REJECT (bad)", "554 $$nosuch and $$helo_name", "greylist", "HOLD $$size {x}",
    "DEFER_IF_PERMIT {x} $$recipient_domain", "REJECT go", "DISCARD", "REDIRECT a@example.com", "554 5.7.1 never",
)  # fmt: skip
OPERATORS = ("=", "==", "=~", "~=", "!=", "!~") * 6 + (">=", "<")
TEXTS = {
    "sender": SENDERS, "recipient": RECIPIENTS, "client_name": HOSTS, "helo_name": HOSTS, "reverse_client_name": HOSTS,
    "sasl_username": LOGINS, "protocol_state": ("RCPT", "DATA"), "sender_domain": ("example.com", "EXAMPLE.org", "com"),
    "recipient_domain": ("example.com", "mail.example.com"), "sender_localpart": ("anna", "news-17", "a"),
    "recipient_localpart": ("info", "a.b"),
}  # fmt: skip


def rules(random, count=12):
    """The text of a rule file: each rule is one line with an ID of its own."""
    lines = ["&&INSIDE { client_address=192.0.2.0/25; client_address=198.51.100.25; };"]
    lines.append(r"&&DYNAMIC { client_name==unknown; client_name=~(\d+[.-]){3}; };")
    lines.append("id=X; client_address=192.0.2.0/24; sender_domain==example.com; action=set(HITx=1)")
    lines.append("id=Y; &&DYNAMIC; action=set(HITy=1)")
    for number in range(count):
        items = [_item(random) for _ in range(random.choice((1, 1, 2, 2, 3)))]
        items.append(_action(random, number, count))
        random.shuffle(items)
        end = random.choice(("",) * 12 + (";", ";", " ", "; "))
        lines.append("; ".join([f"id=R{number}", *items]) + end)
    return "\n".join(lines) + "\n"


def _item(random):
    kind = random.random()
    if kind < 0.1:
        return random.choice(("&&INSIDE", "&&DYNAMIC"))
    if kind < 0.3:
        negation = random.choice(("", "", "", "!!"))
        return f"client_address{random.choice(('=', '=', '==', '!='))}{negation}{random.choice(NETWORKS)}"
    if kind < 0.4:
        key = random.choice(("size", "recipient_count", "encryption_keysize"))
        operator = random.choice(("=", "==", ">=", "<=", ">", "<", "!=", "!<", "!>"))
        return f"{key}{operator}{random.choice((1, 2, 100, 5000))}"
    if kind < 0.5:
        return f"HIT{random.choice('xy')}{random.choice(('==1', '>=1', '!=1', '==!!1'))}"
    if kind < 0.55:
        return random.choice(("client_name==$$helo_name", "helo_name==!!$$client_name", "sasl_username!=$$(sender)"))
    if kind < 0.6:
        return random.choice(
            ("days=!!Sun-Sat", "days=Sun-Sat", "months=Jan-Dec", "date=01.01.2020-", "time=00:00:00-23:59:59")
        )
    key = random.choice(list(TEXTS))
    operator = random.choice(OPERATORS) if random.random() < 0.8 else "=="
    values = EXPRESSIONS if operator in ("=", "=~", "~=", "!~") else [each or "<>" for each in TEXTS[key]]
    negation = random.choice(("", "", "", "!!", "!!("))
    several = [random.choice(values) for _ in range(random.choice((1, 1, 1, 2)))]
    return "; ".join(f"{key}{operator}{negation}{each}{')' if '(' in negation else ''}" for each in several)


def _action(random, number, count):
    kind = random.random()
    if kind < 0.1:
        return f"action=set(HIT{random.choice('xy')}=1)"
    if kind < 0.2:
        return (
            f"action=jump(R{random.randrange(count + 1)})" if random.random() < 0.3 else f"action=jump(R{number + 2})"
        )
    if kind < 0.3:
        return f"action=score({random.choice(('1', '+2.5', '-1', '0.7', '4.30', '*2'))})"
    if kind < 0.35:
        return "action=note(seen $$sender)"
    return f"action={random.choice(REPLIES)}"


def request(random, *, state="RCPT"):
    """One request, as Postfix sends it at that state."""
    empty = state in ("CONNECT", "MAIL")
    return {
        "request": "smtpd_access_policy",
        "protocol_state": state,
        "protocol_name": "ESMTP",
        "client_address": random.choice(CLIENTS),
        "client_name": random.choice(HOSTS),
        "reverse_client_name": random.choice(HOSTS),
        "helo_name": "" if state == "CONNECT" else random.choice(HOSTS),
        "sender": "" if state == "CONNECT" else random.choice(SENDERS),
        "recipient": "" if empty else random.choice(RECIPIENTS),
        "recipient_count": random.choice("123") if state in ("DATA", "END-OF-MESSAGE") else "0",
        "queue_id": "",
        "instance": f"{random.randrange(1 << 30):x}.1",
        "size": random.choice(SIZES),
        "sasl_method": "",
        "sasl_username": random.choice(LOGINS),
        "sasl_sender": "",
        "ccert_subject": "",
        "encryption_protocol": "",
        "encryption_keysize": random.choice(("0", "256")),
    }
