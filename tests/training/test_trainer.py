"""The loop, with the network, the patches and the clock of the rig."""

import errno
import os
import signal

import keras
import numpy as np
import pytest

import maskwright.images.write as write
import maskwright.training.trainer as fit
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.engines.keras import load_keras_engine
from maskwright.training.nan_recovery import LossNotFinite
from maskwright.training.recipe import FinalLoss
from maskwright.training.time_budget import BudgetTooShort
from tests.inference.fake_engines import bundle
from tests.training.rig import Clock, Rig, score_of_weights, ticking


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


def test_of_more_validation_images_than_the_clock_allows_the_same_some_are_looked_at_on_the_way(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=1000.0, before=ticking(clock, 2.0), images=1000, validation_seconds=100.0)
    rig.fit()
    assert len(rig.looked_at) > 2
    assert set(rig.looked_at) == {32}  # guessed by the steps to take longer than it does
    assert any("looks at 32 of the 1000 validation images" in line for line in rig.said)
    assert 1000 - 145 <= clock.seconds <= 1000 - 110 - 10  # the proof is still to come, on all of them


def test_where_much_is_kept_for_the_proof_its_cost_is_soon_measured(tmp_path):
    clock = Clock()
    noise = ticking(clock, 2.0)
    rig = Rig(
        tmp_path, clock, time_budget=1000.0, before=noise, images=1000, validation_seconds=100.0, steps_per_epoch=10**6
    )
    rig.fit()
    assert rig.validations[0] == 4, "three steps after the first, which traces the network"
    assert 1000 - 145 <= clock.seconds <= 1000 - 110 - 10, "and not less, for a prediction of 400 seconds"


def test_by_epochs_all_validation_images_are_looked_at(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=2, images=1000, validation_seconds=100.0)
    rig.fit()
    assert rig.looked_at == [1000, 1000]


def test_a_budget_that_the_proof_alone_outlasts_is_refused_early(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=100.0, before=ticking(clock, 0.5), images=1000, validation_seconds=300.0)
    with pytest.raises(BudgetTooShort, match=r"on 1000 held-out images, takes about 380 s\. Give 416 s"):
        rig.fit()
    assert clock.seconds < 15


def test_no_validation_is_begun_that_would_not_end_in_time(tmp_path):
    clock = Clock()
    rig = Rig(tmp_path, clock, time_budget=100.0, before=ticking(clock, 2.0), validation_seconds=30.0)
    rig.fit()
    assert clock.seconds <= 110
    assert rig.validations[-1] == rig.trainer.state.step


def test_each_cycle_of_the_rate_but_the_last_leaves_a_snapshot_that_predicts(tmp_path):
    rig, seen = Rig(tmp_path, Clock(), epochs=6, lr_cycles=3, warmup=0.0), {}

    def watch(progress):
        seen[progress.step] = [np.array(weight) for weight in rig.trainer.network.trainable_weights]

    rig.fit(watch)
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == ["1", "2"]
    for number, step in ((1, 8), (2, 16)):
        engine = open_engine(rig.run.snapshot(number))
        for saved, learnt in zip(engine.network.trainable_weights, seen[step], strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(saved), learnt)
    rates = {row["step"]: row["learning_rate"] for row in rig.rows}
    assert rates[8] < rates[4] == rates[12], "it falls, and leaps up again"


def test_interrupted_between_snapshots_it_leaves_the_same_ones(tmp_path):
    def snapshots(rig):
        files = [rig.run.snapshot(number) / "model.keras" for number in (1, 2)]
        networks = [load_keras_engine(file, bundle()).network for file in files]
        return [weight.tobytes() for network in networks for weight in network.get_weights()]

    def asking(step):
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    recipe = {"epochs": 3, "lr_cycles": 3, "warmup": 0.0, "score": score_of_weights}
    straight = Rig(tmp_path / "straight", Clock(), **recipe)
    straight.fit()
    stopped = Rig(tmp_path / "run", Clock(), before=asking, **recipe)
    assert stopped.fit().stopped_by == "interrupt"
    again = Rig(tmp_path / "run", Clock(), **recipe)
    again.resumed()
    assert snapshots(again) == snapshots(straight)
    assert again.result() == straight.result()


def test_the_mean_of_the_last_weights_is_what_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "EVERY", 1)
    rig, seen = Rig(tmp_path, Clock(), epochs=3, weight_averaging=0.5), []
    rig.fit(lambda _: seen.append([np.array(weight) for weight in rig.trainer.network.trainable_weights]))
    saved = load_keras_engine(rig.run.network, bundle()).network.trainable_weights
    assert len(seen) == 12
    for place, weight in enumerate(saved):
        np.testing.assert_allclose(weight, np.mean([one[place] for one in seen[6:]], axis=0), rtol=1e-5, atol=1e-7)
    for weight, last in zip(rig.trainer.network.trainable_weights, seen[-1], strict=True):
        np.testing.assert_array_equal(weight, last)


