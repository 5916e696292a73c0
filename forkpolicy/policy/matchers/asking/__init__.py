"""The types that ask the world: the DNS, other services. Their answers come later, or not at all."""
