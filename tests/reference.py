"""A slow and obvious evaluator of policies, written from the language's description alone; for tests only.

A policy is plain data: `acls` {name: (type, values)}, `lines` [([(negated, acl), ...], action)], `tables` {name:
set of keys, or None for one that cannot be read}. Shares no code with the product.
"""

from __future__ import annotations

import ipaddress
import re

STATES = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END-OF-MESSAGE")
FROM_MAIL = {"MAIL", "RCPT", "DATA", "END-OF-MESSAGE"}
KNOWN_EMPTY = {
    "sender": FROM_MAIL,
    "sasl_username": FROM_MAIL,
    "sasl_method": FROM_MAIL,
    "encryption_protocol": FROM_MAIL,
    "recipient": {"RCPT"},
    "helo_name": set(STATES) - {"CONNECT"},
    "size": {"END-OF-MESSAGE"},
    "client_address": set(STATES),
    "client_name": set(STATES),
    "policy_context": set(STATES),
}
# What Postfix makes of addresses, with myorigin = mydestination = example.com: tests/postfix/test_rewriting.py asks
# Postfix itself. A sender at a local domain stays there.
REWRITTEN = {
    "postmaster": "postmaster@example.com",
    "example.com!u": "u@example.com",
    "u%example.com": "u@example.com",
    "u@localhost": "u@example.com",
    "u%example.net@localhost": "u@example.net",
    "U@[127.0.0.1]": "U@example.com",
    "U@[192.0.2.1]": "U@[192.0.2.1]",
    "u@example.net@[127.0.0.1]": "u@example.net",
    "@relay.example:u@a.example.com.": "u@a.example.com",
    "u%example.com@a.example.com": "u%example.com@a.example.com",
    "u%example.org@example.com": "u@example.org",
}
CLAIMED = {"u%example.org@example.com": "u%example.org@example.com"}
NEEDS = {
    "authenticated": ("sasl_username", "sasl_method"),
    "encrypted": ("encryption_protocol",),
    "null_sender": ("sender",),
}


def decide(policy, request):
    """The action of the rule that fires first, `on_error`, or `default`; the names of log actions before it; and the
    names of the `counted` ACLs that were asked, each once.
    """
    request = {**request, **{name: seen(name, request[name]) for name in ("sender", "recipient")}}
    noted, score, asked = [], 0.0, set()
    for clauses, action in policy["lines"]:
        said = []
        for negated, name in clauses:
            counts = policy["acls"][name][0] == "counted"
            if counts and "failed" in said:
                # Not asked, and taken as met.
                continue
            answer = ask(policy, name, request, score)
            if counts and answer is not None:
                asked.add(name)
            if answer in (True, False):
                answer = answer is not negated
            said.append(answer)
            if answer in (False, None):
                break
        if False in said or None in said:
            continue
        if "failed" in said:
            return "on_error", noted, asked
        if action.startswith("log"):
            noted.append(action)
        elif action.startswith("score"):
            score += float(action[5:])
        else:
            return action, noted, asked
    return "default", noted, asked


def ask(policy, name, request, score):
    """True, False, None for "cannot be known", or "failed"."""
    kind, values = policy["acls"][name]
    if kind == "score":
        return score >= float(values[0][2:])
    if kind == "counted":
        known = request["sasl_username"] or request["protocol_state"] in KNOWN_EMPTY["sasl_username"]
        return {"yes": True, "no": False, "fails": "failed"}[values[0]] if known else None
    if kind == "unqualified":
        if request[values[0]] == "" and request["protocol_state"] not in KNOWN_EMPTY[values[0]]:
            return None
        return request[values[0]] != "" and not request[values[0]].partition("@")[2]
    others = [value[1:-1] for value in values if value.startswith("{")]
    for attribute in (*NEEDS.get(kind, (kind,)), *others):
        if attribute == "date":
            continue
        empty = request[attribute] == "" or (attribute == "size" and request[attribute] == "0")
        if empty and request["protocol_state"] not in KNOWN_EMPTY[attribute]:
            return None
    if kind == "authenticated":
        return request["sasl_username"] != "" or request["sasl_method"] != ""
    if kind == "encrypted":
        return request["encryption_protocol"] != ""
    if kind == "null_sender":
        return request["sender"] == ""
    answers = [holds(policy, kind, value, request) for value in values]
    # A value that holds is enough, whatever else fails.
    return True if True in answers else "failed" if "failed" in answers else False


def seen(name, address):
    """An address as policies see it."""
    return (CLAIMED.get(address) if name == "sender" else None) or REWRITTEN.get(address, address)


def holds(policy, kind, value, request):
    """One value against the request."""
    if kind == "date":
        return date_matches(policy["now"], value)
    subject = request[kind]
    if value.startswith("table:"):
        keys = policy["tables"][value[6:]]
        if keys is None:
            return "failed"
        part = subject.rpartition("@")[2] if kind in ("sender", "recipient") and "@" in subject else subject
        return (part if "@" in subject or kind not in ("sender", "recipient") else "").lower() in keys
    if value.startswith("{"):
        return subject != "" and same(subject, request[value[1:-1]])
    if kind != "client_address" and (set(value) & set("()|^$*[]\\?")):
        return re.search(value.strip("/"), subject, re.IGNORECASE) is not None
    if kind == "client_address":
        return in_network(subject, value)
    if kind in ("sender", "recipient"):
        return address_matches(subject.lower(), value.lower())
    if kind in ("client_name", "helo_name"):
        return host_matches(subject.lower().removesuffix("."), value.lower())
    if kind == "size":
        return number_matches(subject, value)
    return subject.lower() == value.lower()


def in_network(subject, value):
    try:
        address = ipaddress.ip_address(subject)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    if "-" in value:
        low, high = (ipaddress.ip_address(each) for each in value.split("-"))
        return address.version == low.version and low <= address <= high
    network = ipaddress.ip_network(value)
    return address.version == network.version and address in network


def address_matches(subject, value):
    if value == "<>":
        return subject == ""
    local, at, domain = subject.rpartition("@")
    if not at:
        local, domain = domain, ""
    domain = domain.removesuffix(".")
    if value.endswith("@"):
        return subject != "" and local == value[:-1]
    if "@" in value[1:]:
        return f"{local}@{domain}" == value
    return host_matches(domain, value.removeprefix("@"))


def host_matches(name, value):
    return name.endswith(value) and name != value if value.startswith(".") else name == value


def number_matches(subject, value):
    if not (subject.isascii() and subject.isdigit()):
        return False
    low, dash, high = value.partition("-")
    if dash:
        return int(low) <= int(subject) <= int(high)
    operator = re.match("[<>=]*", value)[0]
    number = int(value[len(operator) :])
    return {
        "": int(subject) > number,
        ">": int(subject) > number,
        ">=": int(subject) >= number,
        "<": int(subject) < number,
        "<=": int(subject) <= number,
        "=": int(subject) == number,
    }[operator]


def date_matches(today, value):
    """Dates as texts compare as days do."""
    first, _, last = value.partition("..")
    last = last or first
    today = today[-len(first) :]
    return first <= today <= last if first <= last else today >= first or today <= last


def same(first, second):
    return first.lower().removesuffix(".") == second.lower().removesuffix(".")
