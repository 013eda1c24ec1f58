"""A pre-activation ResNet and the U-Net decoder in NumPy, float64, from weights by name."""

from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]  # (n, h, w, c, kh, kw)
    return np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2]))


def transposed(x: np.ndarray, kernel: np.ndarray, rate: int = 2) -> np.ndarray:
    """Apply a 4x4 kernel of stride 2 to 4, same padding: at stride 2, input pixel i adds to pixels 2i - 1 to 2i + 2."""
    n, h, w, _ = x.shape
    out = np.zeros((n, rate * h + 4, rate * w + 4, kernel.shape[2]))
    for dy in range(4):
        for dx in range(4):
            spread = x @ kernel[dy, dx].T  # kernel: (4, 4, out, in)
            out[:, dy : dy + rate * h : rate, dx : dx + rate * w : rate] += spread
    cut = (4 - rate) // 2  # what overlaps is cut evenly, an odd pixel behind
    return out[:, cut : cut + rate * h, cut : cut + rate * w]


def normalise(x: np.ndarray, weights: Weights, name: str, epsilon: float) -> np.ndarray:
    scaled = (x - weights[f"{name}/moving_mean"]) / np.sqrt(weights[f"{name}/moving_variance"] + epsilon)
    return scaled * weights.get(f"{name}/gamma", 1.0) + weights[f"{name}/beta"]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def max_pool(x: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # with zeros, since the input is never negative
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(-2, -1))


def resnet_unit(x: np.ndarray, weights: Weights, unit: str, stride: int) -> np.ndarray:
    def bn_relu(y: np.ndarray, i: int) -> np.ndarray:
        return relu(normalise(y, weights, f"{unit}_bn{i}", 2e-5))

    def conv(y: np.ndarray, i: int, stride: int = 1, pad: int = 0) -> np.ndarray:
        return convolve(y, weights[f"{unit}_conv{i}/kernel"], stride, pad)

    first = bn_relu(x, 1)
    shortcut = convolve(first, weights[f"{unit}_sc/kernel"], stride) if f"{unit}_sc/kernel" in weights else x
    if f"{unit}_conv3/kernel" in weights:
        branch = conv(bn_relu(conv(bn_relu(conv(first, 1), 2), 2, stride, 1), 3), 3)
    else:
        branch = conv(bn_relu(conv(first, 1, stride, 1), 2), 2, 1, 1)
    if f"{unit}_se_reduce/kernel" in weights:
        squeezed = branch.mean(axis=(1, 2))
        hidden = relu(squeezed @ weights[f"{unit}_se_reduce/kernel"][0, 0] + weights[f"{unit}_se_reduce/bias"])
        gate = logistic(hidden @ weights[f"{unit}_se_expand/kernel"][0, 0] + weights[f"{unit}_se_expand/bias"])
        branch = branch * gate[:, None, None, :]
    return branch + shortcut


def resnet(images: np.ndarray, weights: Weights, units: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Compute the features and the four skip connections from deep to shallow."""
    x = convolve(normalise(images, weights, "bn_data", 2e-5), weights["conv0/kernel"], 2, 3)
    x = relu(normalise(x, weights, "bn0", 2e-5))
    skips = [x]
    x = max_pool(x)
    for stage, count in enumerate(units, start=1):
        if stage > 1:
            skips.insert(0, relu(normalise(x, weights, f"stage{stage}_unit1_bn1", 2e-5)))
        for number in range(1, count + 1):
            x = resnet_unit(x, weights, f"stage{stage}_unit{number}", 2 if stage > 1 and number == 1 else 1)
    return relu(normalise(x, weights, "bn1", 2e-5)), skips


def decoder(x: np.ndarray, skips: list[np.ndarray], weights: Weights, rates: tuple[int, ...] = (2,) * 5) -> np.ndarray:
    """Compute logits."""

    def finish(y: np.ndarray, name: str) -> np.ndarray:
        if f"{name}_bn/gamma" in weights:
            y = normalise(y, weights, f"{name}_bn", 1e-3)
        return relu(y)

    def conv(y: np.ndarray, name: str) -> np.ndarray:
        y = convolve(y, weights[f"{name}_conv/kernel"], pad=1) + weights.get(f"{name}_conv/bias", 0.0)
        return finish(y, name)

    for level, rate in enumerate(rates):
        name = f"decoder_stage{level}"
        skip = skips[level : level + 1]
        if f"{name}a_transpose/kernel" in weights:
            y = transposed(x, weights[f"{name}a_transpose/kernel"], rate)
            y = y + weights.get(f"{name}a_transpose/bias", 0.0)
            x = conv(np.concatenate([finish(y, f"{name}a"), *skip], axis=-1), f"{name}b")
        else:
            y = x.repeat(rate, axis=1).repeat(rate, axis=2)
            x = conv(conv(np.concatenate([y, *skip], axis=-1), f"{name}a"), f"{name}b")
    return convolve(x, weights["final_conv/kernel"], pad=1) + weights["final_conv/bias"]


def unet(images: np.ndarray, weights: Weights, units: tuple[int, ...]) -> np.ndarray:
    return decoder(*resnet(images, weights, units), weights)
