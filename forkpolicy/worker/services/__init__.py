"""Other policy servers that are asked: `asker` all of them, `server` one of them over kept connections."""
