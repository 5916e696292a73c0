"""Tables: what the policy declares, what the workers have of it, and look-ups in it."""
