"""Comparison of runs: scores on the same images, their uncertainty, and costs. Loads no Keras."""

from maskwright.compare.comparison import Comparison, compare_runs

__all__ = ["Comparison", "compare_runs"]
