"""The worker process: the only home of gevent. Accepts, reads requests, asks the policy, replies."""
