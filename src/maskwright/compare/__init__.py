"""Compare runs by their scores on the same images, the uncertainty of these scores, and costs, without Keras."""

from maskwright.compare.comparison import Comparison, compare_runs

__all__ = ["Comparison", "compare_runs"]
