"""Benchmarks. Each runs both sides in one process run, in turns, and prints a ratio; nothing here asserts a time."""
