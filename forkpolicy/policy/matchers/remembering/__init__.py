"""ACL types that remember: what they ask the store, one file each. `matcher` has what they share, `keys` their keys."""
