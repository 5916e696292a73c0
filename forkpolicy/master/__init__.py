"""The master process: sockets, signals, starts and ends of workers. Knows nothing of mail."""
