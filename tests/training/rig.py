"""A trainer with a network of one layer, patches without files and a clock that stands where it is put."""

import hashlib
import json

import keras
import numpy as np

from maskwright.inference.engines.keras import load_keras_engine
from maskwright.metrics.scores import Scores
from maskwright.training.evaluate import Evaluation
from maskwright.training.optimizer import FusedAdamW
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.run import Run
from maskwright.training.run_records import ClassPixels, ImageScore
from maskwright.training.schedule import Stopwatch
from maskwright.training.trainer import Trainer
from tests.inference.fake_engines import bundle


class Clock:
    """Each step, and each validation, takes what it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Noise:
    """Stands in for `Patches`; ``before`` is called as a batch is taken, and may give another."""

    patch, batch_size = (8, 8), 2

    def __init__(self, before=lambda step: None, steps_per_epoch=4):
        self.before = before
        self.steps_per_epoch = steps_per_epoch

    def oversample_missed(self, missed, *, share):
        self.sought = sought, share

    def unaugmented(self, step):
        return np.random.default_rng(step).normal(size=(2, 8, 8, 1)).astype(np.float32)

    def stream(self, first, size):
        for step in range(first, 10**6):
            images = self.before(step)
            yield self.unaugmented(step) if images is None else images, np.zeros((2, 8, 8, 1), np.float32)


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))
    model.compile(optimizer=FusedAdamW(0.01, decay=0.004), loss="binary_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


def scored(mean):
    true_positives = round(mean * 1000)
    return Scores.from_confusion(np.array([[5000, 0], [1000 - true_positives, true_positives]]), ["background", "cell"], background=True)


def score_of_weights(engine):
    """As good as chance, but the same for the same weights."""
    weights = b"".join(weight.tobytes() for weight in engine.network.get_weights())
    return scored(int.from_bytes(hashlib.sha256(weights).digest()[:2]) / 2**16)


class Rig:
    """A trainer and what happened to it."""

    def __init__(
        self,
        folder,
        clock=None,
        *,
        validation_seconds=1.0,
        images=1,
        scores=(),
        before=lambda step: None,
        score=None,
        steps_per_epoch=4,
        **recipe,
    ):
        self.clock, self.validations, self.rows, self.said = clock or Clock(), [], [], []
        self.scores, self.score = iter(scores), score
        self.images, self.looked_at = images, []
        self.run = Run(folder)
        self.trainer = Trainer(
            network(),
            network,
            bundle=bundle(),
            patches=Noise(before, steps_per_epoch),
            validate=self.validate,
            validation_sizes=[(8, 8)] * images,
            run=self.run,
            recipe=TrainingRecipe(precise_bn_steps=1, **recipe),
            stopwatch=Stopwatch(0.0, now=self.clock),
            say=self.said.append,
        )
        self.validation_seconds = validation_seconds

    def validate(self, engine, images):
        self.validations.append(self.trainer.state.step)
        self.looked_at.append(images)
        self.clock.seconds += self.validation_seconds * images / self.images
        scores = self.score(engine) if self.score else scored(next(self.scores, 0.5))
        pixels = ClassPixels(true_positives=(1, 1), truth=(1, 1), predicted=(1, 1))
        seconds = self.validation_seconds / self.images
        image = ImageScore(name="a", mean_iou=0.5, pixel_accuracy=0.5, pixels=pixels, seconds=seconds)
        return Evaluation(scores, (image,) * images)

    def fit(self, watch=lambda progress: None):
        return self.trainer.fit(watch, self.rows.append)

    def resumed(self):
        """Train on from what lies in the folder."""
        self.trainer.resume()
        return self.fit()

    def result(self):
        """Everything that an interruption must not change, as a digest."""
        state = self.trainer.state
        history = [{name: value for name, value in row.items() if name != "seconds"} for row in state.history]
        best = load_keras_engine(self.run.network, bundle()).network
        arrays = [*self.trainer.network.get_weights(), *best.get_weights()]
        arrays += [np.asarray(keras.ops.convert_to_numpy(one)) for one in self.trainer.network.optimizer.variables]
        digest = hashlib.sha256(json.dumps([state.step, state.best, state.best_step, history]).encode())
        for array in arrays:
            digest.update(array.tobytes())
        return digest.hexdigest()


def ticking(clock, seconds):
    def tick(step):
        clock.seconds += seconds

    return tick
