"""Compare runs by their scores on the same images, the uncertainty of the scores, and costs; Keras is not imported."""

from maskwright.compare.comparison import Comparison, compare_runs

__all__ = ["Comparison", "compare_runs"]
