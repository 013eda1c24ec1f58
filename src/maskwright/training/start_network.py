"""Load the trained network from which training starts, with the classes and the normalisation that are stored."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import keras

from maskwright.errors import InputError
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.keras import load_network
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.preprocessing import IMAGENET
from maskwright.rewrite.graph import heads
from maskwright.training.load_legacy import load_legacy
from maskwright.training.start_file import FIELD, has_bundle
from maskwright.weights.input_channels import reverse_image_channels, unit_statistics
from maskwright.weights.segmentation_models.identify import identify
from maskwright.weights.smp.load_save import load_smp


class UnsupportedNetwork(InputError):
    """A network from which training cannot start, because its head or its input cannot be adapted."""

    text = "{file}: training cannot start from this network: found {found}; expected {expected}."


@dataclass(frozen=True)
class Start:
    """A trained network from which training starts.

    Attributes:
        file: File of the network.
        network: The network, in float32.
        bundle: Bundle of the network, with its classes; None if the file does not store them.
        normalisation: Normalisation of the images for the network; None if it is not known.
    """

    file: Path
    network: keras.Model
    bundle: Bundle | None
    normalisation: Normalisation | None


def load_start(file: Path) -> Start:
    """Load the network of a ``.keras``, ``.h5`` or ``.safetensors`` file.

    The normalisation of a ``.keras`` file is that of its run, and the normalisation of any other file is that of the
    published weights of its encoder.

    Raises:
        UnsupportedNetwork: The network has several inputs or outputs, a fixed image size, or a head that cannot be
            replaced.
        InputError: The file cannot be read.
    """
    start = _load_keras(file) if file.suffix.lower() == ".keras" else _load_converted(file)
    _check_head(start)
    return start


def _load_keras(file: Path) -> Start:
    """Load a Keras network, and the bundle in the same folder if it is the network of a run."""
    bundle = Bundle.read(file.parent) if has_bundle(file) else None
    return Start(file, load_network(file), bundle, bundle.normalisation if bundle else None)


def _load_converted(file: Path) -> Start:
    """Load a network of segmentation_models (``.h5``) or of segmentation_models_pytorch (``.safetensors``)."""
    if file.suffix.lower() == ".safetensors":
        network, pixels = load_smp(file, argument=FIELD), IMAGENET
    else:
        description = identify(file, argument=FIELD)
        if description.not_stored[1:]:
            found = f"a file that does not store {' and '.join(description.not_stored[1:])}"
            expected = "a file converted by maskwright convert-weights"
            raise UnsupportedNetwork(file=file, found=found, expected=expected)
        # The activation is replaced, so any value is suitable if the file does not store it.
        options = dict.fromkeys(description.not_stored, "sigmoid")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the file also contains the state of an optimizer
            network = load_legacy(file, input_shape=(None, None, description.input_shape[2]), **options)
        pixels = BACKBONES[description.backbone].preprocessing
        if pixels.channels == "BGR":
            reverse_image_channels(network)
    mean, std = unit_statistics(pixels, network.input_shape[-1])
    return Start(file, network, None, Normalisation(mean=mean, std=std))


def _check_head(start: Start) -> None:
    """Check that the head of a network can be replaced.

    Raises:
        UnsupportedNetwork: The network has several inputs or outputs, a fixed image size, or another kind of head.
    """
    network, found = start.network, None
    if not hasattr(network, "operations") or len(network.inputs) != 1 or len(network.outputs) != 1:
        found = "a model that is not functional, or has several inputs or outputs"
    elif tuple(network.input_shape)[:3] != (None, None, None) or len(network.output_shape) != len(network.input_shape):
        found = f"a model from {network.input_shape} to {network.output_shape}"
    else:
        layers, last = heads(network), network.operations[-1]
        if [type(layer) for layer in layers] != [keras.layers.Conv2D]:
            found = f"the last layers {', '.join(layer.name for layer in layers)}"
        elif not isinstance(last, keras.layers.Activation) or layers[0].activation is not keras.activations.linear:
            found = f"the output layer {last.name}"
        elif start.bundle and (network.input_shape[-1], network.output_shape[-1]) != (
            start.bundle.inputs,
            start.bundle.outputs,
        ):
            found = f"a model from {network.input_shape} to {network.output_shape}, unlike its {BUNDLE_FILE}"
    if found is not None:
        expected = "images (n, h, w, c) of any size, and a final convolution followed by an activation layer"
        raise UnsupportedNetwork(file=start.file, found=found, expected=expected)
