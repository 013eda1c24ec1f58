"""The training loop, with the network, the patches and the clock of the rig."""

import errno
import os
import re
import signal

import keras
import numpy as np
import pytest

import maskwright.images.write as write
import maskwright.training.trainer as trainer
import maskwright.training.training_steps as training_steps
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.engines.keras import load_keras_engine
from maskwright.training.nan_recovery import LossNotFinite
from maskwright.training.recipe import FinalLoss
from maskwright.training.time_budget import BudgetTooShort
from tests.inference.fake_engines import bundle
from tests.training.rig import Clock, Rig, score_of_weights, ticking


def test_with_epochs_every_epoch_is_validated_and_the_best_network_is_saved(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=3, scores=(0.2, 0.6, 0.4))
    outcome = rig.fit()
    assert rig.validations == [4, 8, 12]
    assert (outcome.state.best, outcome.state.best_step) == (pytest.approx(0.6), 8)
    assert [row["epoch"] for row in rig.rows] == [1, 2, 3]


def test_of_equal_scores_the_later_network_is_saved(tmp_path):
    outcome = Rig(tmp_path, Clock(), epochs=3, scores=(0.0, 0.0, 0.0)).fit()
    assert outcome.state.best_step == 12


def test_a_time_budget_is_kept_and_bounds_the_time_of_validations(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=1000.0, before=ticking(clock, 2.0), validation_seconds=10.0)
    outcome = rig.fit()
    assert outcome.stopped_by == "schedule"
    # 15 seconds are reserved for closing and 20 for two validations; the loop runs one of them.
    assert 1000 - 45 <= clock.seconds <= 1000 - 10
    assert rig.validations[-1] == outcome.state.step
    spent = 10.0 * (len(rig.validations) - 1)
    assert 0 < spent <= 0.11 * 1000
    assert rig.rows[-1]["learning_rate"] < 1e-5  # annealed


def test_intermediate_validations_use_a_subset_if_all_images_take_too_long(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=1000.0, before=ticking(clock, 2.0), images=1000, validation_seconds=100.0)
    rig.fit()
    assert len(rig.validation_images) > 2
    assert set(rig.validation_images) == {32}  # the estimate from the steps is higher than the measured cost
    assert any("use 32 of 1000 validation images" in line for line in rig.messages)
    assert 1000 - 145 <= clock.seconds <= 1000 - 110 - 10  # the final check follows, on all images


def test_an_expensive_final_check_is_measured_early(tmp_path):
    clock = Clock()
    noise = ticking(clock, 2.0)
    rig = Rig(
        tmp_path, clock, time_budget=1000.0, before=noise, images=1000, validation_seconds=100.0, steps_per_epoch=10**6
    )
    rig.fit()
    assert rig.validations[0] == 4, "three steps after the first, which traces the network"
    assert 1000 - 145 <= clock.seconds <= 1000 - 110 - 10, "more than with the estimate of 400 seconds"


def test_with_epochs_every_validation_uses_all_images(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=2, images=1000, validation_seconds=100.0)
    rig.fit()
    assert rig.validation_images == [1000, 1000]


def test_a_budget_shorter_than_the_final_check_is_an_early_error(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=100.0, before=ticking(clock, 0.5), images=1000, validation_seconds=300.0)
    with pytest.raises(BudgetTooShort, match=r"1000 held-out images .*about 380 s\. Give 416 s"):
        rig.fit()
    assert clock.seconds < 15


def test_no_validation_starts_that_would_not_end_in_time(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=100.0, before=ticking(clock, 2.0), validation_seconds=30.0)
    rig.fit()
    assert clock.seconds <= 110
    assert rig.validations[-1] == rig.trainer.state.step


def test_each_learning_rate_cycle_but_the_last_ends_with_a_snapshot(tmp_path):
    rig, weights = Rig(tmp_path, Clock(), epochs=6, lr_cycles=3, warmup=0.0), {}

    def watch(progress):
        weights[progress.step] = [np.array(weight) for weight in rig.trainer.network.trainable_weights]

    rig.fit(watch)
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == ["1", "2"]
    for number, step in ((1, 8), (2, 16)):
        engine = open_engine(rig.run.snapshot(number))
        for saved, expected in zip(engine.network.trainable_weights, weights[step], strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(saved), expected)
    rates = {row["step"]: row["learning_rate"] for row in rig.rows}
    assert rates[8] < rates[4] == rates[12], "it falls and returns to the peak"


