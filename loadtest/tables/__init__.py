"""What tables cost: generated lists, compiled by the real command, and asked next to other ways to look up."""
