"""Start training from a network that is already trained: its graph, its weights and its normalisation."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.engine import NETWORK_FILE
from maskwright.inference.engines.keras import load_network
from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.preprocessing import IMAGENET
from maskwright.rewrite.graph import heads
from maskwright.training.custom import check_encoder_options
from maskwright.training.load_legacy import load_legacy
from maskwright.training.plan import Decision
from maskwright.training.prepare import Prepared
from maskwright.training.recipe import AUTO_WEIGHTS, NO_WEIGHTS, NetworkRecipe, Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run
from maskwright.weights.digests import sha256_of
from maskwright.weights.input_channels import RGB, RULES, adapt_statistics, reverse_image_channels, unit_statistics
from maskwright.weights.segmentation_models.identify import identify
from maskwright.weights.smp.load_save import load_smp

Array = NDArray[np.floating[Any]]

FIELD: Final = "network.start_from"
_GRAPH_FIELDS: Final = (
    *("architecture", "backbone", "first_unit", "decoder_block", "decoder_filters", "attention", "hypercolumn"),
)
"""Fields of the network section that determine the shapes of the weights in the saved network of a run."""
_OWN_FIELDS: Final = frozenset(
    {"start_from", "start_from_sha256", "encoder_weights", "encoder_weights_sha256", "custom"}
)
"""Fields of the network section that are not taken from a run."""
_PIXEL_FIELDS: Final = ("scale", "coord_channels")
_BACKGROUND: Final = "the background"


class NoNetwork(InputError):
    """A path that contains no network from which training can start."""

    text = "{field}: {path}: {found}; expected {expected}."


class OtherNetwork(InputError):
    """A file that differs from the file from which training started before."""

    text = "{file}: its SHA-256 is {found}, but training started from a file with {expected}; restore that file."


class ContradictsStart(InputError):
    """A setting that contradicts the network from which training starts."""

    text = "{field}: found {found}, but {start} has {expected}; leave out one of them."


class ReplacesStart(InputError):
    """A folder for a run that contains the network from which training starts."""

    text = "out={out}: contains the network from which training starts ({start}); give another folder."


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


def read_start(recipe: Recipe) -> tuple[Recipe, Start | None]:
    """Load the network that ``network.start_from`` names, and complete the recipe with the settings of its run.

    Args:
        recipe: Recipe as given by the user, or the complete recipe of a run.

    Returns:
        The recipe, with the SHA-256 of the network and with the network section and the scale of the run, and the
        network; None if the recipe names no network.

    Raises:
        NoNetwork: The path contains no network.
        OtherNetwork: The file differs from the file with the recorded SHA-256.
        ContradictsStart, NoEncoder: A setting contradicts the network.
        UnsupportedNetwork: The head of the network cannot be replaced.
        InputError: The network cannot be read.
    """
    network = recipe.network
    path = network.start_from
    if path is None:
        if recipe.data.normalisation == "start_from":
            raise WrongRecipe(source="recipe", problems="data.normalisation: start_from requires network.start_from")
        return recipe, None
    _check_own_fields(network, path)
    file, digest = network.start_file or path / NETWORK_FILE, digest_of_start(network)
    if network.start_file is None:
        recipe = _with_network_of_run(recipe, path)
        start = _load_keras(file)
    else:
        _check_no_network_fields(recipe, path)
        start = _load_file(file)
    recipe = recipe.changed("network", start_from_sha256=digest)
    if start.bundle is not None:
        recipe = _with_unset(recipe, "data", {name: getattr(start.bundle, name) for name in _PIXEL_FIELDS})
    if start.normalisation is not None:
        recipe = _with_unset(recipe, "data", {"normalisation": "start_from"})
    elif recipe.data.normalisation == "start_from":
        problem = f"data.normalisation: {file} does not store the normalisation; leave it out or give a run"
        raise WrongRecipe(source="recipe", problems=problem)
    return recipe, start


def digest_of_start(network: NetworkRecipe) -> str:
    """Return the SHA-256 of the file of the network from which training starts.

    Raises:
        NoNetwork: There is no such file.
        OtherNetwork: It differs from the recorded SHA-256.
    """
    path = network.start_from or Path()
    file, recorded = network.start_file or path / NETWORK_FILE, network.start_from_sha256
    if not file.is_file():
        raise _no_network(path)
    digest = sha256_of(file)
    if recorded not in (None, digest):
        raise OtherNetwork(file=file, found=digest, expected=recorded)
    return digest


def with_start(prepared: Prepared, start: Start) -> Prepared:
    """Return prepared data for training that starts from ``start``, with its normalisation and with the reasons."""
    bundle, recipe, path = prepared.bundle, prepared.recipe, prepared.recipe.network.start_from
    taken: tuple[str, ...] = ()
    if recipe.data.normalisation == "start_from":
        bundle = bundle.model_copy(update={"normalisation": _adapted_normalisation(start, bundle)})
        taken = ("data.normalisation",)
    if recipe.network.start_file is None:
        taken += ("network.backbone", "network.decoder_filters")
    origin = f"from {path.name if path else ''}"
    decisions = [
        replace(decision, reason=origin) if decision.field in taken else decision
        for decision in prepared.decisions
        if decision.field != FIELD
    ]
    head = Decision(FIELD, str(path), describe_head(start, bundle))
    return replace(prepared, bundle=bundle, decisions=(head, *decisions), start=start)


def check_start_is_kept(recipe: Recipe, out: Path) -> None:
    """Check that a run does not replace the network from which it starts.

    Raises:
        ReplacesStart: The network is in the folder ``out``.
    """
    path = recipe.network.start_from
    if path is not None and out.absolute() in (path, *path.parents):
        raise ReplacesStart(out=out, start=path)


def start_of_resumed(run: Run, prepared: Prepared) -> Prepared:
    """Return the prepared data of a resumed run with the network from which it started, if it is still needed.

    A run stores the graph of a network from a file. The weights of a run are needed until the first checkpoint.

    Raises:
        InputError: The network cannot be read, or differs from the one that was recorded.
    """
    start = None
    if prepared.recipe.network.start_file is not None:
        network = load_network(run.start_network)
        start = Start(run.start_network, network, prepared.bundle, prepared.bundle.normalisation)
    elif not run.has_checkpoint:
        start = read_start(prepared.recipe)[1]
    return replace(prepared, start=start)


def network_from(start: Start, bundle: Bundle, *, precision: str = "float32") -> keras.Model:
    """Build the graph of a network with the input channels, the classes and the activation of ``bundle``.

    The weights are copied as described in `copy_weights`.

    Args:
        start: Network to copy.
        bundle: Bundle of the new network.
        precision: Precision of the computations in all layers before the head.

    Raises:
        UnsupportedNetwork: The graph or a weight cannot be adapted.
    """
    source, last = start.network, start.network.operations[-1]
    [head] = heads(source)
    after_head = _operations_after(source, head)

    def copy(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, keras.Sequential):
            return keras.Sequential([copy(inner) for inner in layer.layers], name=layer.name)
        config = layer.get_config()
        if isinstance(layer, keras.Layer) and "dtype" in config and layer.name not in after_head:
            config["dtype"] = precision
        if layer is head:
            config["filters"] = bundle.outputs
        if layer is last:
            config["activation"] = bundle.activation
        return type(layer).from_config(config)

    image = keras.Input((None, None, bundle.inputs), name=source.inputs[0].name)
    try:
        network = keras.models.clone_model(source, input_tensors=image, clone_function=copy)
    except (TypeError, ValueError) as error:
        found = f"a graph that cannot be built again ({' '.join(str(error).split())[:200]})"
        raise UnsupportedNetwork(file=start.file, found=found, expected="layers of Keras") from error
    copy_weights(start, network, bundle)
    return network


def copy_weights(start: Start, network: keras.Model, bundle: Bundle) -> None:
    """Copy the weights of ``start`` to ``network``, which predicts the classes of ``bundle``.

    Layers are paired by name, or in order if the names differ. The first layers are adapted to the number of image
    channels. The channels of the head are copied for the classes that both networks have, by name, and remain
    unchanged for all other classes. Auxiliary outputs also remain unchanged.

    Raises:
        UnsupportedNetwork: The layers or the shapes of weights differ otherwise.
    """
    target = mask_only(network)
    [head] = heads(target)
    arrays: list[tuple[keras.Variable, Array]] = []
    for theirs, ours in _paired_layers(start, target):
        if len(theirs.weights) != len(ours.weights):
            found = f"{len(theirs.weights)} weights in the layer {theirs.name}"
            raise UnsupportedNetwork(file=start.file, found=found, expected=f"{len(ours.weights)} weights")
        for source, weight in zip(theirs.weights, ours.weights, strict=True):
            array: Array = keras.ops.convert_to_numpy(source.value)
            expected = tuple(weight.shape)
            if ours is head and array.shape[:-1] == expected[:-1]:
                array = head_array(array, keras.ops.convert_to_numpy(weight.value), start.bundle, bundle)
            elif array.shape != expected and type(ours) in RULES:
                array = _adapted_input(array, type(ours), start.bundle, bundle)
            if array.shape != expected:
                found = f"the shape {tuple(source.shape)} of {source.path}"
                raise UnsupportedNetwork(file=start.file, found=found, expected=f"{expected}")
            arrays.append((weight, array))
    for weight, array in arrays:
        weight.assign(array)


def head_array(trained: Array, fresh: Array, trained_bundle: Bundle | None, bundle: Bundle) -> Array:
    """Return a weight of a head for the classes of ``bundle``; the last axis of a weight are the output channels.

    A sigmoid of the logit z equals a softmax of the logits 0 of the background and z of the class, so conversions
    between one and two channels are exact.

    Args:
        trained: Weight of the trained head.
        fresh: Initial weight of the new head, which is used for new classes.
        trained_bundle: Bundle with the classes of the trained head. If it is None, all channels of the trained head are
            kept if their number is the same.
        bundle: Bundle with the classes of the new head.
    """
    if trained_bundle is None:
        return trained if trained.shape == fresh.shape else fresh
    names = _class_names(trained_bundle.labels)
    if trained_bundle.activation == "sigmoid":
        trained = np.concatenate([np.zeros_like(trained), trained], axis=-1)
    logits = {name: trained[..., channel] for channel, name in enumerate(names)}
    kept = _kept_classes(trained_bundle, bundle)
    if bundle.activation == "softmax":
        wanted = _class_names(bundle.labels)
        return np.stack([logits[n] if n in kept else fresh[..., i] for i, n in enumerate(wanted)], axis=-1)
    background, name = _class_names(bundle.labels)
    return (logits[name] - logits[background])[..., None] if kept else fresh


def describe_head(start: Start, bundle: Bundle) -> str:
    """Return one line that states for which classes the trained head is kept."""
    if start.bundle is None:
        outputs = start.network.output_shape[-1]
        if outputs == bundle.outputs:
            return f"head kept, because it has {outputs} output channels; the file stores no class names"
        return f"new head, because the file has {outputs} output channels and {bundle.outputs} are needed"
    names = [label.name for label in bundle.labels]
    kept = _kept_classes(start.bundle, bundle)
    is_kept = [key in kept for key in _class_names(bundle.labels)]
    parts = {
        "head kept for": [name for name, same in zip(names, is_kept, strict=True) if same],
        "new for": [name for name, same in zip(names, is_kept, strict=True) if not same],
    }
    return "; ".join(f"{text} {', '.join(found)}" for text, found in parts.items() if found)


def _kept_classes(trained: Bundle, bundle: Bundle) -> set[str]:
    """Return the classes whose output is copied; a sigmoid is copied as a whole or not at all."""
    kept = {*_class_names(trained.labels)} & {*_class_names(bundle.labels)}
    return set() if bundle.activation == "sigmoid" and len(kept) < len(bundle.labels) else kept


def _class_names(labels: tuple[Label, ...]) -> list[str]:
    """Return the names by which classes are matched; the background matches the background under any name."""
    return [_BACKGROUND if label.background else label.name for label in labels]


def _check_own_fields(network: NetworkRecipe, path: Path) -> None:
    if network.custom is not None:
        raise ContradictsStart(field="network", found=network.custom, start=path, expected="a network of its own")
    if network.encoder_weights not in (AUTO_WEIGHTS, NO_WEIGHTS):
        raise ContradictsStart(
            field="network.encoder_weights", found=network.encoder_weights, start=path, expected="trained weights"
        )


def _check_no_network_fields(recipe: Recipe, path: Path) -> None:
    """Check that no setting describes the network, whose graph is that of a file."""
    for name, field in NetworkRecipe.model_fields.items():
        found = getattr(recipe.network, name)
        if name not in _OWN_FIELDS and found != field.default:
            raise ContradictsStart(field=f"network.{name}", found=found, start=path, expected="a network of its own")
    check_encoder_options(recipe)


def _no_network(path: Path) -> NoNetwork:
    if path.is_dir():
        found, expected = f"{NETWORK_FILE} is missing", "a run that has saved a network"
    else:
        found = "not a supported file" if path.is_file() else "no such file or folder"
        expected = "a run, a .keras file, a .h5 file of segmentation_models or a .safetensors file of smp"
    return NoNetwork(field=FIELD, path=path, found=found, expected=expected)


def _with_network_of_run(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with the network section of the run in ``folder``."""
    run = Run.holding(folder)
    if run is None:
        file = folder / NETWORK_FILE
        raise NoNetwork(field=FIELD, path=folder, found="recipe.yaml is missing", expected=f"a run; or give {file}")
    network = run.read_recipe().network
    if network.custom is not None or network.start_file is not None:
        found = "its recipe does not describe the network"
        raise NoNetwork(field=FIELD, path=folder, found=found, expected=f"the file {folder / NETWORK_FILE}")
    taken = {name: value for name, value in network if name not in _OWN_FIELDS}
    for name in _GRAPH_FIELDS:
        found = getattr(recipe.network, name)
        if name in recipe.network.model_fields_set and found != taken[name]:
            raise ContradictsStart(field=f"network.{name}", found=found, start=folder, expected=taken[name])
    recipe = _with_unset(recipe, "network", taken)
    return Recipe.from_dict(recipe.model_dump(exclude_unset=True), source=f"recipe with the network of {folder}")


