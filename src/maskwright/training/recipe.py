"""The recipe: everything a training run depends on, as one validated, frozen record and one YAML file."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from maskwright.errors import InputError
from maskwright.images.coord_channels import Position

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class WrongRecipe(InputError):
    """A recipe, or a ``--set``, that cannot be used."""

    text = "{source}: {problems}"


def parse_duration(given: object) -> object:
    """Seconds in a duration such as ``"20m"``, ``"1h30m"``, ``"90s"`` or a plain number of seconds.

    >>> parse_duration("1h30m")
    5400.0
    """
    if not isinstance(given, str):
        return given
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", given.strip().lower())
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*([smhd])|\s", "", given.strip().lower()):
        try:
            return float(given)
        except ValueError:
            raise ValueError("expected a duration such as 90s, 20m or 1h30m") from None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _value(given: object) -> object:
    """A mask value as a number where it is one: YAML and JSON write the keys of a mapping as text."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


MaskValue = Annotated[int | str, BeforeValidator(_value)]
LEAST_SECONDS: Final = 30.0  # of a training by the clock
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=LEAST_SECONDS, allow_inf_nan=False)]
Folder = Annotated[Path, AfterValidator(Path.absolute)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of the recipe: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataRecipe(Section):
    """Which files, what their mask values mean, and which of them are held out."""

    images: Folder
    """Folder of training images."""
    masks: Folder
    """Folder of training masks, paired with the images by file stem."""
    val_images: Folder | None = None
    """Folder of validation images; without it a share of the training pairs is held out."""
    val_masks: Folder | None = None
    """Folder of validation masks."""
    mask_suffix: str = ""
    """What mask stems carry beyond the image's stem, e.g. `_mask`."""
    classes: PositiveInt | tuple[str, ...] | None = None
    """Number of classes, or their names in order of mask value; found from the masks if absent."""
    ignore: MaskValue | None = None
    """Mask value (or "#rrggbb") of pixels that are neither learned nor scored."""
    mask_values: dict[MaskValue, str] | None = None
    """What each mask value (or "#rrggbb") means: a class name, `background` or `ignored`. Overrides `classes`."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the pairs held out where no validation folders are given, stratified by mask coverage."""
    fold: tuple[PositiveInt, Annotated[int, Field(ge=2)]] | None = None
    """Hold out this part of so many, counted from 1, in place of a share; `--folds` trains with each in turn."""
    split_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of what is held out; the training's own if absent."""
    strata: Folder | None = None
    """CSV file with a line `id,number` for each image: what is held out, or a fold, has its share of every range of it,
    as it has of mask coverage."""
    groups: Literal["guessed", "identical"] = "guessed"
    """What stays on one side: frames, tiles and look-alikes `guessed` from names and looks, or `identical` images."""
    normalisation: Literal["measured", "encoder"] = "measured"
    """Mean and spread `measured` on the training images, or those that the encoder's first weights were learnt with."""
    channels: PositiveInt | None = None
    """Channels of an image the network sees: 1 takes one of three equal ones. Those the files have if absent."""
    scale: Annotated[float, Field(gt=0, le=8)] = 1.0
    """Images are resized by this before the network sees them, masks and scores keep their size. At 1, an image of
    another size than the network takes is continued by reflection."""
    position: tuple[Position, ...] = ()
    """Channels added to each image: `row` and `column`, where a pixel lies, and `row_times_image`."""

    @model_validator(mode="after")
    def _validation_folders_come_in_pairs(self) -> "DataRecipe":
        if (self.val_images is None) != (self.val_masks is None):
            raise ValueError("val_images and val_masks must be given together")
        if self.fold is not None and (self.val_images is not None or self.fold[0] > self.fold[1]):
            raise ValueError("fold must be such as [1, 5], and not be given together with val_images")
        return self


# What can be asked of each architecture, and what its door calls that.
DOOR_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "unet": {
        "decoder_block": "decoder_block_type",
        "decoder_filters": "decoder_filters",
        **{name: name for name in ("attention", "hypercolumn", "deep_supervision", "empty_head", "dropout")},
    },
    "fpn": {"dropout": "pyramid_dropout"},
    "linknet": {"decoder_block": "decoder_block_type", "decoder_filters": "decoder_filters"},
    "pspnet": {"dropout": "psp_dropout"},
    "unetplusplus": {"decoder_filters": "decoder_filters", "attention": "attention"},
    "deeplabv3plus": {"dropout": "decoder_dropout"},
}


