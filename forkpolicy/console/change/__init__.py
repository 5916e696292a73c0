"""Changes of the console's rule file and tables: checked, tried, applied, seen, undone.

`drafts` checks a text in its place, `samples` asks it about a request, `names` completes it. `engine` applies and
undoes, `versions` keeps what was applied, `merging` compares texts by lines. `page` and the modules named after it know
the web; nothing else does.
"""
