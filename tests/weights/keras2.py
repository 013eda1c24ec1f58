"""Write weights in the format of Keras 2, for networks whose layers all have given names."""

import h5py
import keras


def write_keras2(network: keras.Model, file: str) -> None:
    """Save the weights of ``network`` to ``file``: one group per layer, with names as attributes."""
    with h5py.File(file, "w") as root:
        root.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        root.attrs["backend"] = b"tensorflow"
        root.attrs["keras_version"] = b"2.1.6"
        for layer in network.layers:
            group = root.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()
