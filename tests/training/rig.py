"""A trainer with a network of one layer, patches without files and a clock that tests set."""

import hashlib
import json
from types import SimpleNamespace

import keras
import numpy as np

from maskwright.inference.engines.keras import load_keras_engine
from maskwright.metrics.scores import Scores
from maskwright.training.devices import BatchShard
from maskwright.training.evaluate import Evaluation
from maskwright.training.optimizer import FusedAdamW
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.reporter import SilentReporter
from maskwright.training.run import Run
from maskwright.training.run_records import ClassPixels, ImageScore
from maskwright.training.schedule import Stopwatch
from maskwright.training.setup import Networks, TrainingSetup
from maskwright.training.trainer import Trainer
from tests.inference.fake_engines import bundle


class Clock:
    """A clock whose time is set by the test."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Noise:
    """Replaces `Patches`; ``before`` is called before each batch and may return its images."""

    patch_size, batch_size = (8, 8), 2

    def __init__(self, before=lambda step: None, steps_per_epoch=4):
        self.before = before
        self.steps_per_epoch = steps_per_epoch

    def oversample_missed(self, missed, *, fraction):
        self.oversampled = missed, fraction

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
    confusion = np.array([[5000, 0], [1000 - true_positives, true_positives]])
    return Scores.from_confusion(confusion, ["background", "cell"], background=True)


def score_of_weights(engine):
    """A score that is arbitrary, but always the same for the same weights."""
    weights = b"".join(weight.tobytes() for weight in engine.network.get_weights())
    return scored(int.from_bytes(hashlib.sha256(weights).digest()[:2]) / 2**16)


class Recorder(SilentReporter):
    """Records messages and rows, and calls ``on_step`` after each step."""

    def __init__(self):
        self.messages, self.rows, self.on_step = [], [], lambda progress: None

    def step(self, progress):
        self.on_step(progress)

    def epoch(self, row):
        self.rows.append(row)

    def report(self, line):
        self.messages.append(line)


class Rig:
    """A trainer and a record of its events."""

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
        self.clock, self.validations = clock or Clock(), []
        self.scores, self.score = iter(scores), score
        self.images, self.validation_images = images, []
        self.run, self.reporter = Run(folder), Recorder()
        if "final_loss" not in recipe:
            recipe["custom_loss"] = "the loss that the network was compiled with"
        training_network = network()
        names = [layer.name for layer in training_network.layers]
        setup = TrainingSetup(
            run=self.run,
            recipe=TrainingRecipe(precise_bn_steps=1, **recipe),
            bundle=bundle(),
            networks=Networks(training_network, network, names, "float32"),
            patches=Noise(before, steps_per_epoch),
            validation_set=SimpleNamespace(sizes=[(8, 8)] * images, evaluate=self.validate),
            stopwatch=Stopwatch(0.0, now=self.clock),
            reporter=self.reporter,
            shard=BatchShard(),
        )
        self.trainer = Trainer(setup)
        self.validation_seconds = validation_seconds

    @property
    def messages(self):
        return self.reporter.messages

    @property
    def rows(self):
        return self.reporter.rows

    def validate(self, engine, images, *, progress):
        self.validations.append(self.trainer.state.step)
        self.validation_images.append(images)
        self.clock.seconds += self.validation_seconds * images / self.images
        scores = self.score(engine) if self.score else scored(next(self.scores, 0.5))
        pixels = ClassPixels(true_positives=(1, 1), truth=(1, 1), predicted=(1, 1))
        seconds = self.validation_seconds / self.images
        image = ImageScore(name="a", mean_iou=0.5, pixel_accuracy=0.5, pixels=pixels, seconds=seconds)
        return Evaluation(scores, (image,) * images)

    def fit(self, on_step=lambda progress: None):
        self.reporter.on_step = on_step
        return self.trainer.fit()

    def resumed(self):
        """Resume from the files in the folder and train to the end."""
        self.trainer.resume()
        return self.fit()

    def result(self):
        """Return a digest of everything that an interruption must not change."""
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
