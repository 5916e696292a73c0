"""Compiled tables: how keys are normalised, how a file is laid out, how a worker looks something up."""
