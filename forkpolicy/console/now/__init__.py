"""Now: what is refused, how the server is, the newest decisions as they come."""
