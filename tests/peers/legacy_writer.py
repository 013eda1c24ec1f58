"""Write networks of segmentation_models 1.0.1 with random weights, and their predictions, to a folder.

    TF_USE_LEGACY_KERAS=1 SM_FRAMEWORK=tf.keras python legacy_writer.py FOLDER < jobs.json

A job is {"name", "architecture", "arguments", "sizes"}. It writes NAME.weights_only.h5, NAME.whole.h5 and NAME.npz with
images0, masks0, images1, masks1, ... to FOLDER.
"""

import json
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import tf_keras

tf_keras.utils.generic_utils = types.SimpleNamespace(get_custom_objects=tf_keras.utils.get_custom_objects)
import segmentation_models as sm  # noqa: E402  requires the attribute above

SQUARE_SIDES = (1, 8, 32)  # pixels


def random_images(rng, shape):
    """Return random images in 0-255 with structure at several scales; deep layers average pixel noise to gray."""
    number, height, width, channels = shape
    coarse = (rng.uniform(0, 255, (number, -(-height // side), -(-width // side), channels)) for side in SQUARE_SIDES)
    layers = [
        np.kron(noise, np.ones((1, side, side, 1)))[:, :height, :width]
        for side, noise in zip(SQUARE_SIDES, coarse, strict=True)
    ]
    return np.mean(layers, axis=0).astype("float32")


def randomise(model, rng, images):
    """Assign random weights, and statistics close to those of ``images``, which keep the scale of the features."""
    norms = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    for variable in model.weights:
        shape = tuple(variable.shape)
        if len(shape) == 4:
            kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
            # After a ReLU all inputs are positive. A kernel with the sum 0 removes their constant part.
            variable.assign(kernel if "depthwise" in variable.name else kernel - kernel.mean((0, 1, 2)))
        elif "gamma" in variable.name:
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif "beta" in variable.name:  # mostly active ReLUs; otherwise deep random networks are chaotic
            variable.assign(rng.uniform(0.5, 2, shape))
        else:
            variable.assign(rng.normal(0, 0.2, shape))
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(images, training=True)  # with a momentum of 0, the statistics are those of the batch
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        deviation = np.sqrt(layer.moving_variance.numpy())
        layer.moving_mean.assign_add(deviation * rng.normal(0, 0.1, deviation.shape))
        layer.moving_variance.assign(np.square(deviation) * rng.uniform(0.7, 1.4, deviation.shape) + 1e-3)
    *_, last = (layer for layer in model.layers if isinstance(layer, tf_keras.layers.Conv2D))
    logits = tf_keras.Model(model.input, last.output)(images, training=False).numpy()
    last.kernel.assign(last.kernel / (2 * logits.std()))  # keeps the masks from saturating


def write(folder, *, name, architecture, arguments, sizes):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    tf_keras.backend.clear_session()
    if arguments.get("input_shape"):
        arguments["input_shape"] = tuple(arguments["input_shape"])
    model = getattr(sm, architecture)(**arguments, encoder_weights=None)
    channels = model.input_shape[-1]
    batches = [random_images(rng, (2, *size, channels)) for size in sizes]
    randomise(model, rng, random_images(rng, (8, *sizes[0], channels)))
    arrays = {}
    for number, images in enumerate(batches):
        arrays |= {f"images{number}": images, f"masks{number}": model(images, training=False)}
    np.savez(folder / f"{name}.npz", **arrays)
    model.save_weights(str(folder / f"{name}.weights_only.h5"))
    model.save(str(folder / f"{name}.whole.h5"), include_optimizer=False)


if __name__ == "__main__":
    for job in json.load(sys.stdin):
        write(Path(sys.argv[1]), **job)
