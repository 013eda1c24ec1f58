"""The recipe: every setting of a training run, as one validated, frozen record and one YAML file."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from maskwright.data.label_table import MaskKind
from maskwright.data.pixel_values import OTHERS
from maskwright.images.coord_channels import CoordChannel
from maskwright.metrics.monitor import Monitor
from maskwright.training.recipe_text import Duration, WrongRecipe, explain_errors, read_yaml, to_yaml


def _numeric_mask_value(given: object) -> object:
    """Convert a mask value from a decimal string to a number, because JSON stores the keys of a mapping as strings."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


AUTO_WEIGHTS: Final = "auto"
NO_WEIGHTS: Final = "none"
START_SUFFIXES: Final = (".keras", ".h5", ".hdf5", ".safetensors")
"""Suffixes of files that contain the network from which training starts. Any other path is that of a run."""


def _weights(given: object) -> object:
    """Convert null to `none`."""
    return NO_WEIGHTS if given is None else given


Weights = Annotated[str, BeforeValidator(_weights)]
MaskValue = Annotated[int | str, BeforeValidator(_numeric_mask_value)]
Folder = Annotated[Path, AfterValidator(Path.absolute)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
LossWeights = Annotated[dict[str, float], Field(min_length=1)]


class Section(BaseModel):
    """Base class of the sections of a recipe, which are frozen and reject unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataRecipe(Section):
    """Images, masks, meaning of the mask values, and validation split."""

    images: Folder
    """Folder of training images."""
    masks: Folder
    """Folder of training masks, paired with the images by file stem."""
    val_images: Folder | None = None
    """Folder of validation images. If unset, a fraction of the training pairs is held out."""
    val_masks: Folder | None = None
    """Folder of validation masks, paired with the validation images by file stem."""
    mask_suffix: str = ""
    """Suffix that mask file names have after the stem of the image's file name, such as `_mask`."""
    mask_kind: MaskKind = "class_ids"
    """Meaning of the numbers in masks: each value is a class (`class_ids`), or 0 is background and every other value is
    an object, and all objects are one class (`objects`). `classes` then names this class."""
    classes: PositiveInt | tuple[str, ...] | None = None
    """Number of classes, or class names in order of mask value. If unset, the classes are read from the masks."""
    ignore: MaskValue | None = None
    """Mask value (or "#rrggbb") of pixels that are excluded from the loss and the scores."""
    mask_values: dict[MaskValue, str] | None = None
    """Meaning of each mask value (or "#rrggbb"): a class name, `background` or `ignored`. The value `others` stands for
    all numbers that are not listed. Cannot be combined with `classes` or `ignore`."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the pairs that is held out if there are no validation folders, stratified by mask coverage."""
    fold: tuple[PositiveInt, Annotated[int, Field(ge=2)]] | None = None
    """Number of the held-out fold and total number of folds, such as [1, 5]. `--folds` holds out each fold in turn."""
    split_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the validation split. If unset, `training.seed` is used."""
    strata: Folder | None = None
    """CSV file with a line `id,number` for each image. The split is stratified by this number as well as by mask
    coverage."""
    grouping: Literal["auto", "duplicates"] = "auto"
    """Grouping of images that must not be split between training and validation: `auto` groups frames, tiles and
    near-duplicates by file name and perceptual hash; `duplicates` groups only images with identical pixels."""
    normalisation: Literal["dataset", "encoder", "start_from"] = "dataset"
    """Mean and standard deviation used for normalisation: those of the training images (`dataset`), those used to
    pretrain the encoder (`encoder`), or those of the network from which training starts (`start_from`)."""
    channels: PositiveInt | None = None
    """Number of image channels that the network receives. If it is 1, one of three equal channels is used. If unset, it
    is the number of channels in the image files."""
    scale: Annotated[float, Field(gt=0, le=8)] = 1.0
    """Factor by which images are resized before they are passed to the network. Masks and scores keep the original
    size. If it is 1, images are only padded by reflection to a size that the network accepts."""
    coord_channels: tuple[CoordChannel, ...] = ()
    """Coordinate channels added to each image (CoordConv): `row`, `column`, or `row_times_image`."""

    @model_validator(mode="after")
    def _check_combinations(self) -> "DataRecipe":
        if (self.val_images is None) != (self.val_masks is None):
            raise ValueError("val_images and val_masks must be given together")
        # The recipe of a run contains both fields, and its mask values contain `others`.
        if self.mask_kind == "objects" and self.mask_values is not None and OTHERS not in self.mask_values:
            raise ValueError(
                "mask_kind=objects cannot be combined with mask_values, because both define the meaning of all values; "
                "leave out one of them, and give the class name of the objects as classes"
            )
        if self.fold is not None and (self.val_images is not None or self.fold[0] > self.fold[1]):
            raise ValueError("fold must be such as [1, 5] and cannot be combined with val_images")
        return self


ARCHITECTURE_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "unet": {
        "decoder_block": "decoder_block_type",
        "decoder_filters": "decoder_filters",
        **{name: name for name in ("attention", "hypercolumn", "deep_supervision", "classification_head", "dropout")},
    },
    "fpn": {"dropout": "pyramid_dropout"},
    "linknet": {"decoder_block": "decoder_block_type", "decoder_filters": "decoder_filters"},
    "pspnet": {"dropout": "psp_dropout"},
    "unetplusplus": {"decoder_filters": "decoder_filters", "attention": "attention"},
    "deeplabv3plus": {"dropout": "decoder_dropout"},
}
"""Recipe fields that each architecture accepts, each with the corresponding argument in `maskwright.models`."""


class NetworkRecipe(Section):
    """Architecture, encoder and initial weights of the network."""

    architecture: Literal["unet", "fpn", "linknet", "pspnet", "unetplusplus", "deeplabv3plus"] = "unet"
    """Architecture of the decoder."""
    backbone: str = "resnet34"
    """Name of the encoder; `maskwright backbones` lists all names."""
    encoder_weights: Weights = AUTO_WEIGHTS
    """Pretrained encoder weights: `imagenet` or the name of other weights published for the backbone, which are
    downloaded once, or the path of a file; `none` for random weights. `auto` selects `imagenet` if these weights are
    installed, cached or can be downloaded, and `none` otherwise."""
    encoder_weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file of the pretrained encoder weights, which is recorded when training begins. If it is set,
    another file is not accepted."""
    start_from: Folder | None = None
    """Trained network from which training starts: the folder of a run, or a `.keras`, `.h5` or `.safetensors` file."""
    start_from_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file of this network, which is recorded when training begins. If it is set, another file is not
    accepted."""
    renamed_classes: dict[str, str] | None = None
    """New name of each renamed class of this network, by its old name, such as {cell: nucleus}. The output channels of
    these classes are kept. The background is kept under any name."""
    encoder_freeze: bool = False
    """Freeze all encoder layers except batch normalisation."""
    first_unit: Literal["projection", "identity"] = "projection"
    """Shortcut of the first residual unit in ResNet encoders: `identity` as in the paper, `projection` as in the
    published weights."""
    decoder_block: Literal["upsampling", "transpose"] = "upsampling"
    """unet, linknet: `upsampling` (nearest neighbour, then convolutions) or `transpose` (transposed convolution)."""
    decoder_filters: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (256, 128, 64, 32, 16)
    """unet, linknet, unetplusplus: numbers of filters of the five decoder blocks, from the deepest to the
    shallowest."""
    attention: Literal["scse"] | None = None
    """unet, unetplusplus: `scse` adds spatial and channel squeeze-and-excitation to each decoder block."""
    hypercolumn: bool = False
    """unet: concatenate the feature maps of all decoder blocks before the head."""
    deep_supervision: bool = False
    """unet: train an additional mask output at each decoder block. The saved network does not have these outputs."""
    classification_head: bool = False
    """unet: train an additional output that classifies whether an image contains any class except the background. The
    saved network does not have this output."""
    dropout: Fraction | None = None
    """unet, fpn, pspnet, deeplabv3plus: dropout rate of decoder channels. If unset, the rate is 0.5 in deeplabv3plus
    and 0 in the others."""
    custom: str | None = None
    """Name of the Python function that builds the network. The name is recorded, and resuming the run requires the same
    function."""

    @property
    def pretrained(self) -> str | None:
        """Name or file of the pretrained weights; None if the encoder is trained from scratch."""
        return None if self.encoder_weights in (AUTO_WEIGHTS, NO_WEIGHTS) else self.encoder_weights

    @property
    def start_file(self) -> Path | None:
        """File of the network whose graph is used instead of the architecture; None if there is no such file."""
        is_file = self.start_from is not None and self.start_from.suffix.lower() in START_SUFFIXES
        return self.start_from if is_file else None

    @model_validator(mode="after")
    def _check_renamed_classes(self) -> "NetworkRecipe":
        if self.renamed_classes and self.start_from is None:
            raise ValueError("renamed_classes requires start_from (--from), the network that has the old names")
        for new, number in Counter((self.renamed_classes or {}).values()).items():
            if number > 1:
                raise ValueError(f"renamed_classes gives {number} classes the name {new}; expected different names")
        return self

    @model_validator(mode="after")
    def _check_architecture_options(self) -> "NetworkRecipe":
        for name, field in type(self).model_fields.items():
            accepting = [architecture for architecture, names in ARCHITECTURE_OPTIONS.items() if name in names]
            if accepting and self.architecture not in accepting and getattr(self, name) != field.default:
                raise ValueError(f"{name} is an option of {' and '.join(accepting)}, not of {self.architecture}")
        return self


class AugmentationRecipe(Section):
    """Random augmentation of training patches. Geometric changes are applied to both the image and the mask."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "horizontal"
    """Flips, each applied with probability 0.5."""
    zoom: Fraction = 0.25
    """Largest relative change of scale, in either direction."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Largest rotation in either direction, in degrees."""
    brightness: Fraction = 0.2
    """Largest shift of intensity, as a fraction of the value range."""
    contrast: Fraction = 0.2
    """Largest relative change of contrast."""
    custom: str | None = None
    """Name of the Python function that replaces this augmentation. The name is recorded, and resuming the run requires
    the same function."""


class ProgressiveResize(Section):
    """Training on smaller patches in the first part of a run (progressive resizing)."""

    until: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Fraction of the run after which patches have their full size."""
    scale: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Size of the smaller patches, as a fraction of the full height and width, rounded to multiples of 32."""

    def __str__(self) -> str:
        return f"until {self.until:g}, scale {self.scale:g}"


class FinalLoss(Section):
    """Loss that replaces `training.loss` in the last part of a run."""

    loss: LossWeights
    """Losses by name, each with its weight in the sum."""
    start: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Fraction of the run after which this loss is used."""


class TrainingRecipe(Section):
    """Length of training, optimizer, loss and learning-rate schedule."""

    time_budget: Duration | None = None
    """Time limit of the whole command, in seconds or as text such as `20m` or `1h30m`. The learning-rate schedule
    depends on it."""
    epochs: PositiveInt | None = None
    """Number of epochs. If neither `epochs` nor `time_budget` is set, training takes 30 minutes."""
    batch_size: PositiveInt = 8
    """Number of patches in a batch."""
    patch_size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of a training patch in pixels, multiples of 32. If unset, they are chosen from the images."""
    progressive_resize: ProgressiveResize | None = ProgressiveResize()
    """Train on patches reduced to the fraction `scale` of their size until the fraction `until` of the run. If null,
    patches have their full size throughout the run."""
    foreground_oversampling: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the patches that are placed to contain a random pixel of a class other than the image's most frequent
    class; for such a patch, images with one class only are skipped. All other patches are placed at random."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Optimizer: `adamw`, or `muon`, which orthogonalises the updates of large convolution kernels and uses AdamW for
    all other weights."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    encoder_lr_multiplier: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Factor by which the learning rate of the encoder is multiplied; usually below 1 for pretrained weights."""
    freeze_encoder_until: Fraction = 0.0
    """Fraction of the run during which the encoder's weights are frozen. Batch normalisation statistics are still
    updated."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Decoupled weight decay, which is multiplied by the learning rate in each step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of the run over which the learning rate rises to its peak. Cosine decay follows."""
    lr_cycles: Annotated[int, Field(ge=1, le=50)] = 1
    """Number of cosine cycles of the learning rate. At the end of each cycle except the last, the network is saved as a
    snapshot for an ensemble."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest global norm of the gradient; larger gradients are clipped."""
    gradient_accumulation: PositiveInt = 1
    """Number of batches over which gradients are averaged before each update of the weights."""
    patience: PositiveInt | None = None
    """Number of validations without an improved score after which training stops. If unset, training does not stop
    early."""
    loss: LossWeights = Field(default={"cross_entropy": 1.0, "dice": 1.0})
    """Losses by name, each with its weight in the sum."""
    final_loss: FinalLoss | None = None
    """Losses that replace `loss` after the fraction `start` of the run, such as {loss: {lovasz: 1}, start: 0.7}."""
    weight_averaging: Fraction = 0.0
    """Last fraction of the run, over which the weights are averaged (SWA). The averaged network is validated and
    saved."""
    monitor: Monitor = "mean_iou"
    """Validation score that selects the best network and that is maximised by tuning: mean IoU, mean Dice coefficient
    (`dice`), or the TGS salt challenge's score for one class (`mean_precision`)."""
    tune: bool = True
    """Tune the threshold, test-time augmentation, hole filling and minimum component sizes on the validation images at
    the end of the run."""
    custom_loss: str | None = None
    """Name of the Python function that replaces the loss. The name is recorded, and resuming the run requires the same
    function."""
    class_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    """Weights of the pixels of each class in pixel-wise losses, by class name; 1 for classes that are not listed."""
    precise_bn_steps: PositiveInt = 8
    """Number of batches without augmentation from which batch normalisation statistics are computed before each
    validation."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    """Number format used in training. `auto` selects bfloat16 if it is faster on the CPU or GPU that computes."""
    devices: PositiveInt = 1
    """Total number of devices of all processes over which each batch is distributed; values above 1 require JAX."""
    log: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Services to which the training history is also logged: `tensorboard` (in the run's folder) and `mlflow` (at its
    tracking URI)."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Random seed of the initial weights, the order of images, the patches and the augmentation."""

    @model_validator(mode="after")
    def _check_combinations(self) -> "TrainingRecipe":
        if self.time_budget is not None and self.epochs is not None:
            raise ValueError("give time_budget or epochs, not both")
        if self.lr_cycles > 1 and self.weight_averaging > (1 - self.warmup) / self.lr_cycles:
            raise ValueError("weight_averaging is longer than the last of the lr_cycles; reduce one of them")
        if self.batch_size % self.devices and "batch_size" in self.model_fields_set:
            raise ValueError("batch_size must be a multiple of devices")
        if self.patch_size is not None and any(side % 32 for side in self.patch_size):
            raise ValueError("patch_size: both sides must be multiples of 32")
        return self


CUSTOM_PART_FIELDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"loss": ("training", "custom_loss"), "network": ("network", "custom"), "augmentation": ("augmentation", "custom")}
)
"""Section and field of a recipe in which the name of each custom part is recorded."""


