"""State: what the policy remembers, how full it is, who is near a limit, what greylisting did; one key, reset."""
