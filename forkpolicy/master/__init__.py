"""The master process: sockets, signals, births and deaths of workers. Knows nothing of mail."""
