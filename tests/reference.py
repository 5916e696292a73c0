"""A slow and obvious evaluator of policies, written from the language's description alone; for tests only.

A policy is plain data: `acls` {name: (type, values)}, `lines` [([(negated, acl), ...], action)], `tables` {name:
keys, with their values if they have any, or None for one that cannot be read}, `failing` names of ACLs for which the
store fails. What it remembers is a `Memory`. Shares no code with the product.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

from tests.scanning import scanned

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
    "country": ("client_address",),
    "asn": ("client_address",),
}


PARTS = {
    "sender_domain": "sender",
    "sender_localpart": "sender",
    "recipient_domain": "recipient",
    "recipient_localpart": "recipient",
    "helo_domain": "helo_name",
}
# The tables of several columns.
COLUMNS = {"m": ("network", "address"), "h": ("host", "address", "text")}
REMEMBERING = ("rate", "greylisting", "distinct", "listed")
FROM_RCPT = ("RCPT", "DATA", "END-OF-MESSAGE")


class Memory:
    """What is remembered, by windows that nothing leaves; `asked` is what one request has asked, and the answers."""

    def __init__(self):
        self.now_s = 0
        self.totals, self.items, self.different, self.first_s, self.passed, self.lists = {}, {}, {}, {}, set(), set()
        self.answers, self.asked = {}, Counter()


def decide(policy, request, memory):
    """The action of the rule that fires first, `on_error`, or `default`; the names of log actions and of those that
    remember before it; and how often the store has answered what.
    """
    request = {**request, **{name: seen(name, request[name]) for name in ("sender", "recipient")}}
    noted, score = [], 0.0
    memory.answers, memory.asked = {}, Counter()
    for clauses, action in policy["lines"]:
        for at, (_, name) in enumerate(clauses):
            # A line that comes to an ACL of type log is noted.
            if policy["acls"][name][0] == "log" and set(said_by(policy, clauses[:at], request, memory, score)) <= {
                True
            }:
                noted.append("log")
        said = said_by(policy, clauses, request, memory, score)
        if False in said or None in said:
            continue
        if "failed" in said:
            return "on_error", noted, memory.asked
        if action.startswith("score"):
            score += float(action[5:])
        elif action.startswith("log"):
            noted.append(action)
        elif action in ("remember", "forget"):
            noted.append(action)
            if not request["policy_context"].startswith("held-"):
                put(memory, action, request["client_address"])
        else:
            return action, noted, memory.asked
    return "default", noted, memory.asked


def said_by(policy, clauses, request, memory, score):
    """What the ACLs of a line say, up to the first that is not met."""
    said = []
    for negated, name in clauses:
        if "failed" in said and remembers(policy, name):
            # Not asked, and taken as met.
            continue
        answer = answer_of(policy, name, request, memory, score)
        if answer in (True, False):
            answer = answer is not negated
        said.append(answer)
        if answer in (False, None):
            break
    return said


def terms_of(policy, name):
    """What an ACL of type any asks."""
    return [(word.startswith("!"), word.removeprefix("!")) for word in policy["acls"][name][1]]


def remembers(policy, name):
    """Whether the store is asked, if only by a term."""
    if policy["acls"][name][0] == "any":
        return any(remembers(policy, term) for _, term in terms_of(policy, name))
    return policy["acls"][name][0] in REMEMBERING


def answer_of(policy, name, request, memory, score):
    """True, False, None for "cannot be known", or "failed"."""
    if policy["acls"][name][0] == "any":
        said = []
        for negated, term in terms_of(policy, name):
            answer = answer_of(policy, term, request, memory, score)
            if answer is not None and answer != "failed" and answer is not negated:
                return True
            said.append(answer)
        return "failed" if "failed" in said else None if None in said else False
    if policy["acls"][name][0] not in REMEMBERING:
        return ask(policy, name, request, score)
    if name not in memory.answers:
        memory.answers[name] = recall(policy, name, request, memory)
    return memory.answers[name]


def put(memory, action, address):
    """Put a client on the list, or take it off."""
    if address:
        (memory.lists.add if action == "remember" else memory.lists.discard)(machine(address))
        memory.asked[action, "l", "done"] += 1


def recall(policy, name, request, memory):
    """What an ACL that remembers answers, as `ask`. It is asked once a request."""
    if request["policy_context"].startswith("held-"):
        return None
    kind, values = policy["acls"][name]
    words = [value[1:-1] for value in values if value.startswith("{")]
    options = dict(value.split("=") for value in values if "=" in value)
    counting = options.get("count", "messages")
    state = request["protocol_state"]
    if kind == "greylisting":
        words = ["client_address", "sender", "recipient"]
    if kind == "greylisting" or (kind == "rate" and counting in ("messages", "recipients")):
        if state not in FROM_RCPT:
            return None
    elif kind == "rate" and counting == "bytes" and state != "END-OF-MESSAGE":
        return None
    for word in words:
        attribute = PARTS.get(word, word)
        if request[attribute] == "" and state not in KNOWN_EMPTY[attribute]:
            return None
    key = tuple(key_part(word, request) for word in words)
    if kind == "greylisting":
        local, at, domain = key[1].rpartition("@")
        sender = f"{local.split('+')[0] or local}@{domain}" if at else key[1] or "<>"
        key = (network(key[0]), sender, key[2])
    if not all(key):
        return False
    counted = amount(counting, request) if kind == "rate" else ()
    if counted is None:
        return False
    if name in policy["failing"]:
        memory.asked[kind, name, "failed"] += 1
        return None if options.get("fail") == "skip" else "failed"
    answer, result = {"rate": rate, "greylisting": greylisting, "distinct": distinct, "listed": listed}[kind](
        memory, name, key, values, counted, request["instance"]
    )
    memory.asked[kind, name, result] += 1
    return answer


def amount(counting, request):
    """What a request counts, by what it is known again, and whether that is a total; None: no number."""
    state = request["protocol_state"]
    if counting == "messages":
        return 1, "", False
    if counting == "requests":
        return 1, f"{state} {request['recipient']}", False
    if counting == "recipients" and state == "RCPT":
        return 1, request["recipient"], False
    number = request["size" if counting == "bytes" else "recipient_count"]
    return (int(number), "total", counting == "recipients") if number.isdigit() else None


def rate(memory, name, key, values, counted, instance):
    """Whether it would be too much; else it counts, once for an instance."""
    limit = int(next(value for value in values if "/30d" in value).partition("/")[0])
    much, item, is_total = counted
    items = memory.items.setdefault((name, key, instance), {}) if instance else {}
    if is_total:
        much = max(0, much - sum(items.values()))
    if much == 0 or (item in items and not is_total):
        return False, "under"
    if memory.totals.get((name, key), 0) + much > limit:
        return True, "over"
    memory.totals[name, key] = memory.totals.get((name, key), 0) + much
    items[item] = items.get(item, 0) + much
    return False, "under"


def greylisting(memory, name, triplet, values, _counted, _instance):
    """A delay of 150 seconds, and no end of what has passed."""
    first_s = memory.first_s.setdefault((name, triplet), memory.now_s)
    if (name, triplet) in memory.passed:
        return False, "known"
    if memory.now_s - first_s >= 150:
        memory.passed.add((name, triplet))
        return False, "passed"
    came_before = first_s != memory.now_s
    if "training" in values:
        memory.passed.add((name, triplet))
        return False, "passed" if came_before else "new"
    return True, "early" if came_before else "new"


def distinct(memory, name, key, values, _counted, _instance):
    """More than N values."""
    different = memory.different.setdefault((name, key[:-1]), set())
    different.add(key[-1])
    over = len(different) > int(values[-1][1:].partition("/")[0])
    return over, "over" if over else "under"


def listed(memory, _name, key, _values, _counted, _instance):
    """On the one list that there is."""
    return (True, "yes") if key[0] in memory.lists else (False, "no")


def key_part(word, request):
    """What stands for `{word}` in a key."""
    if word == "client_address":
        return machine(request[word])
    value = braced(word, request).lower()
    whole_name = word in ("sender", "recipient") and "@" in value
    return value.removesuffix(".") if whole_name or word.endswith("_domain") else value


def braced(word, request):
    """What stands for `{word}`: an attribute, or a part of one."""
    value = request[PARTS.get(word, word)]
    local, at, domain = value.rpartition("@")
    if word == "helo_domain":
        labels = value.lower().removesuffix(".").split(".")
        is_address = value.startswith("[") or value.replace(".", "").isdigit()
        return ".".join(labels[1:]) if len(labels) > 2 and not is_address else ""
    if word.endswith("_domain"):
        return domain if at else ""
    if word.endswith("_localpart"):
        return local if at else value
    return value


def machine(address):
    """One spelling of an address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address.lower()
    return str(getattr(found, "ipv4_mapped", None) or found)


