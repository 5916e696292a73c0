"""The page Rules: the policy as it stands in its files, and how often each rule fired.

`listing` makes lines of files, `counts` finds hits for rules though lines move, `reasons` says why a rule never fired;
`pages` knows the web, and nothing else does.
"""
