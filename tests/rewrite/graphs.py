"""Random small networks of the layers that a rewrite touches, put together in ways it must and must not take."""

import keras
import numpy as np
from keras import layers

from maskwright.networks.grouped_conv import GroupedConv2D
from tests.networks.randomise import randomise

SIZE = (30, 42)  # two and three divide it, and half of it is odd


class RandomGraph:
    """A functional network, layer by layer, all decided by ``seed``."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def settings(self) -> dict:
        return {
            "use_bias": self.chance(0.5),
            "activation": self.one(None, None, "relu", "tanh"),
            "padding": self.one("same", "same", "valid"),
        }

    def convolution(self, x):
        size, dilation = self.one(1, 3, (3, 5), 4), self.one(1, 1, 2)
        if self.chance(0.6):
            reach = [(side - 1) * dilation for side in ((size, size) if isinstance(size, int) else size)]
            x = layers.ZeroPadding2D([(side // 2, side - side // 2 + self.one(0, 0, 1)) for side in reach])(x)
        kind = self.one("conv", "conv", "grouped", "depthwise", "transposed")
        settings = self.settings()
        if kind == "depthwise":
            return layers.DepthwiseConv2D(size, depth_multiplier=self.one(1, 2), **settings)(x)
        if kind == "transposed":
            return layers.Conv2DTranspose(self.one(4, 6), size, **settings)(x)
        if kind == "grouped" and x.shape[-1] % 2 == 0:
            return GroupedConv2D(4, size, groups=2, dilation_rate=dilation, **settings)(x)
        return layers.Conv2D(self.one(3, 4, 6), size, dilation_rate=dilation, **settings)(x)

    def norm(self, x):
        return layers.BatchNormalization(scale=self.chance(0.7), center=self.chance(0.7))(x)

    def some(self, x):
        """A few layers that keep the size, of which something may be read twice."""
        before = x
        for _ in range(self.rng.integers(1, 4)):
            x = self.one(self.convolution, self.norm, self.norm, layers.ReLU())(x)
            if self.chance(0.15):
                x = layers.Add()([x, layers.ReLU()(x)])
        same = x.shape[1:3] == before.shape[1:3]
        return x if same else layers.Resizing(*before.shape[1:3], interpolation="nearest")(x)

    def enlarged(self, x):
        """Pool by a rate, a few layers, and enlarge again."""
        rate = self.one(2, 3, (2, 3))
        x = self.some(layers.AveragePooling2D(rate)(x))
        return layers.UpSampling2D(rate, interpolation=self.one("nearest", "nearest", "nearest", "bilinear"))(x)

    def level(self, x):
        """Something enlarged, joined with something else or nothing, and convolved."""
        up = self.enlarged(x)
        maps = self.one([up], [up], [up, x], [x, up], [up, self.enlarged(x)], [x, up, self.some(x)], [up, up])
        joined = layers.Concatenate()(maps) if len(maps) > 1 else up
        if self.chance(0.2):
            joined = layers.ZeroPadding2D(1)(joined)
            y = layers.Conv2D(4, 3, use_bias=self.chance(0.5))(joined)
        else:
            settings = self.settings() | {"padding": "same"}
            y = layers.Conv2D(self.one(4, 5), self.one(3, 3, 1, 5, (1, 3), 2), **settings)(joined)
        if self.chance(0.15):
            y = layers.Concatenate()([y, up])
        return self.norm(y) if self.chance(0.7) else y

    def network(self) -> keras.Model:
        x = image = keras.Input((*SIZE, 3))
        for _ in range(2):
            x = self.level(self.some(x))
        outputs = {"a": x, "b": self.some(x)} if self.chance(0.3) else x
        return randomise(keras.Model(image, outputs))
