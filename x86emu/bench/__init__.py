"""Benchmarks: the same guests under this emulator and its peers, side by side (docs/performance.md)."""
