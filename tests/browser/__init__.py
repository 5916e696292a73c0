"""The console in Debian's Chromium: its stories, its rules for everybody who reads it, and how it looks.

Skipped with the reason where Chromium, its driver or (for axe-core) npm is missing; as root, tests/servers.sh installs
them. Pictures of every page are in build/screenshots afterwards.
"""
