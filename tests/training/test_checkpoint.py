import keras
import numpy as np
import pytest

from maskwright.training.checkpoint import UnreadableCheckpoint, load_checkpoint, save_checkpoint


def network(seed, units=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(units)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(optimizer=keras.optimizers.AdamW(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


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


def test_a_flipped_bit_is_found(tmp_path):
    save_checkpoint(tmp_path / "c.npz", network(1), {})
    damaged = bytearray((tmp_path / "c.npz").read_bytes())
    damaged[damaged.index(b"network/0.npy") + 200] ^= 1
    (tmp_path / "c.npz").write_bytes(damaged)
    with pytest.raises(UnreadableCheckpoint, match="damaged"):
        load_checkpoint(tmp_path / "c.npz", network(1))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    save_checkpoint(tmp_path / "c.npz", network(1, units=3), {})
    with pytest.raises(UnreadableCheckpoint, match="its weights are those of another network"):
        load_checkpoint(tmp_path / "c.npz", network(1, units=4))


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "c.npz", state=np.array([{"step": 1}], dtype=object))
    with pytest.raises(UnreadableCheckpoint, match="allow_pickle"):
        load_checkpoint(tmp_path / "c.npz", network(1))
