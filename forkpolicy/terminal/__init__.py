"""What terminals get that pipes do not: the screen of `top`, progress bars, colour.

The only place that knows rich, which is an extra: `forkpolicy[terminal]`.
"""
