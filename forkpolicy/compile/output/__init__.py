"""The compiled file: written, verified, counted, compared with the one in use."""