def _with_unset(recipe: Recipe, section: str, values: Mapping[str, object]) -> Recipe:
    """Return the recipe with ``values`` for the fields of a section that are not set."""
    given = getattr(recipe, section).model_fields_set
    return recipe.changed(section, **{name: value for name, value in values.items() if name not in given})


def _load_file(file: Path) -> Start:
    """Load the network of a file; the normalisation is that of the encoder's published weights, if it is known."""
    if file.suffix == ".keras":
        return _load_keras(file)
    if file.suffix == ".safetensors":
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
    return _checked(Start(file, network, None, Normalisation(mean=mean, std=std)))


def _load_keras(file: Path) -> Start:
    """Load a Keras network, and the bundle next to it if it is the network of a run."""
    is_of_run = file.name == NETWORK_FILE and (file.parent / BUNDLE_FILE).is_file()
    bundle = Bundle.read(file.parent) if is_of_run else None
    return _checked(Start(file, load_network(file), bundle, bundle.normalisation if bundle else None))


def _checked(start: Start) -> Start:
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
    return start


def _operations_after(network: keras.Model, head: keras.Operation) -> set[str]:
    """Return the names of ``head`` and of all operations that depend on it, which compute in float32."""
    names, tensors = {head.name}, {id(tensor) for tensor in keras.tree.flatten(head.output)}
    for operation in network.operations:
        for node in operation._inbound_nodes:
            if tensors & {id(tensor) for tensor in node.input_tensors}:
                names.add(operation.name)
                tensors |= {id(tensor) for tensor in node.output_tensors}
    return names


