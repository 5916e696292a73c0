"""Users' lists of a gateway: who is welcome, who is blocked, for whom."""
