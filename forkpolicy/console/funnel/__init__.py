"""Funnel: what each stage in front of the mailboxes stopped, and what it cost."""
