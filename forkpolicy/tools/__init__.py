"""What the commands besides `serve` do: check, explain, lookup and the views of a running master."""
