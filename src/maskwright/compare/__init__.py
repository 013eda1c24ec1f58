"""Runs side by side: what they scored on the same images, how sure that is, and what it cost. Loads no Keras."""

from maskwright.compare.comparison import Comparison, compare_runs

__all__ = ["Comparison", "compare_runs"]
