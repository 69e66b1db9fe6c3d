"""Benchmarks: ``python -m bench --list``, ``python -m bench NAME... [--json FILE]``."""
