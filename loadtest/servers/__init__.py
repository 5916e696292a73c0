"""What is asked and what happens to it: a forkpolicy, a Postfix, other servers, operators, faults."""
