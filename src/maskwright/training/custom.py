"""Use custom parts in training: a loss, a network, an augmentation or a callback written by the user in Python."""

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
from maskwright.training.recipe import CUSTOM_PART_FIELDS, NO_WEIGHTS, Recipe

_DIGEST_DIGITS: Final = 12  # number of hexadecimal digits of a file's SHA-256 digest in the recipe
_ENCODER_OPTIONS: Final = MappingProxyType(
    {
        "network": ("encoder_weights", "encoder_freeze", "first_unit"),
        "training": ("encoder_lr_multiplier", "freeze_encoder_until"),
    }
)
_LAYER_MODULES: Final = ("keras.", "maskwright.")  # modules whose layers any command can load


class UnusableFile(InputError):
    """A Python file that cannot be read or run, or that defines no custom part."""

    text = "--python {file}: {found}; expected a Python file that defines one or more of {expected}."


class FunctionMissing(InputError):
    """A recipe that names a custom part that was not given or that differs from the given part."""

    text = "{field}: the recipe requires {expected}, but {found} was given; name the required file with --python."


class WrongNetwork(InputError):
    """A custom network that does not fit the data."""

    text = "network {name}: returned {found}; expected {expected}."


class NoEncoder(InputError):
    """An encoder option that was set in combination with a custom network, or with a network from a file."""

    text = "{field}: found {found} with a custom network or one from a file, whose encoder is unknown; leave it out."


@dataclass(frozen=True)
class CustomParts:
    """Functions that replace parts of the recipe.

    - ``loss(y_true, y_pred)`` returns a scalar, computed from label indices (n, h, w), which are 255 for ignored
      pixels, and probabilities (n, h, w, c).
    - ``network(channels, classes, activation)`` returns a functional Keras model of Keras layers, from images
      (n, h, w, channels) of any size divisible by 32 to float32 probabilities (n, h, w, classes).
    - ``augmentation(image=..., mask=...)`` is described in `CallableAugmentation`.
    - ``callback(row)`` is called with each row of the history, a mapping from column name to number.

    ``names`` maps a part to its name in the recipe. The name of any other part is its ``__qualname__``.
    """

    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    network: Callable[[int, int, str], keras.Model] | None = None
    augmentation: Callable[..., Any] | None = None
    callback: Callable[[Mapping[str, Any]], None] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, part: str) -> str | None:
        """Return the name of a custom part in the recipe, or None if the part is not given."""
        given = getattr(self, part)
        if given is None:
            return None
        return self.names.get(part) or getattr(given, "__qualname__", type(given).__name__)

    def batch_augmentation(self) -> Augmentation | None:
        """Return the custom augmentation as a function that augments batches, or None if no augmentation is given."""
        return None if self.augmentation is None else CallableAugmentation(self.augmentation)

    def loss_object(self) -> "CustomLoss | None":
        """Return the custom loss as a Keras loss, or None if no loss is given."""
        return None if self.loss is None else CustomLoss(self.loss)

    def build_network(self, bundle: Bundle) -> keras.Model:
        """Build the custom network for the channels, classes and activation of ``bundle``.

        Raises:
            WrongNetwork: The network is not a functional Keras model, or has unexpected inputs, outputs or layers.
        """
        built = self.network(bundle.inputs, bundle.outputs, bundle.activation) if self.network else None
        images, masks = f"images (n, h, w, {bundle.inputs})", f"float32 probabilities (n, h, w, {bundle.outputs})"
        expected = f"a functional Keras model from {images} of any size to {masks}"
        if not isinstance(built, keras.Model) or not hasattr(built, "operations"):
            raise self._wrong_network(type(built).__name__, expected)
        kinds = [type(layer) for layer in built._flatten_layers()]
        foreign = [kind for kind in kinds if not kind.__module__.startswith(_LAYER_MODULES)]
        if foreign:
            raise self._wrong_network(
                f"a layer {foreign[0].__qualname__}", "layers of Keras, which any command can load"
            )
        found = (*built.input_shape, *built.output_shape, built.output.dtype)
        if found != (None, None, None, bundle.inputs, None, None, None, bundle.outputs, "float32"):
            signature = f"a model from {built.input_shape} to {built.output_shape} in {built.output.dtype}"
            raise self._wrong_network(signature, expected)
        return built

    def _wrong_network(self, found: str, expected: str) -> WrongNetwork:
        return WrongNetwork(name=self.name("network"), found=found, expected=expected)


NO_CUSTOM_PARTS: Final = CustomParts()
_PART_NAMES: Final = tuple(part.name for part in fields(CustomParts) if part.name != "names")


def record_custom_parts(recipe: Recipe, custom: CustomParts) -> Recipe:
    """Return the recipe with the names of the custom parts added.

    Raises:
        FunctionMissing: The recipe names a custom part that is not given.
        NoEncoder: The recipe sets an encoder option, and the network is custom.
    """
    if custom.network is not None:
        check_encoder_options(recipe)
    for part, recorded in recipe.custom_parts.items():
        given = custom.name(part)
        if recorded is not None and recorded != given:
            raise FunctionMissing(field=part, found=given or "none", expected=recorded)
    for part, (section, name) in CUSTOM_PART_FIELDS.items():
        recipe = recipe.changed(section, **{name: custom.name(part)})
    return recipe


def check_encoder_options(recipe: Recipe) -> None:
    """Check that a recipe with a custom network sets no encoder option.

    Raises:
        NoEncoder: The recipe sets an encoder option.
    """
    for section, names in _ENCODER_OPTIONS.items():
        given = getattr(recipe, section)
        for name in names:
            found = getattr(given, name)
            if found not in (type(given).model_fields[name].default, NO_WEIGHTS):
                raise NoEncoder(field=f"{section}.{name}", found=found)


class CustomLoss(SegmentationLoss):
    """Wrap a custom function as a segmentation loss.

    Args:
        function: Function ``function(y_true, y_pred)`` that returns a scalar.
        name: Name of the loss.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *, name: str = "custom") -> None:
        super().__init__(name=name)
        self.function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss by calling the custom function."""
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, object]:
        """Return the configuration, which contains the name but not the function."""
        return {"name": self.name}


def load_custom_parts(file: Path) -> CustomParts:
    """Run a Python file, and return the functions in it that have the names of fields of `CustomParts`.

    The names of the functions and the digest of the file are stored in the recipe, so that a run can only be resumed
    with the same functions. Reading a recipe or a run never executes a Python file.

    Raises:
        UnusableFile: The file cannot be read or run, or defines no custom part.
    """
    expected = ", ".join(_PART_NAMES)
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGEST_DIGITS]
        spec = importlib.util.spec_from_file_location(f"custom_{digest}", file)
        if spec is None or spec.loader is None:
            raise UnusableFile(file=file, found="not a .py file", expected=expected)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UnusableFile(file=file, found=f"{type(error).__name__}: {error}", expected=expected) from error
    functions = {name: getattr(module, name) for name in _PART_NAMES if callable(getattr(module, name, None))}
    if not functions:
        raise UnusableFile(file=file, found="no such function", expected=expected)
    return CustomParts(**functions, names={name: f"{file.name}:{name} {digest}" for name in functions})
