"""Other policy servers of Debian, each started below a directory with the founding rule or the nearest job that it has.

`postfwd` and `mtpolicyd` have the rule itself; `postgrey` and `policyd-rate-limit` have jobs of their own, which need a
database. Each takes of the site's lists what it can, and comes with the replies that are right for it. All on UNIX
sockets. The caller skips a peer that is not installed.
"""

from loadtest.servers.peers.mtpolicyd import MTPOLICYD
from loadtest.servers.peers.postfwd import POSTFWD1, POSTFWD2
from loadtest.servers.peers.postgrey import POSTGREY
from loadtest.servers.peers.rate_limit import RATE_LIMIT

PEERS = (POSTFWD1, POSTFWD2, MTPOLICYD, POSTGREY, RATE_LIMIT)
