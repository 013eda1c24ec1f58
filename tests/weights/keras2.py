"""Files laid out as Keras 2 lays them out, for networks whose layers all have names."""

import h5py
import keras


def write_keras2(network: keras.Model, file: str) -> None:
    """Save the weights of ``network`` to ``file``: a group a layer, attributes with names, arrays beneath."""
    with h5py.File(file, "w") as opened:
        opened.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        opened.attrs["backend"] = b"tensorflow"
        opened.attrs["keras_version"] = b"2.1.6"
        for layer in network.layers:
            group = opened.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()
