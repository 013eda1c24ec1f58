"""Write random weights in the published format with image-classifiers, and the outputs of its networks.

TF_USE_LEGACY_KERAS=1 python published_writer.py FOLDER writes resnet18_imagenet_1000.h5,
resnet18_imagenet_1000_no_top.h5 and expected.npz with images, features and fc1_kernel.
"""

import sys
from pathlib import Path

import numpy as np


def write(folder):
    from classification_models.tfkeras import Classifiers

    rng = np.random.default_rng(7)
    ResNet18, _ = Classifiers.get("resnet18")

    classifier = ResNet18((224, 224, 3), weights=None, include_top=True)
    for weight in classifier.weights:
        shape = tuple(weight.shape)
        if "moving_variance" in weight.name or "gamma" in weight.name:
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) == 1:
            weight.assign(rng.normal(0, 0.2, shape))
        else:
            weight.assign(rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape))
    encoder = ResNet18((64, 96, 3), weights=None, include_top=False)
    encoder.set_weights(classifier.get_weights()[:-2])

    classifier.save_weights(str(folder / "resnet18_imagenet_1000.h5"))
    encoder.save_weights(str(folder / "resnet18_imagenet_1000_no_top.h5"))
    images = rng.uniform(0, 255, (2, 64, 96, 3)).astype("float32")
    np.savez(
        folder / "expected.npz",
        images=images,
        features=encoder(images, training=False),
        fc1_kernel=classifier.get_layer("fc1").kernel,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