def test_an_interruption_between_snapshots_does_not_change_them(tmp_path):
    def snapshots(rig):
        files = [rig.run.snapshot(number) / "model.keras" for number in (1, 2)]
        networks = [load_keras_engine(file, bundle()).network for file in files]
        return [weight.tobytes() for network in networks for weight in network.get_weights()]

    def stop_at(step):
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    recipe = {"epochs": 3, "lr_cycles": 3, "warmup": 0.0, "score": score_of_weights}
    straight = Rig(tmp_path / "straight", Clock(), **recipe)
    straight.fit()
    stopped = Rig(tmp_path / "run", Clock(), before=stop_at, **recipe)
    assert stopped.fit().stopped_by == "interrupt"
    resumed = Rig(tmp_path / "run", Clock(), **recipe)
    resumed.resumed()
    assert snapshots(resumed) == snapshots(straight)
    assert resumed.result() == straight.result()


def test_with_weight_averaging_the_mean_of_the_last_weights_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "AVERAGING_INTERVAL", 1)
    rig, weights = Rig(tmp_path, Clock(), epochs=3, weight_averaging=0.5), []
    rig.fit(lambda _: weights.append([np.array(weight) for weight in rig.trainer.network.trainable_weights]))
    saved = load_keras_engine(rig.run.network, bundle()).network.trainable_weights
    assert len(weights) == 12
    for weight, *steps in zip(saved, *weights[6:], strict=True):
        np.testing.assert_allclose(weight, np.mean(steps, axis=0), rtol=1e-5, atol=1e-7)
    for weight, last in zip(rig.trainer.network.trainable_weights, weights[-1], strict=True):
        np.testing.assert_array_equal(weight, last)


def test_the_final_loss_replaces_the_loss_from_its_start(tmp_path, monkeypatch):
    rig, steps = Rig(tmp_path, Clock(), epochs=3, final_loss=FinalLoss(loss={"dice": 1}, start=0.75)), []
    compiled = []

    def make_train_step(network, *, fuse_loss):
        compiled.append((rig.trainer.state.step, network.loss.get_config()["name"]))
        return lambda images, masks: steps.append(rig.trainer.state.step) or 0.5

    monkeypatch.setattr(training_steps, "make_train_step", make_train_step)
    rig.fit()
    assert ([step for step, _ in compiled], steps) == ([9], [9, 10, 11])
    assert "dice" in compiled[0][1].lower()
    assert any("final loss" in line and "step 10" in line for line in rig.messages)


def test_a_return_to_a_checkpoint_before_the_final_loss_restores_the_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_CHECKPOINT_SECONDS", 3.5)
    clock, compiled, faults = Clock(), [], iter([True])
    rig = Rig(
        tmp_path,
        clock,
        before=ticking(clock, 1.0),
        epochs=3,
        loss={"cross_entropy": 1},
        final_loss=FinalLoss(loss={"dice": 1}, start=0.75),
    )

    def make_train_step(network, *, fuse_loss):
        compiled.append((rig.trainer.state.step, "dice" in network.loss.get_config()["name"]))
        return lambda images, masks: np.nan if rig.trainer.state.step == 10 and next(faults, False) else 0.5

    monkeypatch.setattr(training_steps, "make_train_step", make_train_step)
    rig.fit()
    assert [line.split(":")[0] for line in rig.messages if "nan" in line] == ["The loss became nan at step 10"]
    assert compiled == [(9, True), (8, False), (9, True)]


NAN_BATCH = np.full((2, 8, 8, 1), np.nan, np.float32)


def test_after_a_nan_loss_training_returns_to_the_checkpoint_at_half_the_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_CHECKPOINT_SECONDS", 3.5)
    bad, clock, taken = iter([NAN_BATCH]), Clock(), []

    def once_bad(step):
        clock.seconds += 1.0
        taken.append(step)
        return next(bad, None) if step == 6 else None

    rig = Rig(tmp_path, clock, before=once_bad, epochs=3, learning_rate=0.02, warmup=0.0)
    outcome = rig.fit()
    (line,) = outcome.state.nan_recoveries
    assert line in rig.messages
    assert re.search(r"loss became nan at step 6: .* step 4 .* 0\.01\.$", line)
    assert taken == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10, 11]
    # At the last step of each epoch: half a cosine over 12 steps, halved after the first epoch.
    cosine = 0.02 * (1 + np.cos(np.pi * np.array([3, 7, 11]) / 12)) / 2
    assert [row["learning_rate"] for row in rig.rows] == pytest.approx(cosine * [1, 0.5, 0.5], rel=1e-5)
    assert all(np.isfinite(weight).all() for weight in rig.trainer.network.get_weights())


