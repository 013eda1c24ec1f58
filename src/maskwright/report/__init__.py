"""What people look at: curves, scores, overlays, one page."""
