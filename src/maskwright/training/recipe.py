"""The recipe: every setting of a training run, as one validated, frozen record and one YAML file."""

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

from maskwright.images.coord_channels import CoordChannel
from maskwright.training.recipe_text import Duration, WrongRecipe, explain_errors, read_yaml, to_yaml


def _numeric_mask_value(given: object) -> object:
    """Return a mask value as a number if it is one: YAML and JSON store the keys of a mapping as text."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


MaskValue = Annotated[int | str, BeforeValidator(_numeric_mask_value)]
Folder = Annotated[Path, AfterValidator(Path.absolute)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
LossWeights = Annotated[dict[str, float], Field(min_length=1)]


class Section(BaseModel):
    """A part of the recipe: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataRecipe(Section):
    """Images, masks, the meaning of mask values, and the validation split."""

    images: Folder
    """Folder of training images."""
    masks: Folder
    """Folder of training masks, paired with the images by file stem."""
    val_images: Folder | None = None
    """Folder of validation images. If absent, a fraction of the training pairs is held out."""
    val_masks: Folder | None = None
    """Folder of validation masks."""
    mask_suffix: str = ""
    """Suffix of mask file stems after the image's stem, such as `_mask`."""
    classes: PositiveInt | tuple[str, ...] | None = None
    """Number of classes, or their names in order of mask value. If absent, they are found from the masks."""
    ignore: MaskValue | None = None
    """Mask value (or "#rrggbb") of pixels that are excluded from the loss and the scores."""
    mask_values: dict[MaskValue, str] | None = None
    """Meaning of each mask value (or "#rrggbb"): a class name, `background` or `ignored`. Cannot be combined with
    `classes` or `ignore`."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the pairs that is held out without validation folders, stratified by mask coverage."""
    fold: tuple[PositiveInt, Annotated[int, Field(ge=2)]] | None = None
    """Fold to hold out and number of folds, such as [1, 5]. `--folds` trains with each fold in turn."""
    split_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the validation split. If absent, it is `training.seed`."""
    strata: Folder | None = None
    """CSV file with a line `id,number` for each image. The split is stratified by this number as well as by mask
    coverage."""
    grouping: Literal["auto", "duplicates"] = "auto"
    """Images that stay on one side of the split: `auto` groups frames, tiles and near-duplicates by file name and
    perceptual hash, `duplicates` groups only images of identical pixels."""
    normalisation: Literal["dataset", "encoder"] = "dataset"
    """Mean and standard deviation of the training images (`dataset`) or of the encoder's pretraining (`encoder`)."""
    channels: PositiveInt | None = None
    """Image channels that the network takes; 1 uses one of three equal channels. If absent, those of the files."""
    scale: Annotated[float, Field(gt=0, le=8)] = 1.0
    """Factor by which images are resized before the network. Masks and scores keep the original size. At 1, images
    are padded by reflection to the size that the network takes."""
    coord_channels: tuple[CoordChannel, ...] = ()
    """Coordinate channels added to each image (CoordConv): `row`, `column`, or `row_times_image`."""

    @model_validator(mode="after")
    def _check_validation_data(self) -> "DataRecipe":
        if (self.val_images is None) != (self.val_masks is None):
            raise ValueError("val_images and val_masks must be given together")
        if self.fold is not None and (self.val_images is not None or self.fold[0] > self.fold[1]):
            raise ValueError("fold must be such as [1, 5], and not be given together with val_images")
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
"""Recipe fields that each architecture accepts, with the argument of `maskwright.models` that each one sets."""


class NetworkRecipe(Section):
    """Architecture, encoder and initial weights."""

    architecture: Literal["unet", "fpn", "linknet", "pspnet", "unetplusplus", "deeplabv3plus"] = "unet"
    """Architecture of the decoder."""
    backbone: str = "resnet34"
    """Name of the encoder; `maskwright backbones` lists all names."""
    encoder_weights: str | None = None
    """Pretrained encoder weights: `imagenet` or another data set published for the backbone, downloaded once, or a
    file. If absent, they are random."""
    encoder_freeze: bool = False
    """Freeze all encoder layers except batch normalisation."""
    first_unit: Literal["projection", "identity"] = "projection"
    """Shortcut of the first residual unit in ResNet encoders: `identity` as in the paper, `projection` as in the
    published weights."""
    decoder_block: Literal["upsampling", "transpose"] = "upsampling"
    """unet, linknet: `upsampling` (nearest neighbour, then convolutions) or `transpose` (transposed convolution)."""
    decoder_filters: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (256, 128, 64, 32, 16)
    """unet, linknet, unetplusplus: filters of the five decoder blocks, deepest first."""
    attention: Literal["scse"] | None = None
    """unet, unetplusplus: `scse` adds spatial and channel squeeze-and-excitation to each decoder block."""
    hypercolumn: bool = False
    """unet: concatenate the feature maps of all decoder blocks before the head."""
    deep_supervision: bool = False
    """unet: train a further mask output at each decoder block. The saved network has none of them."""
    classification_head: bool = False
    """unet: train a further output that classifies whether an image contains any class but the background. The saved
    network does not have it."""
    dropout: Fraction | None = None
    """unet, fpn, pspnet, deeplabv3plus: dropout rate of decoder channels. If absent, 0.5 in deeplabv3plus and 0
    elsewhere."""
    custom: str | None = None
    """Name of the Python function that builds the network. It is recorded, and the same one is required to resume."""

    @model_validator(mode="after")
    def _check_architecture_options(self) -> "NetworkRecipe":
        for name, field in type(self).model_fields.items():
            accepting = [architecture for architecture, names in ARCHITECTURE_OPTIONS.items() if name in names]
            if accepting and self.architecture not in accepting and getattr(self, name) != field.default:
                raise ValueError(f"{name} is an option of {' and '.join(accepting)}, not of {self.architecture}")
        return self


