"""The gateway: a store for held mail, its release, its digests, and what sets up and checks the servers around it.

Processes of their own: they know neither master nor worker, and the policy server knows nothing of mail.
"""
