"""Where is my mail: decisions, Postfix's log and queue, and the store of held mail, as one timeline a mail."""
