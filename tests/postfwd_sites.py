"""Rule files as sites have published them, rebuilt with documentation names: text, and the lines that are left out."""

from __future__ import annotations

# The sample that comes with postfwd: groups, white lists, negation, limits.
SAMPLE = r"""
&&TRUSTED_NETS {
        client_address=192.0.2.1/26
        client_address=198.51.100.32/27
}
&&TRUSTED_HOSTS {
        client_name~=\.example\.org$
        client_name~=^mx1\.
}
&&TRUSTED_USERS {
        sasl_username==bob@example.org
        sasl_username==alice
}
&&DYNAMIC {
        client_name==unknown
        client_name~=(\-.+){4}
        client_name~=\d{5}
        client_name~=[_\.\-]([axt]{0,1}dsl|br(e|oa)dband|ppp|dynamic|dial(up|in)|pool|dhcp)[_\.\-]
}
&&BADHELO {
        client_name==!!($$(helo_name))
}
id=M_001
        date=15.01.2007
        time=03:00:00 - 03:59:59
        action=421 maintenance - please try again later
id=STRESS
        stress==yes
        action=dunno
id=WL_001
        &&TRUSTED_NETS
        action=dunno
id=WL_002
        &&TRUSTED_HOSTS
        action=dunno
id=WL_003
        &&TRUSTED_USERS
        action=dunno
id=DYN_001
        &&DYNAMIC
        action=set(HIT_dyn=1)
id=HELO_001
        &&BADHELO
        action=set(HIT_helo=1)
id=REJECT_001
        HIT_dyn==1
        HIT_helo==1
        action=REJECT $$helo_name does not match $$client_name
id=GREY_004
        action=WARN looks dynamic
        &&DYNAMIC
"""

# A gateway of a site: pairs of sender and client jump to a block of rules, everybody else is refused.
GATEWAY = r"""
# 在白名單中
id=R100; client_address=192.0.2.0/24; sender_domain==example.com; action=jump(R101)
id=R200; sender=~@example\.org$; action=jump(R201)
id=DEFAULT; action=REJECT please contact postmaster@example.com to be listed
# 一般主機
id=R101; recipient=~/^([^@]+@example\.com)$/; action=WARN internal from $$sender
id=R102; recipient!~/^([^@]+@example\.com)$/; action=WARN external from $$client_address
id=R199; action=jump(R901)
# 電子報主機
id=R201; recipient=~/^([^@]+@example\.com)$/; action=450 internal limit
id=R202; recipient!~/^([^@]+@example\.com)$/; size>=1000000; action=450 external limit
id=R299; action=jump(R901)
id=R901; size>=1000; action=REJECT too fast
id=R999; action=DUNNO
"""

# Logins from too many places, as a plugin counts them: postfwd's own part of it is left out with the plugin's item.
BOTNET = r"""
# Anti spam botnet rule
id=BAN_BOTNET_COUNTRY ;
   sasl_username=~^(.+)$ ;
   client_uniq_country_login_count > 5 ;
   action=rate(sasl_username/1/3600/554 Your mail account ($$sasl_username) was compromised.) ;
id=LOGIN; sasl_username=~^(.+)$; action=WARN login $$sasl_username
"""

SITES = {"sample": (SAMPLE, set()), "gateway": (GATEWAY, set()), "botnet": (BOTNET, {3})}
