"""Keras 2 files written by hand, as its h5 format lays them out."""

import json

import h5py
import keras
import numpy as np


def write_layers(group, layers):
    """``layers``: name -> {weight name: array}; an empty one is a layer without weights."""
    group.attrs["layer_names"] = [name.encode() for name in layers]
    for name, arrays in layers.items():
        inner = group.create_group(name)
        stored = [f"{name}/{weight}:0" for weight in arrays]
        inner.attrs["weight_names"] = [weight.encode() for weight in stored]
        for path, array in zip(stored, arrays.values(), strict=True):
            inner[path] = array


def write_numbers(file, layers):
    with h5py.File(file, "w") as opened:
        write_layers(opened, layers)
    return file


def write_whole(file, layers, described, *, output, optimizer=False, inputs=None):
    """``described``: the layers of the model's description, as (class name, settings); ``inputs``: what each reads."""
    with h5py.File(file, "w") as opened:
        write_layers(opened.create_group("model_weights"), layers)
        listed = [
            {
                "class_name": kind,
                "name": settings["name"],
                "config": settings,
                "inbound_nodes": [[[name, 0, 0, {}] for name in read]]
                if (read := (inputs or {}).get(settings["name"]))
                else [],
            }
            for kind, settings in described
        ]
        config = {"name": "model", "layers": listed, "output_layers": [[output, 0, 0]]}
        opened.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config})
        if optimizer:
            opened.create_group("optimizer_weights")
    return file


def layers_of(network):
    """The layers of a network of ours, each with its arrays."""
    return {
        layer.name: {weight.name: np.array(weight) for weight in layer.weights}
        for layer in network.layers
        if layer.weights
    }


def described(network):
    """The layers of a network of ours as a Keras 2 description has them, settings and all."""
    layers = [(type(layer).__name__, layer.get_config()) for layer in network.layers]
    return [
        (kind, config | {"batch_input_shape": config.get("batch_shape"), "dtype": "float32"}) for kind, config in layers
    ]


def inputs_of(network):
    """The names of the layers that each layer of a network of ours reads."""
    sources = {id(layer.output): layer.name for layer in network.layers}
    return {
        layer.name: [sources[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        for layer in network.layers
        if not isinstance(layer, keras.layers.InputLayer)
    }
