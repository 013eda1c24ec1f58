"""Random small networks of the layers that a rewrite replaces, in combinations that it must and must not rewrite."""

import keras
import numpy as np
from keras import layers

from maskwright.networks.grouped_conv import GroupedConv2D
from tests.networks.randomise import randomise

SIZE = (30, 42)  # divisible by 2 and 3, with an odd half


class RandomGraph:
    """A random functional network, determined by ``seed``."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def settings(self) -> dict:
        return {
            "use_bias": self.chance(0.5),
            "activation": self.choose(None, None, "relu", "tanh"),
            "padding": self.choose("same", "same", "valid"),
        }

    def convolution(self, x):
        size, dilation = self.choose(1, 3, (3, 5), 4), self.choose(1, 1, 2)
        if self.chance(0.6):
            totals = [(side - 1) * dilation for side in ((size, size) if isinstance(size, int) else size)]
            x = layers.ZeroPadding2D([(total // 2, total - total // 2 + self.choose(0, 0, 1)) for total in totals])(x)
        kind = self.choose("conv", "conv", "grouped", "depthwise", "transposed")
        settings = self.settings()
        if kind == "depthwise":
            return layers.DepthwiseConv2D(size, depth_multiplier=self.choose(1, 2), **settings)(x)
        if kind == "transposed":
            return layers.Conv2DTranspose(self.choose(4, 6), size, **settings)(x)
        if kind == "grouped" and x.shape[-1] % 2 == 0:
            return GroupedConv2D(4, size, groups=2, dilation_rate=dilation, **settings)(x)
        return layers.Conv2D(self.choose(3, 4, 6), size, dilation_rate=dilation, **settings)(x)

    def norm(self, x):
        return layers.BatchNormalization(scale=self.chance(0.7), center=self.chance(0.7))(x)

    def block(self, x):
        """Add a few layers that keep the size; a tensor may have two consumers."""
        first = x
        for _ in range(self.rng.integers(1, 4)):
            x = self.choose(self.convolution, self.norm, self.norm, layers.ReLU())(x)
            if self.chance(0.15):
                x = layers.Add()([x, layers.ReLU()(x)])
        same = x.shape[1:3] == first.shape[1:3]
        return x if same else layers.Resizing(*first.shape[1:3], interpolation="nearest")(x)

    def upsampled(self, x):
        """Pool by a rate, add a few layers and upsample by it."""
        rate = self.choose(2, 3, (2, 3))
        x = self.block(layers.AveragePooling2D(rate)(x))
        return layers.UpSampling2D(rate, interpolation=self.choose("nearest", "nearest", "nearest", "bilinear"))(x)

    def level(self, x):
        """Upsample, concatenate or not, and convolve."""
        up = self.upsampled(x)
        features = self.choose([up], [up], [up, x], [x, up], [up, self.upsampled(x)], [x, up, self.block(x)], [up, up])
        merged = layers.Concatenate()(features) if len(features) > 1 else up
        if self.chance(0.2):
            merged = layers.ZeroPadding2D(1)(merged)
            y = layers.Conv2D(4, 3, use_bias=self.chance(0.5))(merged)
        else:
            settings = self.settings() | {"padding": "same"}
            y = layers.Conv2D(self.choose(4, 5), self.choose(3, 3, 1, 5, (1, 3), 2), **settings)(merged)
        if self.chance(0.15):
            y = layers.Concatenate()([y, up])
        return self.norm(y) if self.chance(0.7) else y

    def network(self) -> keras.Model:
        x = image = keras.Input((*SIZE, 3))
        for _ in range(2):
            x = self.level(self.block(x))
        outputs = {"a": x, "b": self.block(x)} if self.chance(0.3) else x
        return randomise(keras.Model(image, outputs))
