"""Decide whether training begins a new run or resumes an interrupted run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import InputError
from maskwright.images.output_folder import check_output_folder
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_fields import merge_fields
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run

if TYPE_CHECKING:  # Keras is not imported before the settings are checked
    from maskwright.training.custom import CustomParts


class NothingToResume(InputError):
    """A run that cannot be resumed because it does not exist, is complete or has not begun."""

    text = "{folder}: nothing to resume, {found}; start a new run without --resume (and --overwrite to replace it)."


class OtherRecipe(InputError):
    """A run that cannot be resumed because its settings or custom parts differ from the given ones."""

    text = "{folder}: cannot resume with other settings ({found}); leave them out, or start a run in another folder."


def is_resumed(run: Run, recipe: Recipe, *, overwrite: bool = False) -> bool:
    """Decide whether training in the folder of ``run`` resumes that run (True) or begins a new run (False).

    An unfinished run is resumed if it began with the same recipe and ``overwrite`` is false. A run that was
    interrupted before its data was prepared begins again. Nothing is written.

    Args:
        run: Run to check, which may not exist yet.
        recipe: Recipe as given by the user.
        overwrite: Whether an existing run may be replaced.

    Raises:
        OutputExists: The folder contains a complete run or a run with another recipe, and ``overwrite`` is false.
        OutputNotEmpty: The folder is a file, or contains files that were not written by training.
    """
    is_same = not overwrite and run.began_with(recipe) and not run.is_complete
    if is_same and run.is_begun:
        return True
    is_complete = run.is_complete
    check_output_folder(
        run.folder,
        kind="a complete run" if is_complete else "a run",
        is_kind=lambda folder: Run(folder).exists,
        overwrite=overwrite or is_same,
        options=("" if is_complete else "add --resume to continue it, or ") + "add --overwrite to replace it",
    )
    return False


def check_unfinished(run: Run) -> None:
    """Check that a run was interrupted and can be resumed.

    Raises:
        NothingToResume: There is no run, or it is complete or was interrupted before its data was prepared.
    """
    if not run.exists:
        raise NothingToResume(folder=run.folder, found="there is no run")
    if run.is_complete:
        raise NothingToResume(folder=run.folder, found="the run is complete")
    if not run.is_begun:
        raise NothingToResume(folder=run.folder, found="the run ended before it began to train")


def check_same_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Check that settings given with ``--resume`` agree with those of the run.

    The settings are accepted if they are exactly those with which the run was requested. Otherwise each setting must
    equal its value in the complete recipe, unless the value is null, was also null when the run was requested, and has
    been replaced by a planned value.

    Args:
        out: Folder of the run.
        settings: Nested fields of a recipe, see `maskwright.training.recipe_fields.recipe_fields`.

    Raises:
        NothingToResume: There is no unfinished run in ``out``.
        OtherRecipe: A setting differs from the setting of the run.
    """
    run = Run(out)
    check_unfinished(run)
    if _is_requested_recipe(run, settings):
        return
    before = run.read_recipe().model_dump()
    requested = Recipe.load(run.requested).model_dump() if run.requested.is_file() else before
    now = Recipe.from_dict(merge_fields(before, settings), source="options").model_dump()
    # In the recipe of a run, classes and the ignored value are replaced by the meaning of each mask value.
    derived = (("data", "classes"), ("data", "ignore"))
    changed = [
        f"{section}.{name}={now[section][name]} is not {value}"
        for section, fields in before.items()
        for name, value in fields.items()
        if now[section][name] != value
        and (section, name) not in derived
        and not (now[section][name] is None and requested[section][name] is None)
    ]
    if changed:
        raise OtherRecipe(folder=out, found="; ".join(changed))


def _is_requested_recipe(run: Run, settings: Mapping[str, Any]) -> bool:
    """Return whether ``settings`` are the complete recipe that the run began with."""
    try:
        return run.began_with(Recipe.from_dict(settings))
    except WrongRecipe:  # a required field is missing
        return False


def check_same_custom_parts(folder: Path, recipe: Recipe, custom: "CustomParts") -> None:
    """Check that a run is resumed with the custom parts that are named in its recipe.

    Raises:
        OtherRecipe: A custom part differs from the one in the recipe, is missing, or was not used before.
    """
    for part, recorded in recipe.custom_parts.items():
        given = custom.name(part)
        if recorded != given:
            found = f"custom {part}: found {given or 'none'}, expected {recorded or 'none'}"
            raise OtherRecipe(folder=folder, found=found)
