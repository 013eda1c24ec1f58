"""Keeps scripts that need the peer's own environment out of the collection of tests."""

collect_ignore = ["smp_reference.py"]
