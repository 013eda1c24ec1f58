"""What users bring of their own: a loss, a network, an augmentation, a callback; in Python, or in a file."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import keras

from maskwright.data.augment import Augmentation, CallableAugmentation
from maskwright.errors import InputError
from maskwright.inference.bundle import Bundle
from maskwright.losses.base import SegmentationLoss
from maskwright.losses.targets import Tensor
from maskwright.training.recipe import Recipe

_DIGITS: Final = 12  # of a file's digest, in the recipe
_OF_ENCODER: Final = MappingProxyType(
    {
        "network": ("encoder_weights", "encoder_freeze", "first_unit"),
        "training": ("encoder_lr_multiplier", "freeze_encoder_until"),
    }
)
_OPENED: Final = ("keras.", "maskwright.")  # where layers come from that a saved network is opened with


class UnusableFile(InputError):
    """A file of functions that cannot be read, or holds none."""

    text = "--python {file}: {found}; expected Python that defines one or more of {expected}."


class FunctionMissing(InputError):
    """A recipe of a training with a user's own function, and another function or none."""

    text = "{field}: the recipe was trained with {expected}, and {found} was given; give that file with --python."


class WrongNetwork(InputError):
    """A network of the user's that does not fit the data."""

    text = "network {name}: made {found}; expected {expected}."


class NoEncoder(InputError):
    """Something asked of the encoder, beside a network of the user's own."""

    text = "{field}: found {found} beside a network of your own, whose encoder is not known; expected it left out."


@dataclass(frozen=True)
class Own:
    """What takes the place of the recipe's own; ``names`` is how the recipe records each, by field.

    - ``loss(y_true, y_pred)``: a scalar, of label indices (n, h, w), 255 where ignored, and probabilities (n, h, w, c).
    - ``network(channels, classes, activation)``: a functional Keras model from images (n, h, w, channels) of any size
      that 32 divides to probabilities (n, h, w, classes) in float32, of Keras' own layers.
    - ``augmentation(image=, mask=)``: see `CallableAugmentation`.
    - ``callback(row)``: called with each line of the history, a mapping from column to number.
    """

    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    network: Callable[[int, int, str], keras.Model] | None = None
    augmentation: Callable[..., Any] | None = None
    callback: Callable[[Mapping[str, Any]], None] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, what: str) -> str | None:
        """How the recipe records ``what`` is given, a field of these; None where nothing is."""
        given = getattr(self, what)
        if given is None:
            return None
        return self.names.get(what) or getattr(given, "__qualname__", type(given).__name__)

    def augment(self) -> Augmentation | None:
        """The augmentation, of batches."""
        return None if self.augmentation is None else CallableAugmentation(self.augmentation)

    def build(self, bundle: Bundle) -> keras.Model:
        """The network for what ``bundle`` says.

        Raises:
            WrongNetwork: It has other inputs or outputs.
        """
        made = self.network(bundle.inputs, bundle.outputs, bundle.activation) if self.network else None
        images, masks = f"images (n, h, w, {bundle.inputs})", f"float32 probabilities (n, h, w, {bundle.outputs})"
        expected = f"a functional Keras model from {images} of any size to {masks}"
        if not isinstance(made, keras.Model) or not hasattr(made, "operations"):
            raise self._wrong(type(made).__name__, expected)
        strange = [type(layer) for layer in made._flatten_layers() if not type(layer).__module__.startswith(_OPENED)]
        if strange:
            raise self._wrong(f"a layer {strange[0].__qualname__}", "Keras' own layers, which any command opens")
        found = (*made.input_shape, *made.output_shape, made.output.dtype)
        wanted = (None, None, None, bundle.inputs, None, None, None, bundle.outputs, "float32")
        if found != wanted:
            maps = f"a model from {made.input_shape} to {made.output_shape} in {made.output.dtype}"
            raise self._wrong(maps, expected)
        return made

    def _wrong(self, found: str, expected: str) -> WrongNetwork:
        return WrongNetwork(name=self.name("network"), found=found, expected=expected)


NOTHING: Final = Own()
FUNCTIONS: Final = tuple(each.name for each in fields(Own) if each.name != "names")


def refuse_encoder(recipe: Recipe) -> None:
    """Refuse a recipe that asks something of the encoder, of which a user's own network has none that is known.

    Raises:
        NoEncoder: It does.
    """
    for section, names in _OF_ENCODER.items():
        given = getattr(recipe, section)
        for name in names:
            found = getattr(given, name)
            if found != type(given).model_fields[name].default:
                raise NoEncoder(field=f"{section}.{name}", found=found)


class OwnLoss(SegmentationLoss):
    """A user's function as a loss of this library."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *, name: str = "own") -> None:
        super().__init__(name=name)
        self.function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """What the function says."""
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, object]:
        """The name; a function is not saved."""
        return {"name": self.name}


def load_own(file: Path) -> Own:
    """Run ``file``, a Python file of the user's own, and take the functions called as the fields of `Own`.

    A recipe records them with the file's digest, so that a run goes on with the same functions or not at all; no recipe
    and no run is ever a reason to run a file.

    Raises:
        UnusableFile: It cannot be read or run, or defines none of them.
    """
    expected = ", ".join(FUNCTIONS)
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]
        spec = importlib.util.spec_from_file_location(f"own_{digest}", file)
        if spec is None or spec.loader is None:
            raise UnusableFile(file=file, found="it is no .py file", expected=expected)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise UnusableFile(file=file, found=f"{type(error).__name__}: {error}", expected=expected) from error
    found = {name: getattr(module, name) for name in FUNCTIONS if callable(getattr(module, name, None))}
    if not found:
        raise UnusableFile(file=file, found="it defines none", expected=expected)
    return Own(**found, names={name: f"{file.name}:{name} {digest}" for name in found})