def test_towards_the_end_another_step_takes_over(tmp_path):
    rig, made, taken = Rig(tmp_path, Clock(), epochs=3, final_loss=FinalLoss(loss={"dice": 1}, start=0.75)), [], []

    def late():
        made.append(rig.trainer.state.step)
        return lambda images, masks: taken.append(rig.trainer.state.step) or 0.5

    rig.trainer._late = late
    rig.fit()
    assert (made, taken) == ([9], [9, 10, 11])


NAN_BATCH = np.full((2, 8, 8, 1), np.nan, np.float32)


def test_a_loss_that_is_no_number_sends_it_back_to_the_checkpoint_at_half_the_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_SECONDS", 3.5)
    bad, clock, taken = iter([NAN_BATCH]), Clock(), []

    def once_bad(step):
        clock.seconds += 1.0
        taken.append(step)
        return next(bad, None) if step == 6 else None

    rig = Rig(tmp_path, clock, before=once_bad, epochs=3, learning_rate=0.02, warmup=0.0)
    outcome = rig.fit()
    line = "The loss became nan at step 6: goes back to step 4, at half the learning rate, 0.01 at its peak."
    assert line in rig.said
    assert outcome.state.went_back == [line]
    assert taken == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10, 11]
    # Of the last step of each epoch: half a cosine over 12 steps, halved after the first epoch.
    cosine = 0.02 * (1 + np.cos(np.pi * np.array([3, 7, 11]) / 12)) / 2
    assert [row["learning_rate"] for row in rig.rows] == pytest.approx(cosine * [1, 0.5, 0.5], rel=1e-5)
    assert all(np.isfinite(weight).all() for weight in rig.trainer.network.get_weights())


def test_a_loss_that_stays_no_number_ends_the_run_after_going_back_three_times(tmp_path):
    rig = Rig(tmp_path, before=lambda step: NAN_BATCH if step == 2 else None, epochs=1, learning_rate=0.08)
    expected = (
        r"The loss became nan at step 2 of .*, at a peak learning rate of 0\.01 .* 3 times in a row\. .*--overwrite"
    )
    with pytest.raises(LossNotFinite, match=expected):
        rig.fit()
    assert [line.split(",")[-1] for line in rig.said] == [f" {rate} at its peak." for rate in (0.04, 0.02, 0.01)]


def test_checkpoints_do_not_wait_for_the_end_of_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_SECONDS", 1.5)
    clock = Clock()
    rig = Rig(tmp_path, clock, before=ticking(clock, 1.0), epochs=1)

    def killed(progress):
        if progress.step == 3:
            raise SystemExit

    with pytest.raises(SystemExit):
        rig.fit(killed)
    again = Rig(tmp_path, epochs=1)
    again.resumed()
    assert again.said[0] == "Goes on at step 2 of 4."


def test_weights_spoilt_by_the_last_step_of_an_epoch_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_SECONDS", 3.5)
    clock, spoils = Clock(), iter([True])
    rig = Rig(tmp_path, clock, before=ticking(clock, 1.0), epochs=2)

    def spoil(progress):
        if progress.step == 4 and next(spoils, False):
            rig.trainer.network.layers[-1].kernel.assign([[[[np.inf]]]])

    rig.fit(spoil)
    assert "The weights became nan or infinite at step 4: goes back to step 0" in rig.said[0]
    assert rig.validations == [4, 8]  # none with the spoilt weights


def test_without_gain_it_ends_and_says_why(tmp_path):
    outcome = Rig(tmp_path, epochs=9, scores=(0.4, 0.5, 0.5, 0.3), patience=2).fit()
    assert (outcome.stopped_by, outcome.state.step) == ("patience", 16)
    assert (tmp_path / "checkpoints/last.keras").is_file()