class NetworkRecipe(Section):
    """The graph, and the weights it starts from."""

    architecture: Literal["unet", "fpn", "linknet", "pspnet", "unetplusplus", "deeplabv3plus"] = "unet"
    """The decoder."""
    backbone: str = "resnet34"
    """Encoder, by name; `maskwright backbones` lists them."""
    encoder_weights: str | None = None
    """`imagenet` or another data set published for the backbone, downloaded once, or a file; random if absent."""
    encoder_freeze: bool = False
    """Train no layer of the encoder but its batch normalisations."""
    first_unit: Literal["projection", "identity"] = "projection"
    """Shortcut of the encoder's first unit: `identity` is the article's graph, `projection` the published weights'."""
    decoder_block: Literal["upsampling", "transpose"] = "upsampling"
    """unet, linknet: `upsampling` (nearest, then convolutions) or `transpose` (transposed convolution)."""
    decoder_filters: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (256, 128, 64, 32, 16)
    """unet, linknet, unetplusplus: filters of the five decoder blocks, deepest first."""
    attention: Literal["scse"] | None = None
    """unet, unetplusplus: `scse` weighs the maps of each decoder block by place and by channel."""
    hypercolumn: bool = False
    """unet: the head sees the maps of all decoder blocks."""
    deep_supervision: bool = False
    """unet: each decoder block learns a mask of its own; they are dropped from the saved network."""
    empty_head: bool = False
    """unet: the encoder also learns whether an image holds anything; dropped from the saved network."""
    dropout: Share | None = None
    """unet, fpn, pspnet, deeplabv3plus: share of the decoder's channels dropped in training; the architecture's own
    (0.5 in deeplabv3plus, none elsewhere) if absent."""

    custom: str | None = None
    """Name of the Python callable that makes the network; recorded, it must be given again to resume."""

    @model_validator(mode="after")
    def _architecture_has_what_is_asked(self) -> "NetworkRecipe":
        for name, field in type(self).model_fields.items():
            takers = [architecture for architecture, names in DOOR_NAMES.items() if name in names]
            if takers and self.architecture not in takers and getattr(self, name) != field.default:
                raise ValueError(f"{name} is an option of {' and '.join(takers)}, not of {self.architecture}")
        return self


class AugmentationRecipe(Section):
    """Random changes of each training patch; geometric ones move image and mask together."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "horizontal"
    """Mirror images, each with probability one half."""
    zoom: Share = 0.25
    """Largest relative change of scale, in either direction."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Largest rotation in either direction, degrees."""
    brightness: Share = 0.2
    """Largest shift of intensity, as a share of the value range."""
    contrast: Share = 0.2
    """Largest relative change of contrast."""
    custom: str | None = None
    """Name of the Python callable that takes the place of all these; recorded, it must be given again to resume."""


