"""A network in one kind of file written as another: old checkpoints to Keras 3 or to a run, runs to torch."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import keras

from maskwright.conversion.load_legacy import load_legacy
from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.errors import InputError, one_of, unknown_choice, wrong_argument
from maskwright.images.normalise import Normalisation
from maskwright.images.write import atomic_path, write_text
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.engine import NETWORK_FILE, open_engine
from maskwright.inference.engines.keras import KerasEngine, load_network
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.preprocessing import IMAGENET, Preprocessing
from maskwright.training.run import Run
from maskwright.weights.input_channels import reverse_image_channels, unit_statistics
from maskwright.weights.segmentation_models.identify import recognise
from maskwright.weights.smp.load_save import HUB_CONFIG, HUB_WEIGHTS, load_smp, save_smp, save_smp_folder
from maskwright.weights.torch.file import SUFFIXES, SUFFIXES_IN_WORDS

Format = Literal["keras", "smp"]

_LEGACY: Final = (".h5", ".hdf5")
_TORCH_OPTIONS: Final = ("activation", "architecture")
_STATISTICS: Final = ("mean", "std")
_ACTIVATIONS: Final = ("sigmoid", "softmax")


class NotConvertible(InputError):
    """A source that is no network any of the readers knows."""

    text = (
        "{source}: {found}; expected a run, a .keras file, a Keras 2 .h5 or .hdf5 file of segmentation_models, or a "
        + SUFFIXES_IN_WORDS
        + " file or folder of segmentation_models_pytorch."
    )


class OutputExists(InputError):
    """A file or folder the conversion would write over."""

    text = "{out}: is there already{found}; name another output{remedy}."


class NoRunOfThis(InputError):
    """A network that cannot be made a run of."""

    text = "{source}: no run can be made of it, since {found}."


@dataclass(frozen=True)
class Opened:
    """A network from a file, what its pixels must be where its file says, and what the user should know of it."""

    network: keras.Model
    preprocessing: Preprocessing | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converted:
    """What was written, and what the user should know of it."""

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
    """Write the network in ``source`` as another kind of file.

    Args:
        source: A run; a ``.keras`` file; a Keras 2 ``.h5`` or ``.hdf5`` file of segmentation_models 1.0.1; a
            ``.safetensors``, ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file, or folder, of segmentation_models_pytorch.
        out: With ``to="keras"`` a ``.keras`` file, or a folder, which becomes a run that `Segmenter.load` opens; with
            ``to="smp"`` a ``.safetensors`` file, or a folder for ``smp.from_pretrained``.
        to: What to write.
        mask_values: What the values of the masks of a run are to be; by default 0, 1, 2, ... in the network's order.
        overwrite: Replace a file, or a run, that is there already.
        options: What the file does not tell, as `load_legacy` and `load_smp` take it: ``activation``, ...; and, for a
            run, ``mean`` and ``std`` of pixels in [0, 1], one number or one a channel, in place of the encoder's.

    Raises:
        NotConvertible: ``source`` is none of these.
        OutputExists: ``out`` is there, and ``overwrite`` is not set, or it is a folder that holds no run.
        NoRunOfThis: ``out`` is a folder, and the network's pixels or outputs are not told or not a run's.
        WrongArgument: ``out`` has the suffix of another kind of file, or ``mask_values`` are given for no run.
        InputError: The network cannot be read, or what is to be written cannot hold it.
    """
    a_run = to == "keras" and out.suffix != ".keras"
    _check_out(out, to=to, a_run=a_run, overwrite=overwrite)
    if mask_values is not None and not a_run:
        raise wrong_argument("mask_values", mask_values.text, expected="none, since only a run knows what masks hold")
    statistics = {name: options[name] for name in _STATISTICS if name in options}
    if statistics and not a_run:
        raise wrong_argument("mean and std", statistics, expected="none, since only a run knows what pixels must be")
    told = {name: value for name, value in options.items() if name not in _STATISTICS}
    opened = _open(source, told, any_size=a_run)
    if to == "smp":
        (save_smp if out.suffix else save_smp_folder)(opened.network, out)
    elif a_run:
        pixels = _write_run(opened, source, out, mask_values, statistics)
        if len(statistics) < len(_STATISTICS):
            assumed = f"Its pixels are taken to be {_in_words(pixels)}, as its encoder's weights were published."
            note = f"{assumed} No file tells this: where it was trained on others, --set mean=... --set std=..."
            return Converted(out, (*opened.notes, note))
    else:
        _save(opened.network, out)
    return Converted(out, opened.notes)


def _check_out(out: Path, *, to: Format, a_run: bool, overwrite: bool) -> None:
    suffix = ".safetensors" if to == "smp" else ".keras"
    if out.suffix in {*_LEGACY, *SUFFIXES, ".keras", ".onnx", ".pb", ".json"} - {suffix}:
        raise wrong_argument("out", str(out), expected=f"a file that ends in {suffix}, or a folder")
    if out.is_dir() and any(out.iterdir()) and a_run and not (out / BUNDLE_FILE).is_file():
        raise OutputExists(out=out, found=", and holds no run", remedy="")
    if (out.is_file() or (out.is_dir() and any(out.iterdir()))) and not overwrite:
        raise OutputExists(out=out, found="", remedy=", or add --overwrite to replace it")


def _open(source: Path, options: Mapping[str, Any], *, any_size: bool) -> Opened:
    if not source.exists():
        raise NotConvertible(source=source, found="there is no such file")
    if source.suffix in _LEGACY:
        return _open_legacy(source, options, any_size=any_size)
    if source.suffix in SUFFIXES or (source / HUB_WEIGHTS).is_file():
        for name in options:
            if name not in _TORCH_OPTIONS:
                raise unknown_choice("option", name, _TORCH_OPTIONS)
        network = load_smp(source, **options)
        told = "activation" in options or (source / HUB_CONFIG).is_file() or source.with_name(HUB_CONFIG).is_file()
        ends = f"It ends in {_activation(network)}, which the file does not tell: --set activation=... for another."
        return Opened(network, IMAGENET, () if told else (ends,))
    if options:
        raise NotConvertible(source=source, found=f"{', '.join(options)} given for a file that tells it itself")
    if (source / BUNDLE_FILE).is_file() and isinstance(engine := open_engine(source), KerasEngine):
        return Opened(engine.network, notes=(f"It expects pixels {_in_words(engine.bundle.normalisation)}.",))
    if source.suffix == ".keras":
        return Opened(load_network(source))
    raise NotConvertible(source=source, found="it is none that is known here")


def _open_legacy(source: Path, options: Mapping[str, Any], *, any_size: bool) -> Opened:
    told = recognise(source)
    sizes = {"input_shape": (None, None, told.input_shape[2])} if any_size else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        network = load_legacy(source, **{**sizes, **options})
    row = one_of("backbone_name", options.get("backbone_name", told.backbone), BACKBONES)
    return Opened(network, row.preprocessing, tuple(str(warning.message) for warning in caught))


def _save(network: keras.Model, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        network.save(temporary)


def _write_run(
    opened: Opened, source: Path, out: Path, mask_values: MaskValues | None, statistics: Mapping[str, Any]
) -> Normalisation:
    """Write a run; what becomes of its pixels."""
    network, pixels = opened.network, opened.preprocessing
    if pixels is None:
        raise NoRunOfThis(source=source, found="it is one already, or does not tell what its pixels must be")
    activation, outputs = _activation(network), network.output_shape[-1]
    labels = (mask_values or _plain_values(outputs)).labels
    if activation not in _ACTIVATIONS or (activation == "sigmoid" and outputs > 1):
        expected = "one sigmoid or a softmax over classes"
        raise NoRunOfThis(source=source, found=f"it ends in {activation} of {outputs} channels, not in {expected}")
    if len(labels) != (2 if activation == "sigmoid" else outputs):
        raise NoRunOfThis(source=source, found=f"it tells {outputs} classes apart and {len(labels)} were named")
    if activation == "sigmoid" and not labels[0].background:
        raise NoRunOfThis(source=source, found="its one sigmoid needs two names, background first")
    if network.input_shape[1:3] != (None, None):
        raise NoRunOfThis(source=source, found="it takes images of one size only")
    if pixels.channels == "BGR":
        reverse_image_channels(network)
    channels = network.input_shape[-1]
    published = dict(zip(_STATISTICS, unit_statistics(pixels, channels), strict=True))
    given = {name: _a_channel(name, value, channels) for name, value in statistics.items()}
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
    bundle.write(out, write_text)
    return normalisation


def _a_channel(name: str, value: object, channels: int) -> tuple[float, ...]:
    """A statistic of each channel, from one number for all or as many as there are."""
    numbers = value if isinstance(value, list | tuple) else [value] * channels
    fits = len(numbers) == channels and all(
        isinstance(number, int | float) and not isinstance(number, bool) and (name == "mean" or number > 0)
        for number in numbers
    )
    if not fits:
        kind = "numbers above 0" if name == "std" else "numbers"
        raise wrong_argument(name, value, expected=f"one number or {channels}, {kind}, of pixels in 0 to 1")
    return tuple(map(float, numbers))


def _in_words(normalisation: Normalisation) -> str:
    mean, std = (
        ", ".join(f"{number:.4g}" for number in numbers) for numbers in (normalisation.mean, normalisation.std)
    )
    return f"in 0-1, less {mean} and divided by {std}"


def _activation(network: keras.Model) -> str | None:
    """Name of the activation a network ends in."""
    return getattr(getattr(network.operations[-1], "activation", None), "__name__", None)


def named_values(names: Sequence[str] | None) -> MaskValues | None:
    """Mask values 0, 1, 2, ... for classes of these names, or for as many as the one name says; None for None."""
    if names is None:
        return None
    if len(names) == 1 and names[0].isdecimal():
        names = [f"class {number}" for number in range(int(names[0]))]
    return parse_mask_values(dict(enumerate(names)))


def _plain_values(outputs: int) -> MaskValues:
    if outputs == 1:
        return MaskValues(words={0: "background", 1: "object"})
    return MaskValues(words={number: f"class {number}" for number in range(outputs)})
