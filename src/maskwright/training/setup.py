"""Define records of the networks, the validation set and all other objects that are used in training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import keras

from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair, evenly_spaced
from maskwright.data.patches import Patches
from maskwright.inference.bundle import Bundle
from maskwright.inference.load_predictor import Predictor
from maskwright.training.cost import StepTimes
from maskwright.training.devices import BatchShard
from maskwright.training.evaluate import Evaluation, evaluate_pairs
from maskwright.training.precision import ComputePrecision
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.reporter import Reporter
from maskwright.training.run import Run
from maskwright.training.schedule import Stopwatch


@dataclass(frozen=True)
class Networks:
    """The network in training, and the float32 inference model that is saved.

    Attributes:
        training: Network in training.
        build_inference_model: Function that builds the inference model with untrained weights.
        layer_order: Names of the layers of the network in training, in the same order as in the inference model.
        precision: Precision of the computations in the network in training.
    """

    training: keras.Model
    build_inference_model: Callable[[], keras.Model]
    layer_order: Sequence[str]
    precision: ComputePrecision


@dataclass(frozen=True)
class ValidationSet:
    """Validation pairs, the sizes (h, w) of their images after resizing and padding, and the meaning of the mask
    values."""

    pairs: Sequence[Pair]
    sizes: Sequence[tuple[int, int]]
    mask_values: MaskValues

    def evaluate(
        self,
        engine: Predictor,
        images: int,
        *,
        progress: Callable[[int, int], None],
    ) -> Evaluation:
        """Score the predictions of an engine on evenly spaced pairs.

        Args:
            engine: Engine to score.
            images: Number of pairs to score.
            progress: Function called with the number of scored pairs and the total.

        Raises:
            InputError: A file has become unreadable or invalid since the data was checked.
        """
        pairs = evenly_spaced(self.pairs, images)
        numbers = count(1)

        def finish(*_: object) -> None:
            progress(next(numbers), len(pairs))

        evaluation = evaluate_pairs(engine, pairs, mask_values=self.mask_values, on_pair=finish)
        for failure in evaluation.failures:
            raise failure
        return evaluation


@dataclass(frozen=True)
class TrainingSetup:
    """Networks, data and settings of a `Trainer`.

    ``shard`` selects the part of each batch that is processed by this process. ``step_times`` are the expected times of
    training steps, or None if they are not known. ``tuning_passes`` is the cost of the additional predictions for
    tuning; see `maskwright.training.tuner.Tuner.passes`. ``is_custom`` states whether parts of the training are custom.
    """

    run: Run
    recipe: TrainingRecipe
    bundle: Bundle
    networks: Networks
    patches: Patches
    validation_set: ValidationSet
    stopwatch: Stopwatch
    reporter: Reporter
    shard: BatchShard
    step_times: StepTimes | None = None
    tuning_passes: float | None = None
    is_custom: bool = False
