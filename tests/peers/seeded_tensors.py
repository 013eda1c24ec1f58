"""Tensors and images that depend only on a name and a shape, so that two processes can make the same ones.

The raw bits of NumPy's bit generators are the same in every version, unlike its distributions. Element-wise arithmetic
in float32 turns them into numbers, so the results are the same bits on every machine.
"""

import hashlib
import re

import numpy as np

SQUARES = (1, 8, 32)  # an image is the sum of noise of these cell sizes, pixels
UNIT_NORM = re.compile(r"layer\d\.\d+\.bn[23]\.weight$")
SMALL_KERNEL = re.compile(r"\.(attention|seg_blocks)\.")  # of gates, and before group normalisation


def uniform(name, shape, low, high):
    """Return uniform numbers in [low, high), of 24 random bits each, in float32; ``name`` is the seed."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    count = int(np.prod(shape))
    words = np.random.PCG64(seed).random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
    fractions = (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    return (fractions * np.float32(high - low) + np.float32(low)).reshape(shape)


def seeded_tensor(name, shape):
    """Return the tensor of a state dict with this name: float32, or int64 for a counter of batches.

    A kernel keeps the second moment of its input through a ReLU. The variance and the scale of a batch normalisation
    are small and cancel, so the layer keeps the scale of its input and a wrong epsilon changes the output. The last
    normalisation of a residual unit halves its branch, so that deep encoders do not explode. Kernels of gates are
    small, because steep gates amplify rounding errors, and so are kernels before group normalisation, because a wrong
    epsilon does not matter next to large variances. The first kernel of a channel gate is positive, because a ReLU
    follows, which may have one unit only and must not be zero.
    """
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var":
        return uniform(name, shape, 0.02, 0.06)
    if kind == "weight" and len(shape) == 1:
        most = 0.15 if UNIT_NORM.search(name) else 0.3
        return uniform(name, shape, most / 3, most)
    if kind == "weight":
        most = (6 / np.prod(shape[1:])) ** 0.5 * (0.03 if SMALL_KERNEL.search(name) else 1)
        return uniform(name, shape, 0 if name.endswith("cSE.1.weight") else -most, most)
    return uniform(name, shape, *((0, 0.4) if kind == "bias" else (-0.2, 0.2)))


def seeded_images(name, shape):
    """Return float32 images (n, height, width, channels), with detail of several sizes and a deviation near 1."""
    number, height, width, channels = shape
    layers = []
    for side in SQUARES:
        coarse = uniform(f"{name} {side}", (number, -(-height // side), -(-width // side), channels), -1, 1)
        layers.append(np.kron(coarse, np.ones((1, side, side, 1), np.float32))[:, :height, :width])
    return sum(layers)


def seeded_pixels(name, shape, count):
    """Return ``count`` indices into the pixels of images (n, height, width), with the corners of the first image."""
    number, height, width = shape
    corners = [0, width - 1, (height - 1) * width, height * width - 1]
    drawn = uniform(f"{name} pixels", (count - len(corners),), 0, number * height * width).astype(np.int64)
    return np.concatenate([corners, drawn])
