"""Who may look at what and change what: accounts and sessions, rights of roles, and the rows that each may see."""
