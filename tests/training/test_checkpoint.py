import hashlib
import os

import keras
import numpy as np
import pytest

from maskwright.training.checkpoint import Checkpoints, DamagedCheckpoint, UnreadableCheckpoint


def network(seed, units=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(units)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(optimizer=keras.optimizers.AdamW(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "last.npz", tmp_path / "previous.npz")


def data(step):
    generator = np.random.default_rng(step)
    return generator.normal(size=(8, 4)), generator.normal(size=(8, 2))


def test_a_restored_training_continues_as_if_uninterrupted(checkpoints):
    uninterrupted, interrupted = network(1), network(1)
    for step in range(6):
        uninterrupted.train_on_batch(*data(step))
    for step in range(3):
        interrupted.train_on_batch(*data(step))
    checkpoints.save(interrupted, {"step": 3})

    restored = network(2)
    assert checkpoints.load(restored).state == {"step": 3}
    for step in range(3, 6):
        restored.train_on_batch(*data(step))
    for expected, found in zip(uninterrupted.variables, restored.variables, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), rtol=1e-5)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_a_truncated_checkpoint_is_an_error(checkpoints, fraction):
    checkpoints.save(network(1), {})
    whole = checkpoints.newest.read_bytes()
    checkpoints.newest.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(DamagedCheckpoint, match=r"last\.npz: .*--overwrite"):
        checkpoints.load(network(1))


@pytest.mark.parametrize("offset", [0, 40, 1000, -60, -1])  # headers, an array, the archive's end, the digest
def test_a_flipped_bit_is_an_error(checkpoints, offset):
    checkpoints.save(network(1), {})
    damaged = bytearray(checkpoints.newest.read_bytes())
    damaged[offset] ^= 1
    checkpoints.newest.write_bytes(damaged)
    with pytest.raises(DamagedCheckpoint, match=r"last\.npz: .*digest"):
        checkpoints.load(network(1))


def test_the_digest_is_the_sha256_of_all_preceding_bytes(checkpoints):
    checkpoints.save(network(1), {})
    whole = checkpoints.newest.read_bytes()
    assert whole[-32:] == hashlib.sha256(whole[:-32]).digest()


def test_a_checkpoint_of_another_network_is_an_error(checkpoints):
    checkpoints.save(network(1, units=3), {})
    with pytest.raises(UnreadableCheckpoint, match="another network"):
        checkpoints.load(network(1, units=4))


def test_nothing_is_unpickled(checkpoints):
    np.savez(checkpoints.newest, state=np.array([{"step": 1}], dtype=object))
    pickled = checkpoints.newest.read_bytes()
    checkpoints.newest.write_bytes(pickled + hashlib.sha256(pickled).digest())
    with pytest.raises(UnreadableCheckpoint, match="allow_pickle"):
        checkpoints.load(network(1))


def damage(file):
    file.write_bytes(file.read_bytes()[:-40])


def test_the_previous_checkpoint_replaces_a_damaged_newest_one(checkpoints):
    for step in range(3):
        checkpoints.save(network(1), {"step": step})
    assert checkpoints.load(network(1)) == ({"step": 2}, checkpoints.newest, None, {})
    damage(checkpoints.newest)
    assert checkpoints.load(network(1)) == ({"step": 1}, checkpoints.previous, checkpoints.newest, {})
    damage(checkpoints.previous)
    with pytest.raises(UnreadableCheckpoint, match=r"previous\.npz: .*damaged"):
        checkpoints.load(network(1))


def test_a_weight_average_is_stored_too(checkpoints):
    average = {"number": np.array(3), "0": np.arange(4, dtype=np.float32)}
    checkpoints.save(network(1), {"step": 1}, average=average)
    restored = checkpoints.load(network(1)).average
    assert restored.keys() == average.keys()
    assert all((restored[name] == array).all() for name, array in average.items())


def test_a_checkpoint_found_damaged_never_replaces_an_intact_one(checkpoints, monkeypatch):
    for step in range(2):
        checkpoints.save(network(1), {"step": step})
    damage(checkpoints.newest)
    reopened = Checkpoints(checkpoints.newest, checkpoints.previous)
    reopened.load(network(1))

    def killed(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            reopened.save(network(1), {"step": 2})
    assert reopened.load(network(1)).state == {"step": 0}
    reopened.save(network(1), {"step": 2})
    damage(checkpoints.newest)
    assert reopened.load(network(1)).state == {"step": 0}


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_an_intact_checkpoint(checkpoints, monkeypatch, failing):
    for step in range(2):
        checkpoints.save(network(1), {"step": step})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                checkpoints.save(network(1), {"step": 2})
            assert checkpoints.load(network(1)).state == {"step": 1}
    checkpoints.save(network(1), {"step": 3})
    assert checkpoints.load(network(1)).state == {"step": 3}
    damage(checkpoints.newest)
    assert checkpoints.load(network(1)).state == {"step": 1}


def test_a_checkpoint_damaged_after_writing_does_not_replace_the_previous(checkpoints):
    for step in (1, 2):
        checkpoints.save(network(step), {"step": step})
    whole = checkpoints.previous.read_bytes()
    checkpoints.newest.write_bytes(checkpoints.newest.read_bytes()[:-1])
    assert checkpoints.load(network(3)).state == {"step": 1}
    checkpoints.save(network(3), {"step": 3})
    assert checkpoints.previous.read_bytes() == whole
    assert checkpoints.load(network(3)).state == {"step": 3}
