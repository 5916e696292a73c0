"""Where entries come from: text, CSV, postconf(1), interfaces, LMDB maps, SQL. One file a kind; registry.py has all."""
