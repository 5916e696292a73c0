"""The queue of the Postfix on this machine: what waits, by domain, age and reason. Read when somebody looks."""
