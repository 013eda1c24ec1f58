"""HTML report of a run: scores, curves and overlays on one page. Loads no Keras."""

from maskwright.report.page import write_report

__all__ = ["write_report"]
