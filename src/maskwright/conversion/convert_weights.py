"""Convert checkpoints of segmentation_models and segmentation_models_pytorch, and convert runs to PyTorch."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import keras

from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.errors import InputError, one_of, unknown_choice, wrong_argument
from maskwright.images.normalise import Normalisation
from maskwright.images.output_folder import OutputExists, check_output_folder
from maskwright.images.write import atomic_path
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.engine import NETWORK_FILE, open_engine
from maskwright.inference.engines.keras import KerasEngine, load_network
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.preprocessing import IMAGENET, Preprocessing
from maskwright.training.load_legacy import load_legacy
from maskwright.training.run import Run
from maskwright.weights.input_channels import reverse_image_channels, unit_statistics
from maskwright.weights.segmentation_models.identify import identify
from maskwright.weights.smp.load_save import HUB_CONFIG, HUB_WEIGHTS, load_smp, save_smp, save_smp_folder
from maskwright.weights.torch.file import SUFFIXES, SUFFIXES_IN_WORDS

Format = Literal["keras", "smp"]

_LEGACY: Final = (".h5", ".hdf5")
_TORCH_OPTIONS: Final = ("activation", "architecture")
_STATISTICS: Final = ("mean", "std")
_ACTIVATIONS: Final = ("sigmoid", "softmax")


class NotConvertible(InputError):
    """A path that does not contain a supported network."""

    text = (
        "{source}: {found}; expected a run, a .keras file, a Keras 2 .h5 or .hdf5 file of segmentation_models, or a "
        + SUFFIXES_IN_WORDS
        + " file or folder of segmentation_models_pytorch."
    )


class OutputFileExists(OutputExists):
    """An existing file that the conversion would overwrite."""

    text = "{file}: exists; add --overwrite to replace it, or name another file."


class NotAConvertibleRun(InputError):
    """A network that cannot be used as the network of a run."""

    text = "{source}: cannot be converted to a run: {found}."


@dataclass(frozen=True)
class LoadedNetwork:
    """Network that was loaded from a file, its preprocessing, if known, and messages for the user."""

    network: keras.Model
    preprocessing: Preprocessing | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converted:
    """Path of the file or folder that was written, and messages for the user."""

    written: Path
    notes: tuple[str, ...] = ()


def convert(
    source: Path,
    out: Path,
    *,
    to: Format = "keras",
    mask_values: MaskValues | None = None,
    overwrite: bool = False,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Converted:
    """Convert the network in ``source`` to another format.

    Args:
        source: Path of a run; a ``.keras`` file; a Keras 2 ``.h5`` or ``.hdf5`` file of segmentation_models 1.0.1; a
            ``.safetensors``, ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file, or folder, of segmentation_models_pytorch.
        out: Path to write. With ``to="keras"``, a ``.keras`` file, or a folder for a run that `Segmenter.load` accepts.
            With ``to="smp"``, a ``.safetensors`` file, or a folder for ``smp.from_pretrained``.
        to: Format to write, ``"keras"`` or ``"smp"``.
        mask_values: Label table of the run to write; by default, the outputs have the values 0, 1, 2, ... in order.
        overwrite: Whether to replace an existing file or run.
        options: Arguments of `load_legacy` or `load_smp` that are not stored in the file, such as ``activation``. For a
            run, the ``mean`` and ``std`` of pixels in [0, 1], each one number or one number per channel, are also
            accepted and replace those of the encoder.

    Raises:
        NotConvertible: ``source`` does not contain a supported network.
        OutputExists: ``out`` exists and ``overwrite`` is false.
        OutputNotEmpty: ``out`` is a folder with other files, or it is a file although a folder would be written.
        NotAConvertibleRun: ``out`` is a folder, and the preprocessing of the network is unknown or its outputs are not
            supported in a run.
        WrongArgument: ``out`` has the suffix of another format, or an option for runs is used with another format.
        InputError: The network cannot be read or cannot be represented in the format to write.
    """
    is_run = to == "keras" and out.suffix != ".keras"
    _check_out(out, to=to, is_run=is_run, overwrite=overwrite)
    if mask_values is not None and not is_run:
        raise wrong_argument("mask_values", mask_values.text, expected="none, since only a run stores mask values")
    statistics = {name: options[name] for name in _STATISTICS if name in options}
    if statistics and not is_run:
        raise wrong_argument("mean and std", statistics, expected="none, since only a run stores a normalisation")
    network_options = {name: value for name, value in options.items() if name not in _STATISTICS}
    loaded = _load(source, network_options, any_size=is_run)
    if to == "smp":
        (save_smp if out.suffix else save_smp_folder)(loaded.network, out)
    elif is_run:
        pixels = _write_run(loaded, source, out, mask_values, statistics)
        if len(statistics) < len(_STATISTICS):
            note = (
                f"the file does not store the normalisation; assumed that of the encoder's published weights: "
                f"{_describe_normalisation(pixels)}. To set a different one, use --set mean=... --set std=..."
            )
            return Converted(out, (*loaded.notes, note))
    else:
        _save(loaded.network, out)
    return Converted(out, loaded.notes)


def mismatched_suffix(out: Path, *, to: Format) -> str | None:
    """Return the suffix of files in the format ``to`` if ``out`` has the suffix of another format, otherwise None.

    >>> mismatched_suffix(Path("a.onnx"), to="keras"), mismatched_suffix(Path("folder"), to="keras")
    ('.keras', None)
    """
    suffix = ".safetensors" if to == "smp" else ".keras"
    return suffix if out.suffix in {*_LEGACY, *SUFFIXES, ".keras", ".onnx", ".pb", ".json"} - {suffix} else None


def _check_out(out: Path, *, to: Format, is_run: bool, overwrite: bool) -> None:
    if (suffix := mismatched_suffix(out, to=to)) is not None:
        raise wrong_argument("out", str(out), expected=f"a file that ends in {suffix}, or a folder")
    if is_run:
        kind, content = "a run", BUNDLE_FILE
    elif out.suffix:
        if out.exists() and not overwrite:
            raise OutputFileExists(file=out)
        return
    else:
        kind, content = "a network of segmentation_models_pytorch", HUB_WEIGHTS
    check_output_folder(out, kind=kind, is_kind=lambda folder: (folder / content).is_file(), overwrite=overwrite)


def _load(source: Path, options: Mapping[str, Any], *, any_size: bool) -> LoadedNetwork:
    if not source.exists():
        raise NotConvertible(source=source, found="the file does not exist")
    if source.suffix in _LEGACY:
        return _load_legacy_network(source, options, any_size=any_size)
    if source.suffix in SUFFIXES or (source / HUB_WEIGHTS).is_file():
        for name in options:
            if name not in _TORCH_OPTIONS:
                raise unknown_choice("option", name, _TORCH_OPTIONS)
        network = load_smp(source, **options)
        has_config = (source / HUB_CONFIG).is_file() or source.with_name(HUB_CONFIG).is_file()
        if "activation" in options or has_config:
            return LoadedNetwork(network, IMAGENET)
        assumed = f"the file does not store the activation; assumed {_activation(network)}"
        return LoadedNetwork(network, IMAGENET, (f"{assumed}. To set a different one, use --set activation=...",))
    if options:
        raise NotConvertible(source=source, found=f"{', '.join(options)} cannot be set, since the file stores them")
    if (source / BUNDLE_FILE).is_file() and isinstance(engine := open_engine(source), KerasEngine):
        return LoadedNetwork(
            engine.network,
            notes=(f"the network expects pixels {_describe_normalisation(engine.bundle.normalisation)}",),
        )
    if source.suffix == ".keras":
        return LoadedNetwork(load_network(source))
    raise NotConvertible(source=source, found="an unknown format")


def _load_legacy_network(source: Path, options: Mapping[str, Any], *, any_size: bool) -> LoadedNetwork:
    description = identify(source)
    input_shape = {"input_shape": (None, None, description.input_shape[2])} if any_size else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        network = load_legacy(source, **{**input_shape, **options})
    row = one_of("backbone_name", options.get("backbone_name", description.backbone), BACKBONES)
    return LoadedNetwork(network, row.preprocessing, tuple(str(warning.message) for warning in caught))


def _save(network: keras.Model, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        network.save(temporary)


def _write_run(
    loaded: LoadedNetwork, source: Path, out: Path, mask_values: MaskValues | None, statistics: Mapping[str, Any]
) -> Normalisation:
    """Write a run and return its normalisation."""
    network, pixels = loaded.network, loaded.preprocessing
    if pixels is None:
        raise NotAConvertibleRun(source=source, found="it is a run already, or its preprocessing is unknown")
    activation, outputs = _activation(network), network.output_shape[-1]
    labels = (mask_values or _plain_values(outputs)).labels
    if activation not in _ACTIVATIONS or (activation == "sigmoid" and outputs > 1):
        found = f"it ends in {activation} with {outputs} channels; expected a sigmoid with one channel or a softmax"
        raise NotAConvertibleRun(source=source, found=found)
    if len(labels) != (2 if activation == "sigmoid" else outputs):
        raise NotAConvertibleRun(source=source, found=f"it has {outputs} outputs, but {len(labels)} classes were given")
    if activation == "sigmoid" and not labels[0].background:
        found = "a sigmoid with one channel needs two class names, the background first"
        raise NotAConvertibleRun(source=source, found=found)
    if network.input_shape[1:3] != (None, None):
        raise NotAConvertibleRun(source=source, found="it accepts only images of a fixed size")
    if pixels.channels == "BGR":
        reverse_image_channels(network)
    channels = network.input_shape[-1]
    published = dict(zip(_STATISTICS, unit_statistics(pixels, channels), strict=True))
    given = {name: _per_channel(name, value, channels) for name, value in statistics.items()}
    normalisation = Normalisation(**published | given)
    bundle = Bundle(
        channels=channels,
        pixels=("uint8",),
        normalisation=normalisation,
        labels=labels,
        activation=activation,
    )
    Run(out).begin()
    _save(network, out / NETWORK_FILE)
    bundle.write(out)
    return normalisation


def _per_channel(name: str, value: object, channels: int) -> tuple[float, ...]:
    """Return one number per channel; ``value`` is a single number or contains one number per channel."""
    numbers = value if isinstance(value, list | tuple) else [value] * channels
    fits = len(numbers) == channels and all(
        isinstance(number, int | float) and not isinstance(number, bool) and (name == "mean" or number > 0)
        for number in numbers
    )
    if not fits:
        kind = "numbers above 0" if name == "std" else "numbers"
        raise wrong_argument(name, value, expected=f"one number or {channels}, {kind}, of pixels in 0 to 1")
    return tuple(map(float, numbers))


def _describe_normalisation(normalisation: Normalisation) -> str:
    mean, std = (
        ", ".join(f"{number:.4g}" for number in numbers) for numbers in (normalisation.mean, normalisation.std)
    )
    return f"in [0, 1] minus {mean}, divided by {std}"


def _activation(network: keras.Model) -> str | None:
    """Return the name of the output activation of the network."""
    return getattr(getattr(network.operations[-1], "activation", None), "__name__", None)


def named_values(names: Sequence[str] | None) -> MaskValues | None:
    """Return the mask values 0, 1, 2, ... for class names or for a number of classes, or None for None."""
    if names is None:
        return None
    if len(names) == 1 and names[0].isdecimal():
        names = [f"class {number}" for number in range(int(names[0]))]
    return parse_mask_values(dict(enumerate(names)))


def _plain_values(outputs: int) -> MaskValues:
    if outputs == 1:
        return MaskValues(classes_by_value={0: "background", 1: "object"})
    return MaskValues(classes_by_value={number: f"class {number}" for number in range(outputs)})
