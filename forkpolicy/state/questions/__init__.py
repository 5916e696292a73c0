"""What a policy asks of a store: one file a kind, with its question, its answer, its record and the pure step."""
