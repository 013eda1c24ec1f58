"""Write the HTML report of a run, with scores, curves and overlays on one page, without importing Keras."""

from maskwright.report.page import write_report

__all__ = ["write_report"]
