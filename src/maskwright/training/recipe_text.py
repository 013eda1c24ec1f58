"""Read and write recipes as text: durations, YAML files, ``--set`` values and error messages."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from maskwright.errors import InputError

MIN_TIME_BUDGET: Final = 30.0  # in seconds
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION_PART: Final = r"(\d+(?:\.\d+)?)\s*([smhd])"
_YAML_HEADER: Final = (
    "# Every setting of this training run. To repeat it:  maskwright train --recipe FILE --out NEW_FOLDER"
)


class WrongRecipe(InputError):
    """Raised if a recipe or a ``--set`` value is invalid."""

    text = "{source}: {problems}"


def parse_duration(given: object) -> object:
    """Convert a duration such as ``"20m"``, ``"1h30m"`` or ``"90s"`` to seconds; a number is returned unchanged.

    >>> parse_duration("1h30m")
    5400.0
    """
    if not isinstance(given, str):
        return given
    text = given.strip().lower()
    parts = re.findall(_DURATION_PART, text)
    if not parts or re.sub(rf"{_DURATION_PART}|\s", "", text):
        try:
            return float(given)
        except ValueError:
            raise ValueError("expected a duration such as 90s, 20m or 1h30m") from None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=MIN_TIME_BUDGET, allow_inf_nan=False)]


def seconds_in(duration: str, *, source: str) -> float:
    """Convert a duration such as ``90s`` or ``1h30m`` to seconds.

    Raises:
        WrongRecipe: ``duration`` is not a valid duration, or is shorter than 30 seconds; the message names ``source``.
    """
    try:
        return TypeAdapter(Duration).validate_python(duration)
    except ValidationError as error:
        raise WrongRecipe(source=f"{source} {duration}", problems=error.errors()[0]["msg"]) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file without constructing any object.

    Raises:
        WrongRecipe: The file is missing, is not valid YAML or does not contain a mapping.
    """
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WrongRecipe(source=file, problems="no such file; expected a recipe in YAML") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise WrongRecipe(source=file, problems=f"cannot be read as YAML ({reason})") from None
    if not isinstance(fields, dict):
        raise WrongRecipe(source=file, problems=f"holds {type(fields).__name__}, expected a mapping of sections")
    return fields


def to_yaml(recipe: BaseModel, *, reasons: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a recipe as YAML text with a comment above each field that describes the field.

    Args:
        recipe: Recipe, or another Pydantic model whose fields are sections.
        reasons: Reasons for the values of fields, by ``section.field``; a reason is added to the comment of its field.
    """
    lines = [_YAML_HEADER]
    values = recipe.model_dump(mode="json")
    for name, field in type(recipe).model_fields.items():
        section = nested_section(field.annotation)
        if section is None:
            raise TypeError(name)
        lines += ["", f"{name}:  # {section.__doc__}"]
        for key, entry in section.model_fields.items():
            lines += [f"  # {' '.join((entry.description or '').split())}"]
            if reason := reasons.get(f"{name}.{key}"):
                lines += [f"  # Here: {reason}."]
            # JSON is a subset of YAML and keeps every value on one line.
            lines += [f"  {key}: {json.dumps(values[name][key], ensure_ascii=False)}"]
    return "\n".join(lines) + "\n"


def parse_assignments(settings: Iterable[str]) -> dict[str, Any]:
    """Convert settings such as ``["activation=softmax"]`` to a mapping; values are parsed as YAML.

    Raises:
        WrongRecipe: A setting has no ``=``, or its value is not valid YAML.

    >>> parse_assignments(["classes=3", "activation=softmax"])
    {'classes': 3, 'activation': 'softmax'}
    """
    assignments = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise WrongRecipe(source=f"--set {setting}", problems="expected name=value")
        assignments[name.strip()] = parse_value(setting, value)
    return assignments


def parse_value(setting: str, value: str) -> Any:
    """Parse the value of a ``--set`` option as YAML.

    Raises:
        WrongRecipe: The value is not valid YAML; the message names ``setting``.
    """
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise WrongRecipe(source=f"--set {setting}", problems=f"cannot read the value {value!r} as YAML") from None


def nested_section(annotation: Any) -> type[BaseModel] | None:
    """Return the model class in an annotation such as ``Section`` or ``Section | None``, or None for any other
    annotation."""
    candidates = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in candidates if issubclass(kind, BaseModel)), None)


def field_paths(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted names of all fields, including those of nested sections."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        nested = nested_section(field.annotation)
        if nested is not field.annotation:  # a required section has no value of its own
            names.append(f"{prefix}{name}")
        if nested is not None:
            names += field_paths(nested, f"{prefix}{name}.")
    return names


def explain_errors(section: type[BaseModel], error: ValidationError) -> list[str]:
    """Return one message for each validation error, which includes the dotted name of the field."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = field_paths(section)
            near = get_close_matches(path, known, n=1, cutoff=0.5) or [k for k in known if k.endswith(f".{path}")]
            hint = f"; did you mean {near[0]}?" if near else ""
            lines.append(f"unknown field {path}{hint}")
        elif problem["type"] == "missing":
            lines.append(f"{path} is missing")
        else:
            found = "" if isinstance(problem["input"], dict) else f"={problem['input']!r}"
            lines.append(f"{path}{found}: {problem['msg'].removeprefix('Value error, ')}")
    return lines
