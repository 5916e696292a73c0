"""What remembering costs: questions to the live map, next to LMDB alone."""
