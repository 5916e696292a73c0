"""What if: exceptions of one decision, or a draft, tried where the console's rules stand, and applied.

`placing` puts statements there, `trial` asks what they would have changed, `replays` does that in a thread of its own,
bounded, and keeps what was found; `pages` knows the web, and nothing else does.
"""