def test_a_loss_that_stays_nan_is_an_error_after_three_recoveries(tmp_path):
    rig = Rig(tmp_path, before=lambda step: NAN_BATCH if step == 2 else None, epochs=1, learning_rate=0.08)
    expected = r"The loss became nan at step 2 of .* peak learning rate of 0\.01 .* 3 returns .*--overwrite"
    with pytest.raises(LossNotFinite, match=expected):
        rig.fit()
    assert [line.split(" ")[-1] for line in rig.messages] == ["0.04.", "0.02.", "0.01."]


def test_checkpoints_are_also_saved_within_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_CHECKPOINT_SECONDS", 1.5)
    clock = Clock()
    rig = Rig(tmp_path, clock, before=ticking(clock, 1.0), epochs=1)

    def killed(progress):
        if progress.step == 3:
            raise SystemExit

    with pytest.raises(SystemExit):
        rig.fit(killed)
    resumed = Rig(tmp_path, epochs=1)
    resumed.resumed()
    assert resumed.messages[0] == "Resuming at step 2 of 4."


def test_infinite_weights_after_the_last_step_of_an_epoch_are_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_CHECKPOINT_SECONDS", 3.5)
    clock, faults = Clock(), iter([True])
    rig = Rig(tmp_path, clock, before=ticking(clock, 1.0), epochs=2)

    def make_infinite(progress):
        if progress.step == 4 and next(faults, False):
            rig.trainer.network.layers[-1].kernel.assign([[[[np.inf]]]])

    rig.fit(make_infinite)
    assert re.search(r"weights became nan or infinite at step 4: .* step 0 ", rig.messages[0])
    assert rig.validations == [4, 8]  # none with infinite weights


def test_training_stops_after_patience_validations_without_gain(tmp_path):
    outcome = Rig(tmp_path, epochs=9, scores=(0.4, 0.5, 0.5, 0.3), patience=2).fit()
    assert (outcome.stopped_by, outcome.state.step) == ("patience", 16)


def test_a_monitored_dice_coefficient_is_recorded_and_stops_training(tmp_path):
    rig = Rig(tmp_path, epochs=9, scores=(0.4, 0.5, 0.5, 0.3), patience=2, monitor="dice")
    outcome = rig.fit()
    assert [row["val_dice"] for row in rig.rows] == pytest.approx([2 * iou / (1 + iou) for iou in (0.4, 0.5, 0.5, 0.3)])
    assert outcome.state.best == pytest.approx(1 / 1.5)
    assert (outcome.stopped_by, outcome.state.step) == ("patience", 16)
    assert (tmp_path / "checkpoints/last.keras").is_file()


def test_the_same_seed_gives_identical_bits(tmp_path):
    one, same, other = Rig(tmp_path / "1", epochs=2), Rig(tmp_path / "2", epochs=2), Rig(tmp_path / "3", epochs=2)
    other.trainer.network.layers[-1].bias.assign([1e-3])
    for rig in (one, same, other):
        rig.fit()
    assert one.result() == same.result() != other.result()


def test_a_budget_spent_before_the_first_step_is_an_error(tmp_path):
    clock = Clock()
    clock.seconds = 40.0
    with pytest.raises(BudgetTooShort, match=r"30 s is too short: 40 s .*before the first step"):
        Rig(tmp_path, clock, time_budget=30.0).fit()


def test_an_interrupt_before_the_first_step_is_raised(tmp_path):
    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rig(tmp_path, Clock(), epochs=1, before=interrupt).fit()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 5, 7])  # before the first validation, between two, and in an epoch's last step
