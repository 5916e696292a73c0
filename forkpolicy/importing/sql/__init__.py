"""What importers of policies in SQL share: dumps, files of SQLite and databases by URL as rows with their places."""
