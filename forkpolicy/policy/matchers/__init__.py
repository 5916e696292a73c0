"""ACL types: one file each; `types` lists them, `matcher` says what all of them give the rest."""
