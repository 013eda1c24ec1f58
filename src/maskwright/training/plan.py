"""Complete a recipe by the planning rules, and record each decision with its reason."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from maskwright.data.grouping import Groups
from maskwright.training.planning_rules import DEFAULT_SECONDS, RULES, Facts
from maskwright.training.recipe import ProgressiveResize, Recipe

GIVEN: Final = "given"


@dataclass(frozen=True, slots=True)
class Decision:
    """Value of the recipe field ``section.name``, and the reason for this value."""

    field: str
    value: object
    reason: str


def plan_recipe(recipe: Recipe, facts: Facts) -> tuple[Recipe, tuple[Decision, ...]]:
    """Choose values for the unset fields of ``recipe`` by rules; return the complete recipe and all decisions.

    Values that were given are not changed. Rules are applied in the order of `RULES`; each rule receives the recipe
    with the values that were chosen by earlier rules.
    """
    decisions: dict[str, Decision] = {}
    for field, rule in RULES.items():
        if given := next((name for name in (field, *_REPLACED_BY.get(field, ())) if _is_given(recipe, name)), None):
            decisions[given] = Decision(given, _value(recipe, given), GIVEN)
            continue
        value, reason = rule(facts, recipe)
        section, _, name = field.partition(".")
        recipe = recipe.changed(section, **{name: value})
        decisions[field] = Decision(field, value, reason)
    return recipe, tuple(decisions.values())


def planned_seconds(recipe: Recipe) -> float | None:
    """Return the time budget of a recipe, or the default one, in seconds; None if the number of epochs is fixed."""
    training = recipe.training
    return None if training.epochs is not None else training.time_budget or DEFAULT_SECONDS


def decisions_of_run(recipe: Recipe) -> tuple[Decision, ...]:
    """Return the decisions for a resumed run, whose recipe already contains all values."""
    fields = [next((name for name in _REPLACED_BY.get(field, ()) if _is_given(recipe, name)), field) for field in RULES]
    return tuple(
        Decision(field, _value(recipe, field), "as at the start of the run") for field in dict.fromkeys(fields)
    )


def split_decision(recipe: Recipe, groups: Groups, held_out: Collection[str]) -> Decision:
    """Return the decision about the split into groups; ``held_out`` are the names of the validation images."""
    total, validation = len(set(groups.of.values())), len({groups.of[name] for name in held_out})
    images = f"{len(held_out)} of {len(groups.of)} images"
    value = images if total == len(groups.of) else f"{validation} of {total} groups, {images}"
    field = "data.validation_fraction" if recipe.data.fold is None else "data.fold"
    given = f"{GIVEN}; " if _is_given(recipe, field) else ""
    return Decision(field, value, f"{given}grouped {groups.evidence}")


_REPLACED_BY: Final[Mapping[str, tuple[str, ...]]] = {  # given fields that replace a rule
    "augmentation.flip": ("augmentation.custom",),
    "augmentation.rotation": ("augmentation.custom",),
    "augmentation.brightness": ("augmentation.custom",),
    "training.time_budget": ("training.epochs",),
    "training.loss": ("training.custom_loss",),
    "training.class_weights": ("training.custom_loss",),
    "network.backbone": ("network.custom", "network.start_from"),
    "network.decoder_filters": ("network.custom", "network.start_from"),
}


def _is_given(recipe: Recipe, field: str) -> bool:
    section, _, name = field.partition(".")
    fields, value = getattr(recipe, section), _value(recipe, field)
    if name not in fields.model_fields_set:
        return False
    if isinstance(value, ProgressiveResize):  # `scale` alone does not turn the resizing on for thin objects
        return "until" in value.model_fields_set
    is_null_a_value = type(fields).model_fields[name].default is not None
    return is_null_a_value or value is not None


def _value(recipe: Recipe, field: str) -> Any:
    section, _, name = field.partition(".")
    return getattr(getattr(recipe, section), name)
