"""Records that a training works with: its networks, its validation set and everything together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import keras

from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair, evenly_spaced
from maskwright.data.patches import Patches
from maskwright.inference.bundle import Bundle
from maskwright.inference.load_predictor import Predictor
from maskwright.training.devices import BatchShard
from maskwright.training.evaluate import Evaluation, evaluate_pairs
from maskwright.training.network import ComputePrecision
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.reporter import Reporter
from maskwright.training.run import Run
from maskwright.training.schedule import Stopwatch


@dataclass(frozen=True)
class Networks:
    """The network in training and the float32 network that is saved.

    ``layer_order`` has the names of the training network's layers in the order of the inference model's.
    ``build_inference_model`` builds the latter, without weights.
    """

    training: keras.Model
    build_inference_model: Callable[[], keras.Model]
    layer_order: Sequence[str]
    precision: ComputePrecision


@dataclass(frozen=True)
class ValidationSet:
    """Validation pairs; ``sizes`` are (height, width) of the images as the network receives them."""

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
        """Score an engine on ``images`` evenly spaced pairs.

        Args:
            engine: Engine to score.
            images: Number of pairs.
            progress: Called with the numbers of scored pairs and of all pairs.

        Raises:
            InputError: A file cannot be used; all were checked, so it changed since then.
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
    """Everything that a `Trainer` works with.

    ``shard`` is the part of each batch that this process computes.
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
