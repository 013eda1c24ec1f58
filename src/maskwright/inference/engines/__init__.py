"""Inference engines: one protocol, and an adapter for each runtime."""
