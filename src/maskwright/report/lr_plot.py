"""The plot of a learning-rate finder."""

from pathlib import Path

import matplotlib.pyplot as plt

from maskwright.images.write import atomic_path
from maskwright.training.find_lr import Curve


def plot_rates(curve: Curve, suggested: float | None, file: Path) -> None:
    """Draw loss against learning rate, and the suggested one if there is one, to the PNG ``file``."""
    figure, axes = plt.subplots(figsize=(6.4, 4), dpi=120, layout="constrained")
    axes.plot(curve.rates, curve.losses, color="#b0b0b0", linewidth=0.8, label="loss of each step")
    axes.plot(curve.rates, curve.smooth, color="#0072b2", label="smoothed")
    if suggested is not None:
        axes.axvline(suggested, color="#d55e00", linestyle="--", label=f"steepest: {suggested:.2g}")
    low, high = min(curve.smooth), max(curve.smooth[: len(curve.smooth) // 2] or curve.smooth)
    axes.set(
        xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - 0.1 * (high - low), high + 0.3 * (high - low))
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format="png")
    plt.close(figure)