class TrainingRecipe(Section):
    """How the network is trained, and for how long."""

    time_budget: Duration | None = None
    """Seconds, or `20m`, `1h30m`, for the whole command; the learning rate follows the clock so that it ends then."""
    epochs: PositiveInt | None = None
    """Passes over the training pixels. Without this and `time_budget`, the run takes 30 minutes."""
    batch_size: PositiveInt = 8
    """Patches a step."""
    patch: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of a training patch in pixels, multiples of 32; chosen from the images if absent."""
    early_share: Share = 0.7
    """Share of the run, from its beginning, in which patches are brought to a smaller size; 0 for none."""
    early_scale: Annotated[float, Field(gt=0, le=1)] = 0.6
    """That size, as a share of the patch's height and width; it is rounded to multiples of 32."""
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the patches laid on another class than the image's commonest; the rest are laid anywhere."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon: orthogonal steps for large kernels of convolutions and AdamW for the rest, at the same rate."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    encoder_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    """What is taken of the learning rate for the encoder: less, where it was learnt elsewhere."""
    frozen_share: Share = 0.0
    """Share of the run, from its beginning, in which the encoder stands still, but for its batch normalisations'
    statistics."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Decoupled weight decay, as a share of the learning rate."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the run over which the rate rises to its peak; then it falls along a half cosine."""
    cycles: Annotated[int, Field(ge=1, le=50)] = 1
    """Times that the rate falls so; before each but the first it leaps back up, and the network is kept as a snapshot
    for an ensemble."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient of all weights together."""
    accumulate: PositiveInt = 1
    """Steps whose gradients are averaged before the weights change: two of 4 patches learn as one of 8 would."""
    patience: PositiveInt | None = None
    """End after this many validations without a gain in score; trains to the end of its time if absent."""
    loss: dict[str, float] = Field(default={"cross_entropy": 1.0, "dice": 1.0}, min_length=1)
    """Losses by name, each with its weight in the sum."""
    late_loss: dict[str, float] | None = Field(default=None, min_length=1)
    """Losses that take the place of `loss` towards the end, such as `lovasz`; none if absent."""
    late_share: Share = 0.3
    """Share of the run, at its end, in which they do."""
    average_share: Share = 0.0
    """Share of the run, at its end, over which the weights are averaged; their mean is what is validated and saved."""
    select: Literal["mean_iou", "mean_precision"] = "mean_iou"
    """The validation score by which the best network is known: mean IoU, or the TGS salt challenge's, of one class."""
    custom_loss: str | None = None
    """Name of the Python callable that takes the loss's place; recorded, it must be given again to resume."""
    class_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    """What a pixel of each class weighs in the losses that count pixels, by the class's name; 1 where not named."""
    recalibration_steps: PositiveInt = 8
    """Batches of patches without augmentation that batch normalisation is measured on before each validation."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    """What the network computes in while training; `auto` is bfloat16 where the processor multiplies it."""
    devices: PositiveInt = 1
    """Devices that share out each batch, all processes' together; on JAX."""
    log: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Services that the history is also written to: `tensorboard` in the run's folder, `mlflow` where that is told."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of weights, order, patches and augmentation."""

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingRecipe":
        if self.time_budget is not None and self.epochs is not None:
            raise ValueError("give time_budget or epochs, not both")
        if self.cycles > 1 and self.average_share > (1 - self.warmup) / self.cycles:
            raise ValueError("average_share reaches back beyond the last of the cycles; make one of them less")
        if self.batch_size % self.devices and "batch_size" in self.model_fields_set:
            raise ValueError("batch_size must be a multiple of devices")
        if self.patch is not None and any(side % 32 for side in self.patch):
            raise ValueError("patch: both sides must be multiples of 32")
        return self


class Recipe(Section):
    """Everything a training run depends on.

    >>> Recipe.from_dict({"data": {"images": "i", "masks": "m"}}).training.batch_size
    8
    """

    data: DataRecipe
    network: NetworkRecipe = NetworkRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    training: TrainingRecipe = TrainingRecipe()

    @classmethod
    def from_dict(cls, fields: Mapping[str, object], *, source: str = "recipe") -> "Recipe":
        """Validate nested ``fields``.

        Raises:
            WrongRecipe: A field is unknown (the nearest name is suggested), missing or has a value that cannot be used.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise WrongRecipe(source=source, problems="; ".join(_explain(cls, error))) from None

    @classmethod
    def load(cls, file: Path) -> "Recipe":
        """Read a recipe from its YAML file; raises as `from_dict` does."""
        return cls.from_dict(read_yaml(file), source=str(file))

    def changed(self, section: str, **fields: object) -> "Recipe":
        """A copy in which ``fields`` of one section have other values."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=fields)})

    def to_yaml(self, *, reasons: Mapping[str, str] = MappingProxyType({})) -> str:
        """The recipe as a YAML file, each field under a comment that documents it, and its reason if it has one.

        Args:
            reasons: Why a field is as it is, by ``section.field``.
        """
        lines = [
            "# Everything this training run depends on. Train again with:  maskwright train --recipe FILE --out RUN"
        ]
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            section = field.annotation
            if not (isinstance(section, type) and issubclass(section, Section)):
                raise TypeError(name)
            lines += ["", f"{name}:  # {section.__doc__}"]
            for key, entry in section.model_fields.items():
                description = " ".join((entry.description or "").split())
                lines += [f"  # {description}"]
                if reason := reasons.get(f"{name}.{key}"):
                    lines += [f"  # Here: {reason}."]
                # JSON is YAML, and keeps every value on its line.
                lines += [f"  {key}: {json.dumps(values[name][key], ensure_ascii=False)}"]
        return "\n".join(lines) + "\n"


