"""The loop, with a network of one layer, patches without files and a clock that stands where it is put."""

import keras
import numpy as np
import pytest

from maskwright.inference.keras_engine import KerasEngine
from maskwright.metrics.scores import Scores
from maskwright.training.fit import BudgetTooShort, LossNotFinite, Trainer
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.run import Run
from maskwright.training.schedule import Stopwatch
from tests.inference.engines import bundle


class Clock:
    """Each step, and each validation, takes what it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Noise:
    """Stands in for `Patches`; ``before`` is called as a batch is taken."""

    patch, batch_size, steps_per_epoch = (8, 8), 2, 4

    def __init__(self, before=lambda step: None):
        self.before = before

    def plain(self, step):
        return np.random.default_rng(step).normal(size=(2, 8, 8, 1)).astype(np.float32)

    def stream(self, first):
        for step in range(first, 10**6):
            self.before(step)
            yield self.plain(step), np.zeros((2, 8, 8, 1), np.float32)


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 1))
    x = keras.layers.BatchNormalization()(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))
    model.compile(optimizer=keras.optimizers.AdamW(0.01), loss="binary_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


def scored(mean):
    hits = round(mean * 1000)
    return Scores.from_confusion(np.array([[5000, 0], [1000 - hits, hits]]), ["background", "cell"], background=True)


class Rig:
    """A trainer and what happened to it."""

    def __init__(self, folder, clock, *, validation_seconds=1.0, scores=(), before=lambda step: None, **recipe):
        self.clock, self.validations, self.rows = clock, [], []
        self.scores = iter(scores)
        self.run = Run(folder)
        self.trainer = Trainer(
            network(),
            KerasEngine(network(), bundle()),
            patches=Noise(before),
            validate=self.validate,
            validation_pixels=64,
            run=self.run,
            recipe=TrainingRecipe(recalibration_steps=1, **recipe),
            stopwatch=Stopwatch(0.0, now=clock),
        )
        self.validation_seconds = validation_seconds

    def validate(self, engine):
        self.validations.append(self.trainer.state.step)
        self.clock.seconds += self.validation_seconds
        return scored(next(self.scores, 0.5))

    def fit(self):
        return self.trainer.fit(lambda progress: None, self.rows.append)


def ticking(clock, seconds):
    def tick(step):
        clock.seconds += seconds

    return tick


def test_by_epochs_every_epoch_is_validated_and_the_best_is_kept(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=3, scores=(0.2, 0.6, 0.4))
    outcome = rig.fit()
    assert rig.validations == [4, 8, 12]
    assert (outcome.state.best, outcome.state.best_step) == (pytest.approx(0.6), 8)
    assert [row["epoch"] for row in rig.rows] == [1, 2, 3]


def test_of_equal_scores_the_later_network_is_kept(tmp_path):
    outcome = Rig(tmp_path, Clock(), epochs=3, scores=(0.0, 0.0, 0.0)).fit()
    assert outcome.state.best_step == 12


def test_a_time_budget_ends_in_time_and_validates_on_the_way_no_more_than_it_may(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=1000.0, before=ticking(clock, 2.0), validation_seconds=10.0)
    outcome = rig.fit()
    assert outcome.stopped_by == "schedule"
    # 15 seconds are kept to close and 20 for two validations, of which the loop has done one when it ends.
    assert 1000 - 45 <= clock.seconds <= 1000 - 10
    assert rig.validations[-1] == outcome.state.step
    spent = 10.0 * (len(rig.validations) - 1)
    assert 0 < spent <= 0.11 * 1000
    assert rig.rows[-1]["learning_rate"] < 1e-5  # annealed


def test_no_validation_is_begun_that_would_not_end_in_time(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=100.0, before=ticking(clock, 2.0), validation_seconds=30.0)
    rig.fit()
    assert clock.seconds <= 110
    assert rig.validations[-1] == rig.trainer.state.step


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=1)
    rig.trainer.network.layers[-1].kernel.assign([[[[np.nan]]]])
    with pytest.raises(LossNotFinite, match=r"The loss became nan at step 0 of .*lower training\.learning_rate"):
        rig.fit()


def test_a_budget_spent_before_the_first_step_says_so(tmp_path):
    clock = Clock()
    clock.seconds = 40.0
    with pytest.raises(BudgetTooShort, match=r"A time budget of 30 s is too short: 40 s went by before"):
        Rig(tmp_path, clock, time_budget=30.0).fit()


def test_an_interrupt_before_the_first_step_is_an_interrupt(tmp_path):
    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rig(tmp_path, Clock(), epochs=1, before=interrupt).fit()


def test_an_interrupt_while_the_best_is_saved_still_leaves_a_best(tmp_path, monkeypatch):
    rig = Rig(tmp_path, Clock(), epochs=3, scores=(0.7, 0.7))
    save = rig.trainer._save_network
    interrupts = iter([KeyboardInterrupt])

    def interrupted(file):
        for interrupt in interrupts:
            raise interrupt
        save(file)

    monkeypatch.setattr(rig.trainer, "_save_network", interrupted)
    outcome = rig.fit()
    assert outcome.stopped_by == "interrupt"
    assert rig.run.network.is_file()


def test_a_network_saved_after_the_last_checkpoint_is_what_later_ones_must_beat(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=1, scores=(0.3,))
    rig.fit()
    rig.trainer._save_network(rig.run.network)  # as if killed before the checkpoint was written
    again = Rig(tmp_path, Clock(), epochs=2, scores=(0.8, 0.5))
    again.trainer.resume()
    assert again.trainer.state.best == pytest.approx(0.8)
    outcome = again.fit()
    assert outcome.state.step == 8
    assert outcome.state.best == pytest.approx(0.8)
