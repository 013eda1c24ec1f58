"""Masks of segmentation_models 1.0.1 against those of the same file opened here, over architectures and encoders.

    python benchmarks/equality_legacy.py --peer-python PATH [--architectures Unet,FPN] [--encoders vgg16] --markdown OUT

PATH is an interpreter that has tf-keras, keras_applications, image-classifiers 1.0.0, efficientnet 1.0.0 and
segmentation-models 1.0.1. For each pair it draws random weights and batch-norm statistics and writes the network,
weights only and whole, with random images of two sizes and their masks. Here the whole model is recognised, built and
filled; then its weights are cleared and filled from the other file. The largest absolute difference must stay below
1e-4, over masks whose standard deviation is above 0.01: masks that are all alike would prove nothing.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from maskwright.conversion.load_legacy import load_legacy
from maskwright.weights.segmentation_models.identify import recognise

WRITER = Path(__file__).parents[1] / "tests/peers/legacy_writer.py"
PEER = {"TF_USE_LEGACY_KERAS": "1", "SM_FRAMEWORK": "tf.keras", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
ARCHITECTURES = ("Unet", "FPN", "Linknet", "PSPNet")
ENCODERS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "seresnet18", "seresnet34"),
    *("seresnet50", "seresnet101", "seresnet152", "seresnext50", "seresnext101", "senet154"),
    *("resnext50", "resnext101", "vgg16", "vgg19", "densenet121", "densenet169", "densenet201"),
    *("inceptionv3", "inceptionresnetv2", "mobilenet", "mobilenetv2"),
    *(f"efficientnetb{number}" for number in range(8)),
)
MOST = 1e-4
LEAST_SPREAD = 0.01
HEADER = """| architecture | encoder | whole model | weights only | spread of the masks | sizes |
| --- | --- | --- | --- | --- | --- |"""


def compare(peer: str, architecture: str, encoder: str) -> tuple[str, bool]:
    fixed = architecture == "PSPNet"  # there its sizes must be known
    sizes = [(96, 144)] if fixed else [(64, 96), (160, 96)]
    arguments = {"backbone_name": encoder, "classes": 2, "activation": "sigmoid"}
    if fixed:
        arguments["input_shape"] = (*sizes[0], 3)
    job = {"name": "network", "architecture": architecture, "arguments": arguments, "sizes": sizes}
    with tempfile.TemporaryDirectory() as folder:
        command = [peer, str(WRITER), folder]
        done = subprocess.run(
            command, input=json.dumps([job]), text=True, env=os.environ | PEER, capture_output=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{architecture} {encoder}: the peer failed\n{done.stderr[-2000:]}")
        whole, numbers = (Path(folder) / f"network.{kind}.h5" for kind in ("whole", "numbers"))
        batches = np.load(Path(folder) / "network.npz")
        network = load_legacy(whole)
        differences = [largest_difference(network, batches)]
        for variable in network.variables:
            variable.assign(keras.ops.zeros_like(variable))
        load_legacy(numbers, network)
        differences.append(largest_difference(network, batches))
        told, guessed = recognise(whole), recognise(numbers)
        same = {"input_shape", "activation", "options", "untold", "file"}
        assert replace(guessed, **{name: getattr(told, name) for name in same}) == told
    spread = min(float(batches[name].std()) for name in batches.files if name.startswith("masks"))
    good = max(differences) <= MOST and spread > LEAST_SPREAD
    shown = ", ".join(f"{height} x {width}" for height, width in sizes)
    figures = " | ".join(f"{difference:.1e}" for difference in differences)
    return f"| {architecture} | {encoder} | {figures} | {spread:.2f} | {shown} |{'' if good else ' **fails**'}", good


def largest_difference(network: keras.Model, batches: np.lib.npyio.NpzFile) -> float:
    pairs = ((name, name.replace("images", "masks")) for name in batches.files if name.startswith("images"))
    return max(float(np.abs(network.predict_on_batch(batches[x]) - batches[y]).max()) for x, y in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES))
    parser.add_argument("--encoders", default=",".join(ENCODERS))
    parser.add_argument("--markdown", type=Path, required=True)
    options = parser.parse_args()
    rows, all_good = [], True
    print(HEADER, flush=True)
    for architecture in options.architectures.split(","):
        for encoder in options.encoders.split(","):
            started = time.perf_counter()
            row, good = compare(options.peer_python, architecture, encoder)
            print(row, f"{time.perf_counter() - started:.0f} s", flush=True)
            rows.append(row)
            all_good &= good
            options.markdown.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
            keras.backend.clear_session()
            gc.collect()
    sys.exit(0 if all_good else 1)


if __name__ == "__main__":
    main()
