"""The page Decisions: what was replied to whom, found by words, by a pasted line of a log or by a bounce; in groups."""
