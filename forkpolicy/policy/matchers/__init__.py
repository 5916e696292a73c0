"""ACL types: which values each takes and how they are compared. One file a family, one table in `types`."""