def seconds_in(duration: str, *, source: str) -> float:
    """The seconds in ``90s`` or ``1h30m``, of which there must be 30.

    Raises:
        WrongRecipe: It is no duration, or too short; ``source`` is named.
    """
    try:
        return TypeAdapter(Duration).validate_python(duration)
    except ValidationError as error:
        raise WrongRecipe(source=f"{source} {duration}", problems=error.errors()[0]["msg"]) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file, read without constructing any object.

    Raises:
        WrongRecipe: The file is missing, is no YAML or holds no mapping.
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


def merge(*fields: Mapping[str, Any]) -> dict[str, Any]:
    """Sections merged field by field, the later ones winning; ``None`` says nothing and does not win.

    >>> merge({"data": {"images": "a", "masks": "b"}}, {"data": {"images": "c", "masks": None}})
    {'data': {'images': 'c', 'masks': 'b'}}
    """
    merged: dict[str, Any] = {}
    for given in fields:
        for section, value in given.items():
            if isinstance(value, Mapping) and isinstance(merged.get(section, {}), dict):
                said = {name: entry for name, entry in value.items() if entry is not None}
                if {"epochs", "time_budget"} & said.keys():  # whichever is said last decides how long
                    merged.get(section, {}).pop("epochs", None)
                    merged.get(section, {}).pop("time_budget", None)
                merged[section] = merged.get(section, {}) | said
            elif value is not None:
                merged[section] = value  # no section at all, which validation will say
    return merged


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """``["training.batch_size=4"]`` as nested fields; values are read as YAML.

    Raises:
        WrongRecipe: A setting has no ``=``, or its name has no section.

    >>> parse_settings(["training.patch=[64, 96]"])
    {'training': {'patch': [64, 96]}}
    """
    fields: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            near = [path for path in _paths(Recipe) if path.endswith(f".{name.strip()}")]
            hint = f" Did you mean {near[0]}={value}?" if near else ""
            raise WrongRecipe(source=f"--set {setting}", problems=f"expected section.field=value.{hint}")
        fields.setdefault(section, {})[key] = _yaml_value(setting, value)
    return fields


def parse_pairs(settings: Iterable[str]) -> dict[str, Any]:
    """``["activation=softmax"]`` as a mapping; values are read as YAML.

    Raises:
        WrongRecipe: A setting has no ``=``, or its value is no YAML.

    >>> parse_pairs(["classes=3", "activation=softmax"])
    {'classes': 3, 'activation': 'softmax'}
    """
    pairs = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise WrongRecipe(source=f"--set {setting}", problems="expected name=value")
        pairs[name.strip()] = _yaml_value(setting, value)
    return pairs


def _yaml_value(setting: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise WrongRecipe(source=f"--set {setting}", problems=f"cannot read the value {value!r} as YAML") from None


def _paths(section: type[Section], prefix: str = "") -> list[str]:
    """Dotted names of every field."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in kinds if issubclass(kind, Section)), None)
        names += _paths(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return names


def _explain(recipe: type[Section], error: ValidationError) -> list[str]:
    """One line a problem, in words that name the field."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _paths(recipe)
            near = get_close_matches(path, known, n=1, cutoff=0.5) or [k for k in known if k.endswith(f".{path}")]
            hint = f"; did you mean {near[0]}?" if near else ""
            lines.append(f"unknown field {path}{hint}")
        elif problem["type"] == "missing":
            lines.append(f"{path} is missing")
        else:
            found = "" if isinstance(problem["input"], dict) else f"={problem['input']!r}"
            lines.append(f"{path}{found}: {problem['msg'].removeprefix('Value error, ')}")
    return lines
