"""What would have happened if: an exception, replayed over the past requests that it can touch.

`policies` loads the policy with and without it, `narrowing` says which requests it can touch, `candidates` finds them,
`judging` asks both policies, `risks` puts what changes in order, `proposals` makes exceptions of one decision. Nothing
here prints.
"""
