"""Postfix's log next to a history: what became of mails, and which decisions are about one. Read when it is asked."""
