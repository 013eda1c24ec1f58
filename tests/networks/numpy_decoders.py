"""Decoders of FPN, LinkNet and PSPNet in NumPy, float64, from feature maps and weights by name."""

from collections.abc import Callable, Sequence
from math import ceil, floor

import numpy as np

from tests.networks.numpy_unet import Weights, convolve, normalise, relu, transposed


def conv(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    kernel = weights[f"{name}/kernel"]
    return convolve(x, kernel, pad=kernel.shape[0] // 2) + weights.get(f"{name}/bias", 0.0)


def finish(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return relu(normalise(x, weights, f"{name}_bn", 1e-3) if f"{name}_bn/gamma" in weights else x)


def conv_relu(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return finish(conv(x, weights, f"{name}_conv"), weights, name)


def repeated(x: np.ndarray, factor: int) -> np.ndarray:
    return x.repeat(factor, axis=1).repeat(factor, axis=2)


def bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with half-pixel centres: output pixel i is at (i + 1/2) * old / new - 1/2 of the input."""
    for axis, new in ((1, height), (2, width)):
        old = x.shape[axis]
        places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        lower = np.floor(places).astype(int)
        upper = np.minimum(lower + 1, old - 1)
        share = (places - lower).reshape([-1 if a == axis else 1 for a in range(4)])
        x = x.take(lower, axis) * (1 - share) + x.take(upper, axis) * share
    return x


def cells(x: np.ndarray, count: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """Pool to ``count`` x ``count`` cells, each including its partially covered border pixels."""
    _, h, w, _ = x.shape
    rows = [(floor(i * h / count), ceil((i + 1) * h / count)) for i in range(count)]
    columns = [(floor(i * w / count), ceil((i + 1) * w / count)) for i in range(count)]
    grid = [[reduce(x[:, top:bottom, left:right], axis=(1, 2)) for left, right in columns] for top, bottom in rows]
    return np.moveaxis(np.array(grid), 2, 0)


def fpn(x: np.ndarray, skips: Sequence[np.ndarray], weights: Weights, *, add: bool) -> np.ndarray:
    """Compute logits from the encoder's output and its feature maps at 1/16, 1/8, 1/4 and optionally 1/2."""
    levels = []
    last = 6 - len(skips)
    for stage, skip in zip((5, 4, 3, 2), skips, strict=False):
        name = f"fpn_stage_p{stage}"
        if f"{name}_pre_conv/kernel" in weights:
            x = conv(x, weights, f"{name}_pre_conv")
        x = repeated(x, 2) + conv(skip, weights, f"{name}_conv")
        level = conv_relu(conv_relu(x, weights, f"segm_stage{stage}a"), weights, f"segm_stage{stage}b")
        levels.append(repeated(level, 2 ** (stage - last)))
    merged = np.sum(levels, axis=0) if add else np.concatenate(levels[::-1], axis=-1)
    x = conv_relu(merged, weights, "final_stage")
    factor = 2 ** (last - 1)
    return conv(bilinear(x, factor * x.shape[1], factor * x.shape[2]), weights, "head_conv")


def linknet(x: np.ndarray, skips: Sequence[np.ndarray], weights: Weights, *, blocks: int) -> np.ndarray:
    """Compute logits from the encoder's output and its feature maps from deep to shallow."""
    if "center_block1_conv/kernel" in weights:
        x = conv_relu(conv_relu(x, weights, "center_block1"), weights, "center_block2")
    for level in range(blocks):
        name = f"decoder_stage{level}"
        x = conv_relu(x, weights, f"{name}a")
        if f"{name}b_transpose/kernel" in weights:
            spread = transposed(x, weights[f"{name}b_transpose/kernel"])
            x = finish(spread + weights.get(f"{name}b_transpose/bias", 0.0), weights, f"{name}b")
        else:
            x = conv_relu(repeated(x, 2), weights, f"{name}b")
        x = conv_relu(x, weights, f"{name}c")
        if level < len(skips):
            x = x + skips[level]
    return conv(x, weights, "final_conv")


def pspnet(x: np.ndarray, weights: Weights, *, reduce: Callable[..., np.ndarray], factor: int) -> np.ndarray:
    """Compute logits from one feature map of the encoder."""
    _, h, w, _ = x.shape
    grids = [conv_relu(cells(x, count, reduce), weights, f"psp_level{count}") for count in (1, 2, 3, 6)]
    joined = np.concatenate([x, *(bilinear(grid, h, w) for grid in grids)], axis=-1)
    logits = conv(conv_relu(joined, weights, "aggregation"), weights, "final_conv")
    return bilinear(logits, factor * h, factor * w)
