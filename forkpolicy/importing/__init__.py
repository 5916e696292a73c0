"""Another server's rules as a policy of ours. Each format reads its own language and writes a `Draft`.

Nothing is guessed: what has no exact equivalent is left out, with its place, the reason and the nearest thing we have.
"""
