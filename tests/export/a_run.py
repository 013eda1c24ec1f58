"""A complete run without training: a small network with seeded weights, drawn pairs, and its true score."""

from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.images.write import write_text
from maskwright.inference.bundle import Bundle
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.training.run_records import write_scores
from tests.networks.randomise import infer, randomise
from tests.training.run_files import run_scores

NAMES = ("background", "cell", "fibre")
SIZE = (40, 56)  # multiples of the 4 that the network needs
VALUES = (0, 7, 9)


def build_network() -> keras.Model:
    """Build a network with two downsamplings and two upsampling blocks, one with a skip connection."""
    images = keras.Input((None, None, 3))
    skip = layers.Conv2D(4, 3, padding="same", activation="relu")(images)
    x = layers.AveragePooling2D(4)(skip)
    for partners in ([layers.AveragePooling2D(2)(skip)], []):
        x = layers.UpSampling2D(2)(x)
        x = layers.Concatenate()([x, *partners]) if partners else x
        x = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(x))
        x = layers.ReLU()(x)
    network = keras.Model(images, layers.Conv2D(len(NAMES), 3, padding="same", activation="softmax")(x))
    return randomise(network, seed=1)


def write_run(folder: Path, *, pairs: int = 12, network: keras.Model | None = None) -> Path:
    """Write a run to ``folder / "run"`` and its pairs next to it. Mask stems end in ``_gt``; the value 255 is ignored.

    If ``network`` is given, its predictions are the masks, with uncertain pixels ignored, and four more images are the
    training images.
    """
    run, rng, perfect = Run(folder / "run"), np.random.default_rng(0), network is not None
    network = network or build_network()
    run.folder.mkdir(parents=True)
    network.save(run.network)
    labels = tuple(
        Label(name=name, value=value, colour=(value, 0, 0), background=name == "background")
        for name, value in zip(NAMES, VALUES, strict=True)
    )
    normalisation = Normalisation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    kind = {"channels": 3, "pixels": ("uint8",), "activation": "softmax", "multiple": 4}
    Bundle(**kind, normalisation=normalisation, labels=labels).write(run.folder)
    words = dict(zip(VALUES, NAMES, strict=True)) | {255: "ignored"}
    data = {"images": folder / "images", "masks": folder / "masks", "mask_suffix": "_gt", "mask_values": words}
    write_text(run.recipe, Recipe.from_dict({"data": data}).to_yaml())
    rows, confusion = ["name,split,image,mask"], np.zeros((3, 3))
    for number in range(pairs):
        image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        if perfect:
            truth = np.where(margin(network, image) > 0.1, predict(network, image), 255).astype(np.uint8)
        else:
            truth = rng.choice([*VALUES, 255], SIZE).astype(np.uint8)
        files = paint(folder / f"images/{number:02}.png", image), paint(folder / f"masks/{number:02}_gt.png", truth)
        rows.append(f"{number:02},validation,{files[0]},{files[1]}")
        confusion += count(truth, predict(network, image))
    for number in range(4 * perfect):
        image = paint(folder / f"more/{number}.png", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        rows.append(f"{number},train,{image},{image}")
    write_text(run.split, "\n".join(rows) + "\n")
    record = run_scores(confusion.astype(int), names=NAMES)
    scores = record.scores.model_copy(update={"mean_iou": mean_iou(confusion)})
    write_scores(run.scores, record.model_copy(update={"scores": scores}))
    return run.folder


def paint(file: Path, pixels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def predict(network: keras.Model, image: np.ndarray) -> np.ndarray:
    """Predict mask values of an image whose sides are multiples of 4, using Keras and NumPy only."""
    return np.array(VALUES)[probabilities(network, image).argmax(-1)]


def margin(network: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return the difference between the two largest probabilities of each pixel."""
    _, second, first = np.moveaxis(np.sort(probabilities(network, image)), -1, 0)
    return first - second


def probabilities(network: keras.Model, image: np.ndarray) -> np.ndarray:
    prepared = (image / 255 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.25, 0.3])
    return infer(network, np.float32(prepared)[None])[0]


def count(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the confusion matrix by true and predicted value, without ignored pixels."""
    return np.array([[((truth == row) & (prediction == column)).sum() for column in VALUES] for row in VALUES])


def mean_iou(confusion: np.ndarray) -> float:
    """Return the mean IoU over the classes without the background."""
    true_positives = np.diag(confusion)
    return float((true_positives / (confusion.sum(0) + confusion.sum(1) - true_positives))[1:].mean())
