"""What forkpolicy knows about Postfix: its parameters and restrictions, and how it reads lists, maps and addresses."""
