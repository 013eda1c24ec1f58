"""Plot the result of a learning-rate range test."""

from pathlib import Path

from matplotlib.figure import Figure

from maskwright.images.write import atomic_path
from maskwright.training.find_lr import LrCurve


def plot_lr_curve(curve: LrCurve, suggested: float | None, file: Path) -> None:
    """Plot the loss against the learning rate, and write the plot to a PNG file.

    Args:
        curve: Losses measured by a learning-rate range test.
        suggested: Suggested learning rate, which is marked in the plot; None if there is none.
        file: PNG file to write.
    """
    figure = Figure(figsize=(6.4, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    smoothed = curve.smoothed_losses
    axes.plot(curve.learning_rates, curve.losses, color="#b0b0b0", linewidth=0.8, label="loss of each step")
    axes.plot(curve.learning_rates, smoothed, color="#0072b2", label="moving average")
    if suggested is not None:
        axes.axvline(suggested, color="#d55e00", linestyle="--", label=f"suggested: {suggested:.2g}")
    # If the loss at divergence were shown, the rest of the curve would be compressed.
    low, high = min(smoothed), max(smoothed[: len(smoothed) // 2] or smoothed)
    bottom, top = low - 0.1 * (high - low), high + 0.3 * (high - low)
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(bottom, top))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format="png")
