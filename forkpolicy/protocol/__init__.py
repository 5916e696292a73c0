"""The policy protocol of Postfix, sans-I/O: bytes in, requests out; replies in, bytes out."""
