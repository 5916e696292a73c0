"""`forkpolicy init`: a first configuration, drafted from a Postfix, tried, shown, and written when asked."""
