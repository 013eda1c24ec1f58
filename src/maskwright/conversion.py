"""A network in one kind of file written as another: old checkpoints to Keras 3 or to a run, runs to torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import keras

from maskwright.convert import load_legacy
from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.errors import InputError
from maskwright.images.normalise import Normalisation
from maskwright.images.write import atomic_path, write_text
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engine import NETWORK_FILE, open_engine
from maskwright.inference.keras_engine import KerasEngine, load_network
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.preprocessing import IMAGENET, Preprocessing
from maskwright.weights.channels import reverse_image_channels, unit_statistics
from maskwright.weights.recognise import recognise
from maskwright.weights.smp import HUB_WEIGHTS, load_smp, save_smp, save_smp_folder

Format = Literal["keras", "smp"]

_LEGACY: Final = (".h5", ".hdf5")
_TORCH: Final = (".safetensors", ".pth", ".pt", ".bin")
_ACTIVATIONS: Final = ("sigmoid", "softmax")


class NotConvertible(InputError):
    """A source that is no network any of the readers knows."""

    text = (
        "{source}: {found}; expected a run, a .keras file, a Keras 2 .h5 or .hdf5 file of segmentation_models, or a "
        ".safetensors, .pth, .pt or .bin file or folder of segmentation_models_pytorch."
    )


class OutputExists(InputError):
    """A file or folder the conversion would write over."""

    text = "{out}: is there already; name another output, or add --overwrite to replace it."


class NoRunOfThis(InputError):
    """A network that cannot be made a run of."""

    text = "{source}: no run can be made of it, since {found}. Convert it to a .keras file instead."


@dataclass(frozen=True)
class Opened:
    """A network from a file, and what its pixels must be where the file's library says."""

    network: keras.Model
    preprocessing: Preprocessing | None = None


def convert(
    source: Path,
    out: Path,
    *,
    to: Format = "keras",
    mask_values: MaskValues | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write the network in ``source`` as another kind of file, and return what was written.

    Args:
        source: A run; a ``.keras`` file; a Keras 2 ``.h5`` or ``.hdf5`` file of segmentation_models 1.0.1; a
            ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, or folder, of segmentation_models_pytorch.
        out: With ``to="keras"`` a ``.keras`` file, or a folder, which becomes a run that `Segmenter.load` opens; with
            ``to="smp"`` a ``.safetensors`` file, or a folder for ``smp.from_pretrained``.
        to: What to write.
        mask_values: What the values of the masks of a run are to be; by default 0, 1, 2, ... in the network's order.
        overwrite: Replace ``out`` where it is there already.
        **options: What the file does not tell, as `load_legacy` and `load_smp` take it: ``activation``, ...

    Raises:
        NotConvertible: ``source`` is none of these.
        OutputExists: ``out`` is there, and ``overwrite`` is not set.
        NoRunOfThis: ``out`` is a folder, and the network's pixels or outputs are not told or not a run's.
        InputError: The network cannot be read, or what is to be written cannot hold it.
    """
    if (out.is_file() or (out.is_dir() and any(out.iterdir()))) and not overwrite:
        raise OutputExists(out=out)
    opened = _open(source, options)
    if to == "smp":
        (save_smp if out.suffix else save_smp_folder)(opened.network, out)
    elif out.suffix == ".keras":
        _save(opened.network, out)
    else:
        _write_run(opened, source, out, mask_values)
    return out


def _open(source: Path, options: Mapping[str, Any]) -> Opened:
    if not source.exists():
        raise NotConvertible(source=source, found="there is no such file")
    if source.suffix in _LEGACY:
        network = load_legacy(source, **options)
        return Opened(network, BACKBONES[options.get("backbone_name") or recognise(source).backbone].preprocessing)
    if source.suffix in _TORCH or (source / HUB_WEIGHTS).is_file():
        return Opened(load_smp(source, **options), IMAGENET)
    if options:
        raise NotConvertible(source=source, found=f"{', '.join(options)} given for a file that tells it itself")
    if (source / BUNDLE_FILE).is_file():
        engine = open_engine(source)
        if isinstance(engine, KerasEngine):
            return Opened(engine.network)
    if source.suffix == ".keras":
        return Opened(load_network(source))
    raise NotConvertible(source=source, found="it is none that is known here")


def _save(network: keras.Model, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        network.save(temporary)


def _write_run(opened: Opened, source: Path, out: Path, mask_values: MaskValues | None) -> None:
    network, pixels = opened.network, opened.preprocessing
    activation = getattr(getattr(network.operations[-1], "activation", None), "__name__", None)
    channels, outputs = network.input_shape[-1], network.output_shape[-1]
    labels = (mask_values or _plain_values(outputs)).labels
    if pixels is None:
        raise NoRunOfThis(source=source, found="the file does not tell what its pixels must be")
    if activation not in _ACTIVATIONS or (activation == "sigmoid" and outputs > 1):
        expected = "one sigmoid or a softmax over classes"
        raise NoRunOfThis(source=source, found=f"it ends in {activation} of {outputs} channels, not in {expected}")
    if len(labels) != (2 if activation == "sigmoid" else outputs):
        raise NoRunOfThis(source=source, found=f"it tells {outputs} classes apart and {len(labels)} were named")
    if pixels.channels == "BGR":
        reverse_image_channels(network)
    mean, std = unit_statistics(pixels, channels)
    bundle = Bundle(
        channels=channels,
        pixels=("uint8",),
        normalisation=Normalisation(mean=mean, std=std),
        labels=labels,
        activation=activation,
    )
    out.mkdir(parents=True, exist_ok=True)
    _save(network, out / NETWORK_FILE)
    bundle.write(out, write_text)


def named_values(names: Sequence[str] | None) -> MaskValues | None:
    """Mask values 0, 1, 2, ... for classes of these names; None for None."""
    return None if names is None else parse_mask_values(dict(enumerate(names)))


def _plain_values(outputs: int) -> MaskValues:
    if outputs == 1:
        return MaskValues(words={0: "background", 1: "object"})
    return MaskValues(words={number: f"class {number}" for number in range(outputs)})
