"""Write the HTML report of a run, a page with scores, curves and overlays, without importing Keras."""

from maskwright.report.page import write_report

__all__ = ["write_report"]
