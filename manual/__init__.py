"""The manual pages, made from docs/*.N.md. A tool of the build, which needs markdown-it-py; no program imports it."""
