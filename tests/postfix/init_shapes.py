"""Shapes of main.cf and master.cf as sites have them, rebuilt with names of documentation, and what `init` makes of
each.

`{dir}` is the configuration directory, `files` what lies next to main.cf; a name that ends in `.hash` is given to
postmap. `inside` and `outside` are domains that the table has and has not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SMTP = "smtp inet n - y - - smtpd\n"
SUBMISSION = """\
submission inet n - y - - smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
"""
HOST = "myhostname = mail.example.com\nmydestination = $myhostname, localhost.$mydomain, localhost\n"
CLOSED = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
LIST = "smtpd_recipient_restrictions"
CALL = "check_policy_service { unix:private/policy, timeout=10s, "
MYSQL = (
    "user = mail\npassword = s3cret\nhosts = 127.0.0.1\ndbname = mail\nquery = SELECT domain FROM d WHERE domain='%s'\n"
)


@dataclass
class Shape:
    """One site. `status`: of init without --domain; `said`: parts of its output."""

    main: str
    master: str = SMTP
    files: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    status: int = 0
    inside: tuple[str, ...] = ("mail.example.com",)
    outside: tuple[str, ...] = ("example.org",)
    said: tuple[str, ...] = ()
    # How the list that asks begins and goes on, in this order.
    order: tuple[str, ...] = ("permit_mynetworks", "reject_non_fqdn_sender", CALL)


SHAPES = {
    "Debian's own": Shape(
        "append_dot_mydomain = no\nmyhostname = mail.example.com\nmyorigin = {dir}/mailname\n"
        "smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination\n"
        "mydestination = $myhostname, example.com, localhost.example.com, , localhost\n"
        "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\nrecipient_delimiter = +\n",
        files={"mailname": "example.com\n"},
        inside=("mail.example.com", "example.com"),
        said=('myorigin = "example.com"', "postconf:mynetworks"),
    ),
    "hash maps": Shape(
        f"{HOST}mydestination = $myhostname, localhost, hash:{{dir}}/domains.hash\n{LIST} = {CLOSED}\n",
        files={"domains.hash": "example.com x\nexample.net x\n"},
        inside=("mail.example.com", "example.com", "example.net"),
        order=("reject_unauth_destination", "reject_non_fqdn_sender", CALL),
    ),
    "virtual mailboxes in MySQL": Shape(
        f"{HOST}virtual_mailbox_domains = proxy:mysql:{{dir}}/domains.cf\n{LIST} = {CLOSED}\n",
        files={"domains.cf": MYSQL},
        status=1,
        said=("main.cf:3: virtual_mailbox_domains: ", "cannot be listed", "query = SELECT domain FROM d"),
    ),
    "virtual mailboxes in MySQL, named": Shape(
        f"{HOST}virtual_mailbox_domains = proxy:mysql:{{dir}}/domains.cf\n{LIST} = {CLOSED}\n",
        files={"domains.cf": MYSQL},
        options=("--domain", "example.com", "--domain", "Example.NET"),
        inside=("mail.example.com", "example.com", "example.net"),
        said=("boss@example.com to staff@example.com",),
    ),
    "LDAP": Shape(
        f"{HOST}virtual_mailbox_domains = ldap:{{dir}}/ldap.cf\n",
        files={"ldap.cf": "server_host = ldap.example.com\nbind_pw = s3cret\nquery_filter = (associatedDomain=%s)\n"},
        status=1,
        said=("ldap is ", "query_filter = (associatedDomain=%s)"),
    ),
    "virtual aliases in hash maps": Shape(
        f"{HOST}virtual_alias_maps = hash:{{dir}}/virtual.hash\nsmtpd_sasl_auth_enable = yes\n",
        files={"virtual.hash": "example.com x\ninfo@example.com anna@example.org\n"},
        inside=("mail.example.com", "example.com"),
    ),
    "backup MX": Shape(
        f"{HOST}relay_domains = example.org\nrelay_recipient_maps =\n{LIST} = {CLOSED}\n",
        said=("relay_domains (example.org) is left out",),
    ),
    "gateway": Shape(
        "myhostname = mx.example.net\nmydestination =\nrelay_domains = texthash:{dir}/relay\n",
        files={"relay": "example.com x\n.example.com x\n"},
        options=("--relay-domains",),
        inside=("example.com", "below.example.com"),
    ),
    "mailcow": Shape(
        "myhostname = mail.example.com\nmydestination = localhost.localdomain, localhost\n"
        "virtual_mailbox_domains = proxy:mysql:{dir}/domains.cf\nvirtual_alias_maps = proxy:mysql:{dir}/aliases.cf\n"
        "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128 [fe80::]/10 172.22.1.0/24 [fd4d:6169:6c63::]/64\n"
        f"{LIST} = check_recipient_mx_access proxy:mysql:{{dir}}/mx.cf, permit_sasl_authenticated, permit_mynetworks, "
        "check_recipient_access proxy:mysql:{dir}/tls.cf, reject_invalid_helo_hostname, reject_unauth_destination\n",
        "smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n  -o smtpd_sasl_auth_enable=no\n"
        "10025 inet n - n - - smtpd\n  -o smtpd_recipient_restrictions=permit_mynetworks,reject\n" + SUBMISSION,
        files={"domains.cf": MYSQL},
        options=("--domain", "example.com"),
        inside=("example.com",),
        outside=("mail.example.com",),
        said=("postscreen stands in front", "fe80::/10", "smtpd/pass              mail from outside"),
        order=("reject_unauth_destination", "reject_non_fqdn_sender", CALL),
    ),
    "iRedMail": Shape(
        f"{HOST}virtual_mailbox_domains = proxy:mysql:{{dir}}/domains.cf\nmynetworks = 127.0.0.1 [::1]\n"
        f"{LIST} =\n    reject_non_fqdn_recipient\n    reject_unlisted_recipient\n"
        "    check_policy_service inet:127.0.0.1:7777\n    permit_mynetworks\n    permit_sasl_authenticated\n"
        "    reject_unauth_destination\n    check_policy_service inet:127.0.0.1:12340\n"
        "smtpd_end_of_data_restrictions = check_policy_service inet:127.0.0.1:7777\n",
        files={"domains.cf": MYSQL},
        options=("--domain", "example.com"),
        inside=("example.com",),
        said=("iRedAPD listens by default", "forkpolicy import iredapd FILE", "inet:127.0.0.1:12340"),
        order=("7777", "reject_unauth_destination", "reject_non_fqdn_sender", CALL, "12340"),
    ),
    "Plesk": Shape(
        f"{HOST}virtual_mailbox_domains = $virtual_mailbox_maps, hash:{{dir}}/domains.hash\n"
        "virtual_mailbox_maps = , hash:{dir}/vmailbox.hash\nmynetworks = 127.0.0.0/8, [::1]/128, 192.0.2.25/32\n"
        "smtpd_sender_restrictions = check_sender_access hash:{dir}/black.hash, permit_sasl_authenticated\n"
        f"smtpd_sasl_auth_enable = yes\n{LIST} = {CLOSED}\n",
        files={
            "domains.hash": "example.com x\n",
            "vmailbox.hash": "a@example.com x\n",
            "black.hash": "b@example.org no\n",
        },
        inside=("example.com",),
    ),
    "a file of domains, as panels write it": Shape(
        f"{HOST}mydestination = $myhostname, {{dir}}/localdomains\nmynetworks = {{dir}}/networks\n",
        files={"localdomains": "# by the panel\nexample.com\nexample.net\n", "networks": "127.0.0.1\n192.0.2.0/24\n"},
        inside=("example.com", "example.net"),
    ),
    "ISPConfig": Shape(
        f"{HOST}virtual_alias_domains = proxy:mysql:{{dir}}/domains.cf\n"
        "virtual_mailbox_domains = proxy:mysql:{dir}/domains.cf\nsmtpd_restriction_classes = greylisting\n"
        "greylisting = check_policy_service inet:127.0.0.1:10023\n"
        f"{LIST} = permit_mynetworks, reject_unknown_recipient_domain, reject_unlisted_recipient, "
        "check_recipient_access proxy:mysql:{dir}/r.cf, permit_sasl_authenticated, reject_non_fqdn_recipient, "
        "reject_unauth_destination, check_recipient_access proxy:mysql:{dir}/p.cf, "
        "check_policy_service unix:private/quota-status\n",
        files={"domains.cf": MYSQL},
        options=("--domain", "example.com"),
        inside=("example.com",),
        said=("postgrey listens by default", "unix:private/quota-status"),
        order=("reject_unauth_destination", "reject_non_fqdn_sender", CALL, "quota-status"),
    ),
    "Zimbra": Shape(
        "myhostname = mail.example.com\nmydestination = localhost\n"
        "virtual_mailbox_domains = proxy:ldap:{dir}/vmd.cf\ncontent_filter = smtp-amavis:[127.0.0.1]:10024\n"
        f"{LIST} = reject_non_fqdn_recipient, permit_sasl_authenticated, permit_mynetworks, reject_unlisted_recipient, "
        "reject_non_fqdn_sender, reject_unauth_destination\n",
        SMTP + "[127.0.0.1]:10025 inet n - n - - smtpd\n  -o content_filter=\n" + SUBMISSION,
        options=("--domain", "example.com"),
        inside=("example.com",),
        outside=("mail.example.com",),
        said=("content_filter = smtp-amavis:[127.0.0.1]:10024 (after the queue)", "programs on this machine"),
        order=("reject_unauth_destination", CALL),
    ),
    "submission and smtps with lists of their own": Shape(
        f"{HOST}{LIST} = {CLOSED}\n",
        SMTP
        + SUBMISSION
        + "smtps inet n - y - - smtpd\n  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n",
        said=(
            "submission/inet         users who sign in, with recipient restrictions",
            "smtps/inet              users who",
        ),
    ),
    "filter before the queue": Shape(
        f"{HOST}{LIST} = {CLOSED}\n",
        "smtp inet n - n - 20 smtpd\n  -o smtpd_proxy_filter=127.0.0.1:10024\n"
        "127.0.0.1:10026 inet n - n - - smtpd\n  -o smtpd_client_restrictions=permit_mynetworks,reject\n",
        said=("smtpd_proxy_filter = 127.0.0.1:10024 (before the queue): what comes back",),
    ),
    "filter on another host": Shape(
        f"{HOST}content_filter = smtp:[192.0.2.9]:10024\n{LIST} = {CLOSED}\n",
        said=("is from outside unless 192.0.2.9 is in mynetworks",),
    ),
    "several instances": Shape(
        f"{HOST}multi_instance_enable = yes\nmulti_instance_directories = /etc/postfix-out /etc/postfix-in\n",
        said=("more instances of Postfix (/etc/postfix-out, /etc/postfix-in)",),
    ),
    "two delimiters": Shape(f"{HOST}recipient_delimiter = +-\n", said=('recipient_delimiter = "+-"',)),
    "mynetworks_style = subnet": Shape(f"{HOST}mynetworks_style = subnet\n", said=("mynetworks_style = subnet: ",)),
    "mynetworks_style = class": Shape(f"{HOST}mynetworks_style = class\n", said=("mynetworks_style = class: ",)),
    "networks in a cidr map": Shape(
        f"{HOST}mynetworks = cidr:{{dir}}/networks, 127.0.0.0/8\n",
        files={"networks": "# ours\n192.0.2.0/24 x\n2001:db8:1::/48 x\n"},
        said=("192.0.2.0/24",),
    ),
    "IPv6 only": Shape(
        f"{HOST}inet_protocols = ipv6\nmynetworks = [::1]/128 [2001:db8:1::]/48\n{LIST} = {CLOSED}\n",
        said=("2001:db8:bad::5, boss@mail.example.com",),
    ),
    "sender restrictions instead": Shape(
        f"{HOST}smtpd_sender_restrictions = permit_mynetworks, reject_unknown_sender_domain, permit\n"
    ),
    "permit_mynetworks first": Shape(
        f"{HOST}{LIST} = permit_mynetworks, reject_rbl_client zen.example.org, permit\n",
        order=("permit_mynetworks", "reject_non_fqdn_sender", CALL, "reject_rbl_client", "permit"),
    ),
    "nothing permitted first": Shape(
        f"{HOST}{LIST} = reject_unknown_recipient_domain, reject_rbl_client zen.example.org\n",
        said=("reject_non_fqdn_sender and _recipient are not added",),
        order=(CALL, "reject_unknown_recipient_domain", "reject_rbl_client zen.example.org"),
    ),
    "restriction classes and parameters of one's own": Shape(
        f"{HOST}smtpd_restriction_classes = strict\nstrict = reject_unknown_sender_domain\n"
        f"our_closing = {CLOSED}\n{LIST} = $our_closing, check_sender_access inline:{{example.org=strict}}, permit\n",
        order=("$our_closing", "reject_non_fqdn_sender", CALL, "check_sender_access", "permit"),
    ),
    "static map": Shape(
        f"{HOST}virtual_mailbox_domains = static:all\n", status=1, said=("static is one value for every key",)
    ),
    "inline map": Shape(
        f"{HOST}virtual_mailbox_domains = inline:{{example.com=x, {{example.net = y}}}}\n",
        inside=("example.com", "example.net"),
    ),
    "pipemap": Shape(
        f"{HOST}virtual_mailbox_domains = example.com pipemap:{{inline:{{example.net=x}}, inline:{{x=y}}}}\n",
        status=1,
        inside=("example.com",),
        outside=("example.net",),
        said=("pipemap is a pipeline of maps",),
    ),
    "comments and continuation lines": Shape(
        "# ours\nmyhostname = mail.example.com\nmydestination =\n  # the host\n  $myhostname,\n\n  # and\n"
        "\texample.com\n"
        f"{LIST} =\n    permit_mynetworks,\n    # who has signed in\n    permit_sasl_authenticated\n"
        "    reject_unauth_destination,\n  # the end\n    reject_unlisted_recipient\n",
        inside=("example.com",),
        order=("reject_unauth_destination", "reject_non_fqdn_sender", CALL, "reject_unlisted_recipient"),
    ),
    "a list of its own for port 25": Shape(
        f"{HOST}",
        "smtp inet n - y - - smtpd\n  -o smtpd_recipient_restrictions=permit_mynetworks,reject_unauth_destination\n",
        said=("postconf -P 'smtp/inet/smtpd_recipient_restrictions=$forkpolicy_restrictions'",),
        order=("permit_mynetworks", "reject_unauth_destination", "reject_non_fqdn_sender", CALL),
    ),
    "a service that is called policy": Shape(
        f"{HOST}{LIST} = {CLOSED}, check_policy_service unix:private/policy\n",
        SMTP + "policy unix - n n - 0 spawn user=nobody argv=/usr/local/bin/policy\n",
        said=("forkpolicy gets unix:private/forkpolicy",),
        order=("reject_unauth_destination", "unix:private/forkpolicy, timeout=10s", "unix:private/policy"),
    ),
    "the whole world is inside": Shape(
        f"{HOST}mynetworks = 127.0.0.0/8 0.0.0.0/0\n{LIST} = {CLOSED}\n", status=1, said=("mynetworks: 0.0.0.0/0",)
    ),
    "old defaults": Shape(
        f"compatibility_level = 0\n{HOST}{LIST} = {CLOSED}\nsmtpd_delay_reject = no\n",
        said=("compatibility_level = 0", "smtpd_delay_reject = no", 'mydomain = "example.com"'),
    ),
}
