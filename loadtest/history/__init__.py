"""What a history of past decisions costs: to write, to take in, to search, to ask what if."""
