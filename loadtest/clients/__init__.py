"""SMTP and policy clients, from one connection to many hundreds."""
