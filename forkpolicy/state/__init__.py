"""What the policy remembers from one request to the next: counters, greylisting, lists.

Pure of mail: a question has texts as its key, and the store has a clock. gevent is not allowed here.
"""
