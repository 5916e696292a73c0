"""Questions to a history as people put them: words, lines of a log or a bounce that were pasted; and why an answer may
be empty. Commands print what comes of them, the console shows it.
"""
