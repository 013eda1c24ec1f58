"""Recipes, bundles and runs that were not trained, for tests of training that starts from a trained network."""

import numpy as np

from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.training.network import build_network
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from tests.networks.randomise import randomise

SMALL = {"backbone": "resnet18", "decoder_filters": [16, 8, 8, 8, 8]}
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 64, 3)).astype("float32")


def bundle_of(*names, channels=3, **fields):
    """A bundle with a sigmoid for a background and one class, as in training; ``-`` is the background."""
    labels = [
        Label(name="background" if name == "-" else name, value=value, colour=(0, 0, value), background=name == "-")
        for value, name in enumerate(names)
    ]
    normalisation = Normalisation(mean=tuple(0.1 * (1 + c) for c in range(channels)), std=(0.5,) * channels)
    activation = "sigmoid" if len(names) == 2 and "-" in names else "softmax"
    return Bundle(
        channels=channels,
        pixels=("uint8",),
        normalisation=normalisation,
        labels=labels,
        activation=activation,
        **fields,
    )


def recipe_of(start_from, *, data=None, training=None, **network):
    fields = {"data": {"images": "i", "masks": "m", **(data or {})}, "network": {"start_from": start_from, **network}}
    return Recipe.from_dict({**fields, "training": training or {}})


def write_run(folder, bundle, *, seed=1, data=None, **network):
    """Write the files of a run that was not trained, and return its folder."""
    recipe = recipe_of(None, data=data, **SMALL, **network)
    Run(folder).begin(recipe.to_yaml())
    randomise(build_network(recipe.network, bundle), seed=seed).save(folder / "model.keras")
    bundle.write(folder)
    return folder