def network(address):
    """The /24 or /64 of an address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{address}/{24 if found.version == 4 else 64}", strict=False))


def ask(policy, name, request, score):
    """True, False, None for "cannot be known", or "failed"."""
    kind, values = policy["acls"][name]
    if kind == "log":
        return True
    if kind == "score":
        return score >= float(values[0][2:])
    if kind == "unqualified":
        if request[values[0]] == "" and request["protocol_state"] not in KNOWN_EMPTY[values[0]]:
            return None
        return request[values[0]] != "" and not request[values[0]].partition("@")[2]
    others = [value[1:-1] for value in values if value.startswith("{")]
    own = () if kind.startswith("table:") else NEEDS.get(kind, (kind,))
    for attribute in (*own, *(PARTS.get(word, word) for word in others)):
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
    if kind.startswith("table:"):
        return together_holds(policy["tables"], kind, others, request)
    if kind in ("country", "asn"):
        return entry_has(policy["tables"], values, request["client_address"])
    answers = [holds(policy, kind, value, request) for value in values]
    # A value that holds is enough, whatever else fails.
    return True if True in answers else "failed" if "failed" in answers else False


def key_word(word, request):
    """An attribute, or a part of one, as a word of a key: of a domain its ASCII form."""
    text = braced(word, request)
    return text.removesuffix(".") if word in PARTS and word.endswith("_domain") else text


def entry_has(tables, values, address):
    """Whether what a table of addresses says is one of the values."""
    table, *wanted = values
    entries = tables[table.removeprefix("table:")]
    if entries is None:
        return "failed"
    found = entries.get(machine(address))
    return found is not None and found.lower() in [value.lower().removeprefix("as") for value in wanted]


def seen(name, address):
    """An address as policies see it."""
    return (CLAIMED.get(address) if name == "sender" else None) or REWRITTEN.get(address, address)


def holds(policy, kind, value, request):
    """One value against the request."""
    if kind == "date":
        return date_matches(policy["now"], value)
    subject = request[kind]
    if value.startswith("table:"):
        part = subject.rpartition("@")[2] if kind in ("sender", "recipient") and "@" in subject else subject
        return table_holds(
            policy["tables"], value, part if "@" in subject or kind not in ("sender", "recipient") else ""
        )
    if value.startswith("{"):
        word = value[1:-1]
        if kind in ("sender", "recipient") and word in PARTS:
            # Compared by the part that it has itself.
            subject = braced(
                "sender_localpart" if word.endswith("_localpart") else "sender_domain", {"sender": subject}
            )
        return subject != "" and same(subject, braced(word, request))
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


def table_holds(tables, value, key):
    """Whether a table has a key, with a value as `value` wants it."""
    name, operator, wanted = re.fullmatch(r"table:(\w+)([=!<>]*)(.*)", value).groups()
    entries = tables[name]
    if entries is None:
        return "failed"
    if key.lower() not in entries:
        return False
    if not operator:
        return True
    said = (entries[key.lower()] or "").lower()
    if operator in ("=", "!="):
        return (said == wanted.lower()) is (operator == "=")
    try:
        number = float(said)
    except ValueError:
        return "failed"
    wanted = float(wanted)
    return {">": number > wanted, ">=": number >= wanted, "<": number < wanted, "<=": number <= wanted}[operator]


def together_holds(tables, value, words, request):
    """Whether a table that is asked for several attributes has them: as a key, or as a row of its columns."""
    name = value.removeprefix("table:")[0]
    if name not in COLUMNS:
        return table_holds(tables, value, " ".join(key_word(word, request) for word in words))
    texts = [braced(word, request) for word in words]
    for at, column in enumerate(COLUMNS[name]):
        if column == "host" and words[at] in ("sender", "recipient"):
            # Asked for the domain.
            texts[at] = braced("sender_domain", {"sender": texts[at]})
    rows = list(tables[name])
    number = scanned(list(COLUMNS[name]), rows, tuple(texts))
    found = {} if number is None else {"found": tables[name][rows[number]]}
    return table_holds({name: found}, value, "found")


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
