"""Decoders of segmentation_models_pytorch in torch, float64, from feature maps and weights by name."""

import keras
import numpy as np
import pytest

from tests.networks.tiny import layer_outputs, weights_of

torch = pytest.importorskip("torch", reason="torch, the other side of the comparison, is not installed")
nn = torch.nn.functional


class Reference:
    """Compute the logits of a decoder from the outputs of the layers ``end`` and ``skips`` for ``images``."""

    def __init__(self, network: keras.Model, images: np.ndarray, end: str, *skips: str) -> None:
        self.weights = {name: torch.from_numpy(weight) for name, weight in weights_of(network).items()}
        taps = layer_outputs(network, images, end, *skips)
        self.end, *self.skips = (torch.from_numpy(tap).permute(0, 3, 1, 2) for tap in taps)

    def conv(self, x, name, *, dilation=1):
        kernel = self.weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        pad = kernel.shape[-1] // 2 * dilation
        return nn.conv2d(x, kernel, self.weights.get(f"{name}/bias"), padding=pad, dilation=dilation)

    def finish(self, x, name):
        """Apply batch or group normalisation, if any, and ReLU."""
        mean, scale, shift = (self.weights.get(f"{name}_bn/{part}") for part in ("moving_mean", "gamma", "beta"))
        if mean is not None:
            x = nn.batch_norm(x, mean, self.weights[f"{name}_bn/moving_variance"], scale, shift, eps=1e-5)
        elif scale is not None:
            x = nn.group_norm(x, 32, scale, shift, eps=1e-5)
        return nn.relu(x)

    def conv_relu(self, x, name):
        return self.finish(self.conv(x, f"{name}_conv"), name)

    def depthwise(self, x, name, *, dilation=1):
        kernel = self.weights[f"{name}_depthwise/kernel"].permute(2, 3, 0, 1)
        return nn.conv2d(x, kernel, padding=dilation, dilation=dilation, groups=x.shape[1])

    def unetplusplus(self, *, blocks):
        def block(x, skip, name):
            x = nn.interpolate(x, scale_factor=2.0, mode="nearest")
            x = torch.cat([x, *skip], dim=1)
            return self.conv_relu(self.conv_relu(x, f"{name}a"), f"{name}b")

        def node(column, level):
            below = [self.end, *self.skips][level] if column == level else node(column, level - 1)
            later = [node(k, level) for k in range(column + 1, level + 1)]
            return block(below, [*later, self.skips[level]], f"decoder_x_{column}_{level}")

        x = node(0, len(self.skips) - 1)
        for level in range(len(self.skips), blocks):
            x = block(x, [], f"decoder_x_0_{level}")
        return self.answer(self.conv(x, "final_conv"))

    def linknet(self, *, blocks):
        x = self.end
        for stage in range(blocks):
            name = f"decoder_stage{stage}"
            x = self.conv_relu(x, f"{name}a")
            kernel = self.weights[f"{name}b_transpose/kernel"].permute(3, 2, 0, 1)
            bias = self.weights[f"{name}b_transpose/bias"]
            x = self.finish(nn.conv_transpose2d(x, kernel, bias, stride=2, padding=1), f"{name}b")
            x = self.conv_relu(x, f"{name}c")
            x = x + self.skips[stage] if stage < len(self.skips) else x
        return self.answer(self.conv(x, "final_conv"))

    def fpn(self, *, add):
        pyramid = [self.conv(self.end, "decoder_p5")]
        for level, skip in zip((4, 3, 2), self.skips, strict=True):
            x = nn.interpolate(pyramid[-1], scale_factor=2.0, mode="nearest")
            pyramid.append(x + self.conv(skip, f"decoder_p{level}_skip_conv"))
        branches = []
        for i, (x, doublings) in enumerate(zip(pyramid, (3, 2, 1, 0), strict=True)):
            for step in range(max(1, doublings)):
                x = self.conv_relu(x, f"decoder_seg_blocks_{i}_block_{step}")
                x = upsampled(x, 2) if doublings else x
            branches.append(x)
        x = sum(branches) if add else torch.cat(branches, dim=1)
        return self.answer(upsampled(self.conv(x, "final_conv"), 4))

    def deeplabv3plus(self, *, rates, factor):
        x, (skip,) = self.end, self.skips
        views = [self.conv_relu(x, "decoder_aspp_0_convs_0")]
        for i, rate in enumerate(rates, start=1):
            name = f"decoder_aspp_0_convs_{i}"
            views.append(self.conv_relu(self.depthwise(x, name, dilation=rate), name))
        mean = self.conv_relu(nn.adaptive_avg_pool2d(x, 1), f"decoder_aspp_0_convs_{len(rates) + 1}")
        views.append(nn.interpolate(mean, size=x.shape[2:], mode="bilinear", align_corners=False))
        x = self.conv_relu(torch.cat(views, dim=1), "decoder_aspp_0_project")
        x = self.conv_relu(self.depthwise(x, "decoder_aspp_1"), "decoder_aspp_1")
        x = torch.cat([upsampled(x, factor), self.conv_relu(skip, "decoder_block1")], dim=1)
        x = self.conv_relu(self.depthwise(x, "decoder_block2"), "decoder_block2")
        return self.answer(upsampled(self.conv(x, "final_conv"), 4))

    def answer(self, logits) -> np.ndarray:
        return logits.permute(0, 2, 3, 1).numpy()


def upsampled(x, factor):
    return nn.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)
