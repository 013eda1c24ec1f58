"""Combine a recipe file, ``--set`` settings and named arguments into the nested fields of a recipe."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from maskwright.data.label_table import MaskKind
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe, field_paths, nested_section, parse_value, read_yaml

Fields = Mapping[str, Any]

_LENGTH_FIELDS: Final = ("epochs", "time_budget")  # fields of the training section; at most one of them may be set


def recipe_fields(
    *,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    val_images: str | Path | None = None,
    val_masks: str | Path | None = None,
    mask_kind: MaskKind | None = None,
    classes: int | Sequence[str] | None = None,
    ignore: int | str | None = None,
    mask_values: Mapping[int | str, str] | None = None,
    mask_suffix: str | None = None,
    time_budget: str | float | None = None,
    epochs: int | None = None,
    start_from: str | Path | None = None,
    renamed_classes: Mapping[str, str] | None = None,
    preset: Fields | None = None,
    recipe: Path | Fields | None = None,
    settings: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the nested fields of a recipe, as accepted by `Recipe.from_dict`.

    Later sources override earlier ones: ``preset``, ``recipe``, ``settings``, then the named arguments. Arguments that
    are None are ignored. A null in ``recipe`` or ``settings`` is a value: it turns an optional section off. All
    settings belong to the same source: if they contain both ``epochs`` and ``time_budget``, the recipe is invalid.

    Args:
        images: Folder of training images.
        masks: Folder of training masks.
        val_images: Folder of validation images.
        val_masks: Folder of validation masks.
        mask_kind: Meaning of the numbers in masks: ``"class_ids"`` or ``"objects"``.
        classes: Number of classes, or class names in order of mask value.
        ignore: Mask value of pixels that are excluded from the loss and the scores.
        mask_values: Meaning of each mask value: a class name, ``background`` or ``ignored``.
        mask_suffix: Suffix that mask file names have after the stem of the image's file name.
        time_budget: Time budget in seconds, or as text such as ``"20m"``; replaces ``epochs`` of an earlier source.
        epochs: Number of epochs; replaces ``time_budget`` of an earlier source.
        start_from: Run or file of the trained network from which training starts.
        renamed_classes: New name of each renamed class of this network, by its old name.
        preset: Nested fields of a preset.
        recipe: Path of a YAML file with a recipe, or nested fields.
        settings: Settings such as ``"training.batch_size=4"``.

    Raises:
        WrongRecipe: The recipe file or a setting cannot be read.

    >>> recipe_fields(images="i", masks="m", settings=["training.progressive_resize=null"], epochs=3)
    {'training': {'progressive_resize': None, 'epochs': 3}, 'data': {'images': 'i', 'masks': 'm'}}
    """
    data = {
        "images": images,
        "masks": masks,
        "val_images": val_images,
        "val_masks": val_masks,
        "mask_kind": mask_kind,
        "classes": classes,
        "ignore": ignore,
        "mask_values": mask_values,
        "mask_suffix": mask_suffix,
    }
    training = {"time_budget": time_budget, "epochs": epochs}
    network = {"start_from": start_from, "renamed_classes": renamed_classes}
    sections = {"data": _given(data), "network": _given(network), "training": _given(training)}
    arguments = {name: given for name, given in sections.items() if given}
    file_fields = read_yaml(recipe) if isinstance(recipe, Path) else recipe
    merged = merge_fields(preset or {}, file_fields or {})
    merged = _merge_source(merged, [parse_setting(setting) for setting in settings])
    return merge_fields(merged, arguments)


def parse_setting(setting: str) -> dict[str, Any]:
    """Convert a setting such as ``"training.batch_size=4"`` to nested fields; the value is parsed as YAML.

    Raises:
        WrongRecipe: The setting has no ``=``, its name has no section, or its value is not valid YAML.

    >>> parse_setting("training.progressive_resize.until=0.5")
    {'training': {'progressive_resize': {'until': 0.5}}}
    """
    path, equals, value = setting.partition("=")
    *sections, name = path.strip().split(".")
    if not equals or not sections:
        known = field_paths(Recipe)
        near = [] if path.strip() in known else [field for field in known if field.endswith(f".{name}")]
        hint = f" Did you mean {near[0]}={value}?" if near else ""
        raise WrongRecipe(source=f"--set {setting}", problems=f"expected section.field=value.{hint}")
    fields: dict[str, Any] = {name: parse_value(setting, value)}
    for section in reversed(sections):
        fields = {section: fields}
    return fields


def merge_fields(*sources: Fields) -> dict[str, Any]:
    """Merge nested fields section by section; later sources override earlier ones.

    Mappings that are not sections, such as a loss, are replaced as a whole. ``epochs`` or ``time_budget`` of a source
    replaces both fields of earlier sources.

    >>> merge_fields({"training": {"epochs": 3, "loss": {"dice": 1}}}, {"training": {"loss": {"focal": 1}}})
    {'training': {'epochs': 3, 'loss': {'focal': 1}}}
    """
    merged: dict[str, Any] = {}
    for fields in sources:
        merged = _merge_source(merged, [fields])
    return merged


def _merge_source(earlier: Fields, parts: Sequence[Fields]) -> dict[str, Any]:
    """Merge the parts of one source in order. A training length in any part replaces the training length of earlier
    sources."""
    merged = dict(earlier)
    training = merged.get("training")
    if isinstance(training, Mapping) and any(map(_has_length, parts)):
        merged["training"] = {name: value for name, value in training.items() if name not in _LENGTH_FIELDS}
    for fields in parts:
        merged = _merged(merged, fields, Recipe)
    return merged


def _has_length(fields: Fields) -> bool:
    training = fields.get("training")
    return isinstance(training, Mapping) and any(training.get(name) is not None for name in _LENGTH_FIELDS)


def _merged(earlier: Fields, later: Fields, model: type[BaseModel]) -> dict[str, Any]:
    merged = dict(earlier)
    for name, value in later.items():
        field = model.model_fields.get(name)
        section = None if field is None else nested_section(field.annotation)
        before = merged.get(name)
        if section is not None and isinstance(value, Mapping):
            merged[name] = _merged(before if isinstance(before, Mapping) else {}, value, section)
        elif value is not None or field is None or section is not field.annotation:  # an empty section has no fields
            merged[name] = value
    return merged


def _given(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return a mapping of the keyword arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}