def test_one_seed_is_one_result_to_the_bit(tmp_path):
    one, same, other = Rig(tmp_path / "1", epochs=2), Rig(tmp_path / "2", epochs=2), Rig(tmp_path / "3", epochs=2)
    other.trainer.network.layers[-1].bias.assign([1e-3])
    for rig in (one, same, other):
        rig.fit()
    assert one.result() == same.result() != other.result()


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 5, 7])  # before the first validation, between two, and in an epoch's last step
def test_asked_to_stop_it_finishes_the_step_and_goes_on_to_the_same_end(tmp_path, number, at):
    def asking(step):
        if step == at:
            signal.raise_signal(number)

    straight = Rig(tmp_path / "straight", epochs=3, score=score_of_weights)
    straight.fit()
    stopped = Rig(tmp_path / "stopped", before=asking, epochs=3, score=score_of_weights)
    outcome = stopped.fit()
    assert (outcome.stopped_by, outcome.state.step) == ("interrupt", at + 1)
    assert stopped.run.network.is_file()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    again = Rig(tmp_path / "stopped", epochs=3, score=score_of_weights)
    again.resumed()
    assert again.said == [f"Goes on at step {at + 1} of 12."]
    if at > 3:
        assert again.result() == straight.result()
    for ours, theirs in zip(again.trainer.network.get_weights(), straight.trainer.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_asked_twice_it_ends_at_once(tmp_path):
    def asking(step):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    rig = Rig(tmp_path, before=asking, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        rig.fit()
    assert rig.trainer.state.step == 5


def test_a_full_disk_costs_checkpoints_and_not_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_SECONDS", 0.0)
    clock, sync = Clock(), os.fsync
    rig = Rig(tmp_path, clock, before=ticking(clock, 1.0), epochs=5)

    def full(file):
        if 4 <= rig.trainer.state.step < 16:  # the first three epochs
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(write.os, "fsync", full)
    outcome = rig.fit()
    warnings = [line for line in rig.said if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "was not written, the disk has " in warnings[0]
    assert "MB free; training does without, and tries again" in warnings[0]
    assert outcome.state.best_step == 20
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]  # nothing half
    again = Rig(tmp_path, epochs=5)
    again.trainer.resume()
    assert again.said == ["Goes on at step 20 of 20."]


def test_a_result_that_finds_no_room_is_an_error_that_names_it(tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*model\.keras'"):
        Rig(tmp_path, epochs=1).fit()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_training_that_was_at_its_end_is_not_validated_again(tmp_path):
    rig = Rig(tmp_path, epochs=1)
    rig.fit()
    rig.run.last_network.unlink()  # as if killed before the last of its files
    again = Rig(tmp_path, epochs=1)
    again.resumed()
    assert (again.rows, again.result()) == ([], rig.result())
    assert again.run.last_network.is_file()


def test_a_damaged_checkpoint_is_replaced_by_the_one_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_SECONDS", 3.5)
    clock = Clock()
    straight = Rig(tmp_path / "straight", clock, before=ticking(clock, 1.0), epochs=2, score=score_of_weights)
    straight.fit()
    rig = Rig(tmp_path / "run", clock, before=ticking(clock, 1.0), epochs=2, score=score_of_weights)
    rig.fit()
    rig.run.checkpoint.write_bytes(rig.run.checkpoint.read_bytes()[:-1])
    again = Rig(tmp_path / "run", epochs=2, score=score_of_weights)
    again.resumed()
    assert "last.npz is damaged; in its place goes the checkpoint before it, " in again.said[0]
    assert again.said[1] == "Goes on at step 4 of 8."
    assert again.result() == straight.result()


def test_a_network_saved_after_the_last_checkpoint_is_what_later_ones_must_beat(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=1, scores=(0.3,))
    rig.fit()
    rig.trainer._save_network(rig.run.network)  # as if killed before the checkpoint was written
    again = Rig(tmp_path, Clock(), time_budget=1000.0, scores=(0.8, 0.5))
    again.trainer.resume()
    assert again.trainer.state.best == pytest.approx(0.8)
    by_epochs = Rig(tmp_path, Clock(), epochs=2, scores=(0.8, 0.5))  # finds the same once more by itself
    by_epochs.trainer.resume()
    assert by_epochs.trainer.state.best == pytest.approx(0.3)


def test_a_class_of_which_nothing_is_found_is_named_and_sought(tmp_path):
    rig = Rig(tmp_path, Clock(), epochs=5, scores=(0.0, 0.0, 0.0, 0.3, 0.0))
    rig.fit()
    sentence = "from here on a third of the patches of images with it show it."
    line = f"Not one pixel of cell is found so far: {sentence}"
    assert rig.said == [line]
    # From the second validation on, but for the three batches that are prepared; and not once it is found.
    assert rig.trainer.patches.sought == ([(8 + 3, [1]), (16 + 3, [])], 0.33)
    again = Rig(tmp_path, epochs=5)
    again.trainer.resume()
    assert [tuple(entry) for entry in again.trainer.state.sought] == [(11, ["cell"]), (19, [])]


def test_a_frozen_encoder_begins_to_learn_when_its_share_of_the_run_is_over(tmp_path):
    rates = []
    rig = Rig(tmp_path, epochs=2, freeze_encoder_until=0.5, encoder_lr_multiplier=0.1)
    rig.fit(lambda progress: rates.append(float(rig.trainer.network.optimizer.encoder_rate)))
    assert rates == pytest.approx([0.0] * 4 + [0.1] * 4)
