import hashlib
import os

import keras
import numpy as np
import pytest

from maskwright.training.checkpoint import Checkpoints, UnreadableCheckpoint, load_checkpoint


def network(seed, units=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(units)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(optimizer=keras.optimizers.AdamW(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def save_checkpoint(file, network, state):
    Checkpoints(file, file.with_name("previous.npz")).save(network, state)


def data(step):
    generator = np.random.default_rng(step)
    return generator.normal(size=(8, 4)), generator.normal(size=(8, 2))


def test_a_restored_training_goes_on_as_if_nothing_had_happened(tmp_path):
    straight, interrupted = network(1), network(1)
    for step in range(6):
        straight.train_on_batch(*data(step))
    for step in range(3):
        interrupted.train_on_batch(*data(step))
    save_checkpoint(tmp_path / "c.npz", interrupted, {"step": 3})

    restored = network(2)
    assert load_checkpoint(tmp_path / "c.npz", restored) == {"step": 3}
    for step in range(3, 6):
        restored.train_on_batch(*data(step))
    for expected, found in zip(straight.variables, restored.variables, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_checkpoint_is_refused(tmp_path, share):
    save_checkpoint(tmp_path / "c.npz", network(1), {})
    whole = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableCheckpoint, match=r"c\.npz: cannot go on from this checkpoint: it is damaged"):
        load_checkpoint(tmp_path / "c.npz", network(1))


@pytest.mark.parametrize("place", [0, 40, 1000, -60, -1])  # headers, an array, the archive's end, the digest
def test_a_flipped_bit_is_found(tmp_path, place):
    save_checkpoint(tmp_path / "c.npz", network(1), {})
    damaged = bytearray((tmp_path / "c.npz").read_bytes())
    damaged[place] ^= 1
    (tmp_path / "c.npz").write_bytes(damaged)
    with pytest.raises(UnreadableCheckpoint, match=r"it is damaged \(its digest does not fit\)"):
        load_checkpoint(tmp_path / "c.npz", network(1))


def test_the_digest_is_the_sha256_of_all_before_it(tmp_path):
    save_checkpoint(tmp_path / "c.npz", network(1), {})
    whole = (tmp_path / "c.npz").read_bytes()
    assert whole[-32:] == hashlib.sha256(whole[:-32]).digest()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    save_checkpoint(tmp_path / "c.npz", network(1, units=3), {})
    with pytest.raises(UnreadableCheckpoint, match="its weights are those of another network"):
        load_checkpoint(tmp_path / "c.npz", network(1, units=4))


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "c.npz", state=np.array([{"step": 1}], dtype=object))
    pickled = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(pickled + hashlib.sha256(pickled).digest())
    with pytest.raises(UnreadableCheckpoint, match="allow_pickle"):
        load_checkpoint(tmp_path / "c.npz", network(1))


@pytest.fixture
def pair(tmp_path):
    return Checkpoints(tmp_path / "last.npz", tmp_path / "previous.npz")


def spoil(file):
    file.write_bytes(file.read_bytes()[:-40])


def test_the_newest_is_what_is_read_and_the_one_before_it_where_that_is_damaged(pair):
    for step in range(3):
        pair.save(network(1), {"step": step})
    assert pair.load(network(1)) == ({"step": 2}, pair.newest, None, {})
    spoil(pair.newest)
    assert pair.load(network(1)) == ({"step": 1}, pair.previous, pair.newest, {})
    spoil(pair.previous)
    with pytest.raises(UnreadableCheckpoint, match=r"previous\.npz: .*damaged"):
        pair.load(network(1))


def test_an_average_is_kept_beside_the_weights(pair):
    average = {"number": np.array(3), "0": np.arange(4, dtype=np.float32)}
    pair.save(network(1), {"step": 1}, average=average)
    restored = pair.load(network(1)).average
    assert restored.keys() == average.keys()
    assert all((restored[name] == array).all() for name, array in average.items())


def test_one_that_is_damaged_never_takes_the_place_of_one_that_is_whole(pair, monkeypatch):
    for step in range(2):
        pair.save(network(1), {"step": step})
    spoil(pair.newest)
    again = Checkpoints(pair.newest, pair.previous)
    again.load(network(1))

    def killed(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            again.save(network(1), {"step": 2})
    assert again.load(network(1)).state == {"step": 0}
    again.save(network(1), {"step": 2})
    spoil(pair.newest)
    assert again.load(network(1)).state == {"step": 0}


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_one_to_go_on_from(pair, monkeypatch, failing):
    for step in range(2):
        pair.save(network(1), {"step": step})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                pair.save(network(1), {"step": 2})
            assert pair.load(network(1)).state == {"step": 1}
    pair.save(network(1), {"step": 3})
    assert pair.load(network(1)).state == {"step": 3}
    spoil(pair.newest)
    assert pair.load(network(1)).state == {"step": 1}


def test_one_that_is_damaged_after_it_was_written_does_not_take_the_place_of_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path / "last.npz", tmp_path / "previous.npz")
    for step in (1, 2):
        checkpoints.save(network(step), {"step": step})
    whole = checkpoints.previous.read_bytes()
    checkpoints.newest.write_bytes(checkpoints.newest.read_bytes()[:-1])
    assert checkpoints.load(network(3)).state == {"step": 1}
    checkpoints.save(network(3), {"step": 3})
    assert checkpoints.previous.read_bytes() == whole
    assert checkpoints.load(network(3)).state == {"step": 3}
