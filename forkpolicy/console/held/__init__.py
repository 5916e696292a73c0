"""Held mail in the console: lists, one mail, its text in a frame that can do nothing, what may be done with it."""
