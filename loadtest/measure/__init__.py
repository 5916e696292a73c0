"""What was seen: latency, CPU, memory, verdicts, and the report of them."""
