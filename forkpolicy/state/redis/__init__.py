"""The store that several hosts share: an engine, which is a Redis or Valkey server. No event loop here."""