def _paired_layers(start: Start, target: keras.Model) -> list[tuple[keras.Layer, keras.Layer]]:
    theirs, ours = ([layer for layer in _leaves(network) if layer.weights] for network in (start.network, target))
    by_name = {layer.name: layer for layer in theirs}
    if by_name.keys() == {layer.name for layer in ours} and len(by_name) == len(ours):
        return [(by_name[layer.name], layer) for layer in ours]
    if len(theirs) != len(ours):
        found = f"{len(theirs)} layers with weights"
        raise UnsupportedNetwork(file=start.file, found=found, expected=f"{len(ours)} as in the recipe")
    return list(zip(theirs, ours, strict=True))  # Keras numbers layers without a name differently in each process


def _leaves(network: keras.Model) -> Iterator[keras.Layer]:
    for layer in network.layers:
        yield from _leaves(layer) if isinstance(layer, keras.Model) else [layer]


def _adapted_input(array: Array, layer: type[keras.Layer], trained: Bundle | None, bundle: Bundle) -> Array:
    """Return a weight of a first layer for another number of image channels, or unchanged if it cannot be adapted.

    One channel is treated as three equal channels, to which the rules for RGB images are applied.
    """
    if bundle.coord_channels or (trained is not None and trained.coord_channels):
        return array
    is_kernel = array.ndim > 1
    axis = -2 if is_kernel else 0
    if array.shape[axis] == 1:
        array = np.repeat(array, RGB, axis=axis) / (RGB if is_kernel else 1)
    return RULES[layer](array, bundle.channels) if array.shape[axis] == RGB else array


def _adapted_normalisation(start: Start, bundle: Bundle) -> Normalisation:
    """Return the normalisation of ``start`` for the channels and the pixels of ``bundle``."""
    trained = start.normalisation or bundle.normalisation
    changes: dict[str, object] = {}
    for name in ("mean", "std"):
        values = getattr(trained, name)
        if len(values) != bundle.channels and len(values) in (1, RGB):
            values = tuple(map(float, adapt_statistics(np.resize(values, RGB), bundle.channels)))
        changes[name] = values
    # The range of floating-point pixels has no meaning for integers.
    if start.bundle is not None and any(kind.startswith("float") for kind in start.bundle.pixels):
        changes |= {"low": trained.low, "high": trained.high}
    return bundle.normalisation.model_copy(update=changes)
