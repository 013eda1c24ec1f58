"""Write Keras 2 h5 files without Keras 2."""

import json

import h5py
import keras
import numpy as np


def write_layers(group, layers):
    """Write ``layers``, arrays by weight by layer, to an HDF5 group; a layer without weights has an empty mapping."""
    group.attrs["layer_names"] = [name.encode() for name in layers]
    for name, arrays in layers.items():
        inner = group.create_group(name)
        stored = [f"{name}/{weight}:0" for weight in arrays]
        inner.attrs["weight_names"] = [weight.encode() for weight in stored]
        for path, array in zip(stored, arrays.values(), strict=True):
            inner[path] = array


def write_weights(file, layers):
    """Write a weights-only file and return its path."""
    with h5py.File(file, "w") as root:
        write_layers(root, layers)
    return file


def write_model(file, layers, configs, *, output, optimizer=False, inputs=None):
    """Write a whole model and return its path.

    Args:
        file: The path.
        layers: Arrays by weight by layer.
        configs: Class and settings of each layer.
        output: Name of the last layer.
        optimizer: Whether the file has an optimizer state.
        inputs: Names of the input layers by layer.
    """
    with h5py.File(file, "w") as root:
        write_layers(root.create_group("model_weights"), layers)
        entries = [
            {
                "class_name": kind,
                "name": settings["name"],
                "config": settings,
                "inbound_nodes": [[[name, 0, 0, {}] for name in sources]]
                if (sources := (inputs or {}).get(settings["name"]))
                else [],
            }
            for kind, settings in configs
        ]
        config = {"name": "model", "layers": entries, "output_layers": [[output, 0, 0]]}
        root.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config})
        if optimizer:
            root.create_group("optimizer_weights")
    return file


def layers_of(network):
    """Return the arrays of a network by weight by layer."""
    return {
        layer.name: {weight.name: np.array(weight) for weight in layer.weights}
        for layer in network.layers
        if layer.weights
    }


def layer_configs(network):
    """Return class and settings of each layer of a network, as Keras 2 stores them."""
    layers = [(type(layer).__name__, layer.get_config()) for layer in network.layers]
    return [
        (kind, config | {"batch_input_shape": config.get("batch_shape"), "dtype": "float32"}) for kind, config in layers
    ]


def inputs_of(network):
    """Return the names of the input layers of each layer of a network."""
    sources = {id(layer.output): layer.name for layer in network.layers}
    return {
        layer.name: [sources[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        for layer in network.layers
        if not isinstance(layer, keras.layers.InputLayer)
    }
