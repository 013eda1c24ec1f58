"""Post-activation residual networks in torch, float64, from weights by name."""

from collections.abc import Mapping

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, the other side of the comparison, is not installed")
nn = torch.nn.functional


def to_torch(images: np.ndarray):
    return torch.from_numpy(images.astype("float64")).permute(0, 3, 1, 2)


def to_numpy(x) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


class TorchvisionResNet:
    """A ResNet of torchvision with the dilation of segmentation_models_pytorch, from a state dict."""

    def __init__(self, state: Mapping[str, np.ndarray], *, last_stage: dict[str, int]) -> None:
        self.state = {name: torch.from_numpy(values.astype("float64")) for name, values in state.items()}
        self.last_stage = last_stage

    def conv_bn(self, x, conv, bn, *, stride=1, dilation=1):
        kernel = self.state[f"{conv}.weight"]
        x = nn.conv2d(x, kernel, stride=stride, dilation=dilation, padding=kernel.shape[-1] // 2 * dilation)
        statistics = (self.state[f"{bn}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return nn.batch_norm(x, *statistics, eps=1e-5)

    def unit(self, x, name, *, stride, dilation):
        convs = [number for number in (1, 2, 3) if f"{name}.conv{number}.weight" in self.state]
        strided = 2 if len(convs) == 3 else 1
        y = x
        for number in convs:
            y = self.conv_bn(
                y if number == 1 else nn.relu(y),
                f"{name}.conv{number}",
                f"{name}.bn{number}",
                stride=stride if number == strided else 1,
                dilation=dilation,
            )
        if stride == 2 or y.shape[1] != x.shape[1]:
            x = self.conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
        return nn.relu(y + x)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of the stem's ReLU and of the four stages."""
        taps = [nn.relu(self.conv_bn(to_torch(images), "conv1", "bn1", stride=2))]
        x = nn.max_pool2d(taps[0], 3, stride=2, padding=1)
        for stage in (1, 2, 3, 4):
            steps = {1: {"stride": 1, "dilation": 1}, 4: self.last_stage}.get(stage, {"stride": 2, "dilation": 1})
            unit = 0
            while f"layer{stage}.{unit}.conv1.weight" in self.state:
                x = self.unit(x, f"layer{stage}.{unit}", **(steps if unit == 0 else {**steps, "stride": 1}))
                unit += 1
            taps.append(x)
        return [to_numpy(tap) for tap in taps]


class Bottlenecks:
    """Bottlenecks of the ResNeXt and SENet of image-classifiers, from weights by ``layer/weight`` in Keras layout."""

    def __init__(
        self, weights: Mapping[str, np.ndarray], *, epsilon: float, groups: int, strided: int, squeeze: bool
    ) -> None:
        self.weights = {name: torch.from_numpy(values) for name, values in weights.items()}
        self.epsilon, self.groups, self.strided, self.squeeze = epsilon, groups, strided, squeeze

    def conv(self, x, name, *, stride=1, groups=1):
        kernel = self.weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        bias = self.weights.get(f"{name}/bias")
        return nn.conv2d(x, kernel, bias, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)

    def bn(self, x, name):
        mean, variance, scale, shift = (
            self.weights.get(f"{name}/{part}") for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return nn.batch_norm(x, mean, variance, scale, shift, eps=self.epsilon)

    def unit(self, x, prefix, *, stride):
        y = x
        for number in (1, 2, 3):
            y = self.conv(
                y,
                f"{prefix}conv{number}",
                stride=stride if number == self.strided else 1,
                groups=self.groups if number == 2 else 1,
            )
            y = self.bn(y, f"{prefix}bn{number}")
            y = nn.relu(y) if number < 3 else y
        if self.squeeze:
            gate = nn.relu(self.conv(y.mean(dim=(2, 3), keepdim=True), f"{prefix}se_reduce"))
            y = y * torch.sigmoid(self.conv(gate, f"{prefix}se_expand"))
        if prefix.endswith("unit1_"):
            x = self.bn(self.conv(x, f"{prefix}sc", stride=stride), f"{prefix}sc_bn")
        return nn.relu(y + x)

    def stages(self, stem) -> list:
        """Return the outputs of the four stages after the stem's pooling."""
        x, ends = nn.max_pool2d(stem, 3, stride=2, padding=1), []
        for stage in (1, 2, 3, 4):
            unit = 1
            while f"stage{stage}_unit{unit}_conv1/kernel" in self.weights:
                x = self.unit(x, f"stage{stage}_unit{unit}_", stride=2 if stage > 1 and unit == 1 else 1)
                unit += 1
            ends.append(x)
        return ends
