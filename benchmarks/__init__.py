"""Benchmarks: each prints a table and, as its last line, one JSON object. Run by `make bench`."""
