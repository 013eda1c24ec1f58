"""Match the classes of a trained network with those of new data, and copy the head for the classes that both have."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.labels import Label
from maskwright.inference.bundle import Bundle

Array = NDArray[np.floating[Any]]

_BACKGROUND: Final = "the background"


class WrongRenaming(InputError):
    """An entry of ``network.renamed_classes`` that does not fit the classes of the trained network or of the data."""

    text = "network.renamed_classes={{{old}: {new}}}: {found}; expected {expected}."


def with_renamed_classes(bundle: Bundle, renamed: Mapping[str, str], *, source: Path) -> Bundle:
    """Return the bundle of a trained network with the new names of its classes.

    Args:
        bundle: Bundle of the trained network.
        renamed: New name of each renamed class by its old name. The background cannot be renamed, because it matches
            the background under any name.
        source: Path of the trained network, for error messages.

    Raises:
        WrongRenaming: The network has no class of an old name, or two of its classes would have the same name.
    """
    names = _names_of_objects(bundle.labels)
    for old, new in renamed.items():
        if old not in names:
            found = f"{source} has no class {old} that can be renamed"
            raise WrongRenaming(old=old, new=new, found=found, expected=_one_of(names))
        if new in names and new not in renamed:
            found = f"{source} also has a class {new}"
            raise WrongRenaming(old=old, new=new, found=found, expected=f"a new name for {new}, too")
    labels = (
        label if label.background else label.model_copy(update={"name": renamed.get(label.name, label.name)})
        for label in bundle.labels
    )
    return bundle.model_copy(update={"labels": tuple(labels)})


def check_new_names(renamed: Mapping[str, str], bundle: Bundle, *, source: Path) -> None:
    """Check that the new names of renamed classes are names of classes in the data.

    Args:
        renamed: New name of each renamed class by its old name.
        bundle: Bundle with the classes of the data.
        source: Folder of the masks, for error messages.

    Raises:
        WrongRenaming: The data has no class of a new name.
    """
    names = _names_of_objects(bundle.labels)
    for old, new in renamed.items():
        if new not in names:
            found = f"the masks in {source} have no class {new}"
            raise WrongRenaming(old=old, new=new, found=found, expected=_one_of(names))


def head_array(trained: Array, fresh: Array, trained_bundle: Bundle | None, bundle: Bundle) -> Array:
    """Return a weight of a head, whose last axis contains the output channels, for the classes of ``bundle``.

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


def describe_head(trained: Bundle, bundle: Bundle, renamed: Mapping[str, str]) -> str:
    """Return one line that states for which classes the trained head is kept.

    Args:
        trained: Bundle of the trained network, with the new names of its classes.
        bundle: Bundle with the classes of the new head.
        renamed: New name of each renamed class by its old name.
    """
    old_names = {new: old for old, new in renamed.items()}
    names = [
        label.name + (f" (was {old_names[label.name]})" if label.name in old_names else "") for label in bundle.labels
    ]
    kept = _kept_classes(trained, bundle)
    is_kept = [key in kept for key in _class_names(bundle.labels)]
    parts = {
        "head kept for": [name for name, same in zip(names, is_kept, strict=True) if same],
        "new for": [name for name, same in zip(names, is_kept, strict=True) if not same],
    }
    return "; ".join(f"{text} {', '.join(found)}" for text, found in parts.items() if found)


def describe_head_without_names(trained_outputs: int, outputs: int) -> str:
    """Return one line that states whether the head of a file without class names is kept.

    Args:
        trained_outputs: Number of output channels of the trained head.
        outputs: Number of output channels of the new head.
    """
    if trained_outputs == outputs:
        return f"head kept, because it has {outputs} output channels; the file stores no class names"
    return f"new head, because the file has {trained_outputs} output channels and {outputs} are needed"


def _kept_classes(trained: Bundle, bundle: Bundle) -> set[str]:
    """Return the classes whose output is copied; a sigmoid is copied as a whole or not at all."""
    kept = {*_class_names(trained.labels)} & {*_class_names(bundle.labels)}
    return set() if bundle.activation == "sigmoid" and len(kept) < len(bundle.labels) else kept


def _class_names(labels: tuple[Label, ...]) -> list[str]:
    """Return the names by which classes are matched; the background matches the background under any name."""
    return [_BACKGROUND if label.background else label.name for label in labels]


def _names_of_objects(labels: tuple[Label, ...]) -> list[str]:
    """Return the names of all classes except the background."""
    return [label.name for label in labels if not label.background]


def _one_of(names: Iterable[str]) -> str:
    return f"one of the classes except the background: {', '.join(names)}"
