"""What the scanner learnt of what people released and deleted."""
