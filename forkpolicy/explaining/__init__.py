"""Why a request gets its action, and what is wrong with a policy, as data: commands print it, the console shows it.

`words` reads the request that somebody asks about, `facts` has what an explanation says of a term, `as_object` the
whole of it for tools, `checking` what `check` finds in a policy that loads.
"""