class AugmentationRecipe(Section):
    """Random augmentation of training patches. Geometric changes are applied to image and mask alike."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "horizontal"
    """Flips, each applied with probability 0.5."""
    zoom: Fraction = 0.25
    """Largest relative change of scale, in either direction."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Largest rotation in either direction, degrees."""
    brightness: Fraction = 0.2
    """Largest shift of intensity, as a fraction of the value range."""
    contrast: Fraction = 0.2
    """Largest relative change of contrast."""
    custom: str | None = None
    """Name of the Python function that replaces this augmentation. It is recorded, and the same one is required to
    resume."""


class ProgressiveResize(Section):
    """Smaller patches in the first part of a run (progressive resizing)."""

    until: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Fraction of the run at which patches get their full size."""
    scale: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Size of the smaller patches, as a fraction of the full height and width; rounded to multiples of 32."""

    def __str__(self) -> str:
        return f"until {self.until:g}, scale {self.scale:g}"


class FinalLoss(Section):
    """A loss that replaces `training.loss` in the last part of a run."""

    loss: LossWeights
    """Losses by name, each with its weight in the sum."""
    start: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Fraction of the run at which it begins."""


class TrainingRecipe(Section):
    """Training length, optimizer, loss and schedule."""

    time_budget: Duration | None = None
    """Time for the whole command, as seconds or text such as `20m` or `1h30m`. The learning-rate schedule ends with
    it."""
    epochs: PositiveInt | None = None
    """Number of epochs. Without `epochs` and `time_budget`, a run takes 30 minutes."""
    batch_size: PositiveInt = 8
    """Patches in a batch."""
    patch_size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of a training patch in pixels, multiples of 32. If absent, they are chosen from the images."""
    progressive_resize: ProgressiveResize | None = ProgressiveResize()
    """Train on patches of size `scale` until the fraction `until` of the run. null: full size throughout."""
    foreground_oversampling: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the patches placed to contain a random pixel that is not of the image's most frequent class. Other
    patches are placed at random."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`adamw`, or `muon`: orthogonalised updates for large convolution kernels and AdamW for other weights."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    encoder_lr_multiplier: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Multiplier on the encoder's learning rate; below 1 for pretrained weights."""
    freeze_encoder_until: Fraction = 0.0
    """Fraction of the run until which the encoder's weights are frozen. Batch normalisation statistics are updated."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Decoupled weight decay; multiplied by the learning rate in each step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of the run over which the learning rate rises to its peak. Cosine decay follows."""
    lr_cycles: Annotated[int, Field(ge=1, le=50)] = 1
    """Number of cosine cycles of the learning rate. At the end of each cycle but the last, the network is saved as a
    snapshot for an ensemble."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest global norm of the gradient; larger gradients are clipped."""
    gradient_accumulation: PositiveInt = 1
    """Number of batches over which gradients are averaged before each update of the weights."""
    patience: PositiveInt | None = None
    """Stop after this number of validations without a better score. If absent, training is not stopped early."""
    loss: LossWeights = Field(default={"cross_entropy": 1.0, "dice": 1.0})
    """Losses by name, each with its weight in the sum."""
    final_loss: FinalLoss | None = None
    """Losses that replace `loss` from the fraction `start` of the run, such as {loss: {lovasz: 1}, start: 0.7}."""
    weight_averaging: Fraction = 0.0
    """Fraction of the run, at its end, over which the weights are averaged (SWA). The averaged network is validated
    and saved."""
    monitor: Literal["mean_iou", "mean_precision"] = "mean_iou"
    """Validation score that selects the best network: mean IoU, or the TGS salt challenge's score for one class."""
    custom_loss: str | None = None
    """Name of the Python function that replaces the loss. It is recorded, and the same one is required to resume."""
    class_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    """Weight of each class's pixels in pixel-wise losses, by class name; 1 for other classes."""
    precise_bn_steps: PositiveInt = 8
    """Batches without augmentation that batch normalisation statistics are computed on before each validation."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    """Number format of the training computation. `auto` is bfloat16 if the processor supports it in hardware."""
    devices: PositiveInt = 1
    """Number of devices, over all processes, that each batch is split over; requires JAX."""
    log: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Services that the history is also logged to: `tensorboard` in the run's folder, `mlflow` at its tracking URI."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial weights, the order of images, patches and augmentation."""

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
"""Section and field that record the name of each custom part."""


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
        """Validate nested ``fields``.

        Raises:
            WrongRecipe: A field is unknown (the nearest name is suggested), missing or has a value that cannot be used.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise WrongRecipe(source=source, problems="; ".join(explain_errors(cls, error))) from None

    @classmethod
    def load(cls, file: Path) -> "Recipe":
        """Read a recipe from its YAML file; raises as `from_dict` does."""
        return cls.from_dict(read_yaml(file), source=str(file))

    @property
    def custom_parts(self) -> dict[str, str | None]:
        """Names of the custom parts ``loss``, ``network`` and ``augmentation``; None for parts that are not custom."""
        return {part: getattr(getattr(self, section), name) for part, (section, name) in CUSTOM_PART_FIELDS.items()}

    def changed(self, section: str, **fields: Any) -> "Recipe":
        """Return a copy in which ``fields`` of one section have other values."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=fields)})

    def to_yaml(self, *, reasons: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return the text of a YAML file; see `maskwright.training.recipe_text.to_yaml`."""
        return to_yaml(self, reasons=reasons)
