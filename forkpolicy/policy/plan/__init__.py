"""The fast way to a decision: rules as generated code, and an index that finds which of them can fire at all.

Says the same as `evaluate`, without the words. plan.py puts the two together and is all that others import.
"""
