"""The mail of a day: profiles, kinds of mail, and the verdict that each must get."""
