"""Random sites: lists of restrictions with maps of every type, whose keys are made of the words of envelopes."""

from __future__ import annotations

import random

RESULTS = [
    *[
        "OK",
        "DUNNO",
        "REJECT",
        "REJECT no {n}",
        "550 5.7.1 no {n}",
        "450 4.7.1 later {n}",
        "DEFER",
        "reject",
        "permit",
        "1",
    ],
    *["HOLD", "WARN seen {n}", "INFO", "PREPEND X-N: {n}", "FILTER smtp:[127.0.0.1]:{n}", "REDIRECT r{n}@example.com"],
    *[
        "DEFER_IF_PERMIT",
        "DEFER_IF_REJECT {n}",
        "BCC b{n}@example.com",
        "reject_unauth_destination",
        "class{n}",
        "relay",
    ],
]
FIRM = RESULTS[:10]
LISTS = ("client", "helo", "sender", "recipient")
OWN = ("permit_mynetworks", "reject_non_fqdn_sender", "reject_non_fqdn_helo_hostname", "reject_invalid_helo_hostname")


class RandomSite:
    """One site: `main` and `files`, the same ones for a seed."""

    def __init__(self, seed, local, others, clients, helos):
        self.chance = random.Random(seed)
        self.senders = [each for each in (*local, *others) if each.count("@") == 1]
        self.clients = [each.partition("=")[::2] for each in clients]
        self.helos = helos
        self.files = {}
        self.main = self._main()

    def _main(self):
        lines = ["relay_domains = example.com, example.net, example.org", "mynetworks = 203.0.113.128/25"]
        lines.append("mydestination = localhost, localhost.example.com")
        lines.append("myorigin = example.com")
        if self.chance.random() < 0.3:
            lines.append("parent_domain_matches_subdomains =")
        if self.chance.random() < 0.5:
            lines.append("recipient_delimiter = +")
        lines.append("smtpd_restriction_classes = class0, class1, class2")
        for number in range(3):
            last = self.chance.choice(["reject", "permit", self._check("sender", FIRM), "permit_mynetworks"])
            lines.append(f"class{number} = {self._check('sender', FIRM)}, {last}")
        for name in LISTS:
            words = ["reject_unauth_destination"] if name == "recipient" else []
            for _ in range(self.chance.randint(1, 4)):
                if self.chance.random() < 0.2:
                    words.append(self.chance.choice(OWN))
                about = self.chance.choice(LISTS if name == "recipient" else LISTS[: LISTS.index(name) + 1])
                warns = "warn_if_reject " if self.chance.random() < 0.1 else ""
                words.append(warns + self._check(about, RESULTS))
            lines.append(f"smtpd_{name}_restrictions =\n    " + ",\n    ".join(words))
        return "\n".join(lines) + "\n"

    def _check(self, about, results):
        kinds = ["hash", "texthash", "regexp", "pcre"] + (["cidr", "cidr"] if about == "client" else ["hash"])
        kind = self.chance.choice(kinds)
        name = f"{about}{len(self.files)}"
        if kind == "cidr":
            lines = self._networks()
        elif kind in ("regexp", "pcre"):
            lines = self._patterns(about)
        else:
            keys = {self._key(about).lower() for _ in range(self.chance.randint(1, 8))}
            lines = [f"{key} {self._result(results)}" for key in sorted(keys)]
        self.files[name] = "\n".join(lines) + "\n"
        return f"check_{about}_access {kind}:/etc/postfix/{name}"

    def _result(self, results):
        return self.chance.choice(results).replace("{n}", str(self.chance.randrange(3)))

    def _key(self, about):
        if about == "client":
            address, name = self.chance.choice(self.clients)
            return self._part(name) if name and self.chance.random() < 0.5 else self._network(address)
        if about == "helo":
            helo = self.chance.choice(self.helos)
            return helo if helo.startswith("[") or helo[-1].isdigit() else self._part(helo.strip("."))
        local, _, domain = self.chance.choice(self.senders).rpartition("@")
        local = local.rpartition(":")[2].lstrip("@")
        return self.chance.choice(
            [f"{local}@{domain}", f"{local}@", f"{local.partition('+')[0]}@", "<>", *[self._part(domain)] * 3]
        )

    def _part(self, name):
        labels = name.split(".")
        at = self.chance.randrange(len(labels))
        return ("." if at and self.chance.random() < 0.3 else "") + ".".join(labels[at:])

    def _network(self, address):
        if ":" in address:
            return self.chance.choice([address, "2001:db8", "2001"])
        return ".".join(address.split(".")[: self.chance.randint(1, 4)])

    def _networks(self):
        lines, depth = [], 0
        for _ in range(self.chance.randint(2, 8)):
            network = self._cidr()
            if self.chance.random() < 0.2:
                lines.append(f"if {network}")
                depth += 1
            lines.append(f"{network if self.chance.random() < 0.7 else self._cidr()} {self._result(FIRM)}")
            if depth and self.chance.random() < 0.5:
                lines.append("endif")
                depth -= 1
        return [*lines, *["endif"] * depth]

    def _cidr(self):
        address = self.chance.choice(self.clients)[0]
        no = "!" if self.chance.random() < 0.1 else ""
        if ":" in address:
            return no + self.chance.choice(["2001:db8::/32", "2001:db8:1::/48", "[2001:db8::]/48", "::/0", address])
        length = self.chance.choice([0, 4, 8, 16, 20, 24, 25, 28, 31, 32])
        number = int.from_bytes(bytes(map(int, address.split("."))), "big") >> (32 - length) << (32 - length)
        return f"{no}{'.'.join(map(str, number.to_bytes(4, 'big')))}/{length}"

    def _patterns(self, about):
        lines, depth = [], 0
        for _ in range(self.chance.randint(1, 7)):
            if self.chance.random() < 0.2:
                lines.append(f"if {self._pattern(about)}")
                depth += 1
            lines.append(f"{self._pattern(about)} {self._result(FIRM)}")
            if depth and self.chance.random() < 0.5:
                lines.append("endif")
                depth -= 1
        return [*lines, *["endif"] * depth]

    def _pattern(self, about):
        if about == "client":
            text = self.chance.choice(self.clients)[1] or "unknown"
        elif about == "helo":
            text = self.chance.choice(self.helos)
        else:
            text = self.chance.choice([*self.senders, "<>"])
        begin = self.chance.randrange(len(text))
        piece = "".join(char if char.isalnum() or char in "@<>" else f"\\{char}" for char in text[begin : begin + 6])
        how = self.chance.choice(
            ["{}", "^{}", "{}$", "^{}", "({}|x)", "{}.*", "[^a]{}", "({})?$", "^({}|[a-m])", ".{}"]
        )
        no = "!" if self.chance.random() < 0.15 else ""
        flags = "i" if self.chance.random() < 0.1 else ""
        return f"{no}/{how.replace('{}', piece)}/{flags}"
