"""EfficientNet-Lite in torch, float64, from weights with the names of timm."""

from collections.abc import Mapping

import numpy as np
import pytest

from tests.networks.torch_residual import to_numpy, to_torch

torch = pytest.importorskip("torch", reason="torch, the other side of the comparison, is not installed")
nn = torch.nn.functional

STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
STRIDES_BY_STAGE = {0: 2, 1: 4, 2: 8, 4: 16, 6: 32}  # the last stage of each stride


def pad_same(x, kernel: int, stride: int):
    """Pad as TensorFlow does: the output has ceil(side / stride) values; an odd number of zeros has more at the end."""
    padding = []
    for side in (x.shape[-1], x.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding += [total // 2, total - total // 2]
    return nn.pad(x, padding)


class TimmEfficientNetLite:
    """An EfficientNet-Lite from a state dict."""

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        self.state = {name: torch.from_numpy(values.astype("float64")) for name, values in state.items()}

    @staticmethod
    def depthwise(x, kernel, stride):
        """Convolve each channel with its own kernel; for float64, torch's function is slow."""
        size = kernel.shape[-1]
        height, width = ((side - size) // stride + 1 for side in x.shape[-2:])
        shifts = [(row, column) for row in range(size) for column in range(size)]
        return sum(
            kernel[:, 0, row, column, None, None]
            * x[:, :, row : row + stride * height : stride, column : column + stride * width : stride]
            for row, column in shifts
        )

    def conv_bn(self, x, conv, bn, *, stride=1, depthwise=False, act=True):
        kernel = self.state[f"{conv}.weight"]
        x = pad_same(x, kernel.shape[-1], stride)
        x = self.depthwise(x, kernel, stride) if depthwise else nn.conv2d(x, kernel, stride=stride)
        statistics = (self.state[f"{bn}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = nn.batch_norm(x, *statistics, eps=1e-3)
        return x.clamp(0, 6) if act else x

    def block(self, x, name, *, stride):
        y, number, last = x, 1, "conv_pw"
        if f"{name}.conv_pwl.weight" in self.state:
            y, number, last = self.conv_bn(x, f"{name}.conv_pw", f"{name}.bn1"), 2, "conv_pwl"
        y = self.conv_bn(y, f"{name}.conv_dw", f"{name}.bn{number}", stride=stride, depthwise=True)
        y = self.conv_bn(y, f"{name}.{last}", f"{name}.bn{number + 1}", act=False)
        return y + x if y.shape == x.shape else y

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image size, and the probabilities of classes."""
        features = []
        x = self.conv_bn(to_torch(images), "conv_stem", "bn1", stride=2)
        for stage, stride in enumerate(STAGE_STRIDES):
            block = 0
            while f"blocks.{stage}.{block}.conv_dw.weight" in self.state:
                x = self.block(x, f"blocks.{stage}.{block}", stride=1 if block else stride)
                block += 1
            if stage in STRIDES_BY_STAGE:
                features.append(to_numpy(x))
        x = self.conv_bn(x, "conv_head", "bn2").mean(dim=(2, 3))
        logits = nn.linear(x, self.state["classifier.weight"], self.state["classifier.bias"])
        return [*features, logits.softmax(dim=1).numpy()]
