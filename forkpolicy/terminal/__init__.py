"""What terminals get that pipes do not. The only place that knows rich, which is an extra: `forkpolicy[terminal]`."""
