"""The console: its parts, and its application asked without a browser. tests/browser/ has the browser."""