def test_a_stopped_training_resumes_to_the_same_result(tmp_path, number, at):
    def stop_at(step):
        if step == at:
            signal.raise_signal(number)

    straight = Rig(tmp_path / "straight", epochs=3, score=score_of_weights)
    straight.fit()
    stopped = Rig(tmp_path / "stopped", before=stop_at, epochs=3, score=score_of_weights)
    outcome = stopped.fit()
    assert (outcome.stopped_by, outcome.state.step) == ("interrupt", at + 1)
    assert stopped.run.network.is_file()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    resumed = Rig(tmp_path / "stopped", epochs=3, score=score_of_weights)
    resumed.resumed()
    assert resumed.messages == [f"Resuming at step {at + 1} of 12."]
    if at > 3:
        assert resumed.result() == straight.result()
    for ours, theirs in zip(resumed.trainer.network.get_weights(), straight.trainer.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_second_signal_stops_at_once(tmp_path):
    def stop_at(step):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    rig = Rig(tmp_path, before=stop_at, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        rig.fit()
    assert rig.trainer.state.step == 5


def test_a_full_disk_prevents_checkpoints_and_not_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_CHECKPOINT_SECONDS", 0.0)
    clock, sync = Clock(), os.fsync
    rig = Rig(tmp_path, clock, before=ticking(clock, 1.0), epochs=5)

    def full(file):
        if 4 <= rig.trainer.state.step < 16:  # the first three epochs
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(write.os, "fsync", full)
    outcome = rig.fit()
    warnings = [line for line in rig.messages if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert re.search(
        r"model\.keras was not written, the disk has [\d,]+ MB free; "
        r"training continues and tries again at the next checkpoint$",
        warnings[0],
    )
    assert outcome.state.best_step == 20
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]  # no incomplete write is left
    resumed = Rig(tmp_path, epochs=5)
    resumed.trainer.resume()
    assert resumed.messages == ["Resuming at step 20 of 20."]


def test_a_result_without_room_on_the_disk_is_an_error_with_its_name(tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*model\.keras'"):
        Rig(tmp_path, epochs=1).fit()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_training_killed_after_its_last_validation_does_not_repeat_it(tmp_path):
    rig = Rig(tmp_path, epochs=1)
    rig.fit()
    rig.run.last_network.unlink()  # as if killed before the last file
    resumed = Rig(tmp_path, epochs=1)
    resumed.resumed()
    assert (resumed.rows, resumed.result()) == ([], rig.result())
    assert resumed.run.last_network.is_file()


def test_the_previous_checkpoint_is_used_if_the_last_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_CHECKPOINT_SECONDS", 3.5)
    clock = Clock()
    straight = Rig(tmp_path / "straight", clock, before=ticking(clock, 1.0), epochs=2, score=score_of_weights)
    straight.fit()
    rig = Rig(tmp_path / "run", clock, before=ticking(clock, 1.0), epochs=2, score=score_of_weights)
    rig.fit()
    rig.run.checkpoint.write_bytes(rig.run.checkpoint.read_bytes()[:-1])
    resumed = Rig(tmp_path / "run", epochs=2, score=score_of_weights)
    resumed.resumed()
    assert "last.npz is damaged" in resumed.messages[0]
    assert resumed.messages[1] == "Resuming at step 4 of 8."
    assert resumed.result() == straight.result()


def test_a_network_saved_after_the_last_checkpoint_sets_the_best_score(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=1, scores=(0.3,))
    rig.fit()
    rig.trainer._save_network(rig.run.network)  # as if killed before the checkpoint was written
    resumed = Rig(tmp_path, Clock(), time_budget=1000.0, scores=(0.8, 0.5))
    resumed.trainer.resume()
    assert resumed.trainer.state.best == pytest.approx(0.8)
    by_epochs = Rig(tmp_path, Clock(), epochs=2, scores=(0.8, 0.5))  # reaches the same network again
    by_epochs.trainer.resume()
    assert by_epochs.trainer.state.best == pytest.approx(0.3)


def test_a_missed_class_is_reported_and_oversampled(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=5, scores=(0.0, 0.0, 0.0, 0.3, 0.0))
    rig.fit()
    (line,) = rig.messages
    assert "cell" in line
    # From the second validation on, after the three prefetched batches, until it is predicted.
    assert rig.trainer.patches.oversampled == ([(8 + 3, [1]), (16 + 3, [])], 0.33)
    resumed = Rig(tmp_path, epochs=5)
    resumed.trainer.resume()
    assert [tuple(entry) for entry in resumed.trainer.state.oversampled] == [(11, ["cell"]), (19, [])]


def test_the_encoder_is_frozen_until_its_fraction_of_the_run(tmp_path):
    rates = []
    rig = Rig(tmp_path, epochs=2, freeze_encoder_until=0.5, encoder_lr_multiplier=0.1)
    rig.fit(lambda progress: rates.append(float(rig.trainer.network.optimizer.encoder_lr_multiplier)))
    assert rates == pytest.approx([0.0] * 4 + [0.1] * 4)
