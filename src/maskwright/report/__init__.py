"""What people look at: curves, scores, overlays, one page. Reads runs; loads no Keras."""

from maskwright.report.page import write_report

__all__ = ["write_report"]