class Recipe(Section):
    """Every setting of a training run.

    >>> Recipe.from_dict({"data": {"images": "i", "masks": "m"}}).training.batch_size
    8
    """

    data: DataRecipe
    network: NetworkRecipe = NetworkRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    training: TrainingRecipe = TrainingRecipe()

    @classmethod
    def from_dict(cls, fields: Mapping[str, object], *, source: str = "recipe") -> "Recipe":
        """Create a recipe from nested ``fields``, which are validated.

        Raises:
            WrongRecipe: A field is unknown, is missing or has an invalid value. The message suggests the most similar
                name for an unknown field.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise WrongRecipe(source=source, problems="; ".join(explain_errors(cls, error))) from None

    @classmethod
    def load(cls, file: Path) -> "Recipe":
        """Read a recipe from a YAML file.

        Raises:
            WrongRecipe: The file cannot be read, or the recipe is invalid.
        """
        return cls.from_dict(read_yaml(file), source=str(file))

    @property
    def custom_parts(self) -> dict[str, str | None]:
        """Recorded names of the custom ``loss``, ``network`` and ``augmentation``; None for parts that are not
        custom."""
        return {part: getattr(getattr(self, section), name) for part, (section, name) in CUSTOM_PART_FIELDS.items()}

    def changed(self, section: str, **fields: Any) -> "Recipe":
        """Return a copy of the recipe in which the given ``fields`` of one section are replaced."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=fields)})

    def to_yaml(self, *, reasons: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return the recipe as YAML text; see `maskwright.training.recipe_text.to_yaml`."""
        return to_yaml(self, reasons=reasons)
