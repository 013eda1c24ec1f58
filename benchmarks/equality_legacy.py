"""Compare masks of segmentation_models 1.0.1 with those of the same weights files loaded by Maskwright.

    python benchmarks/equality_legacy.py --peer-python PATH [--architectures Unet,FPN] [--encoders vgg16] --markdown OUT

PATH is an interpreter with tf-keras, keras_applications, image-classifiers 1.0.0, efficientnet 1.0.0 and
segmentation-models 1.0.1. For each architecture and encoder it draws random weights and batch normalisation statistics,
and writes the network as a whole model and as a weights file, with random images of two sizes and their masks.
Maskwright loads the whole model; then all weights are set to zero and loaded from the weights file. The largest
absolute difference of the masks must be at most 1e-4, and their standard deviation above 0.01.
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

from maskwright.training.load_legacy import load_legacy
from maskwright.weights.segmentation_models.identify import identify

WRITER = Path(__file__).parents[1] / "tests/peers/legacy_writer.py"
PEER_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "SM_FRAMEWORK": "tf.keras",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
ARCHITECTURES = ("Unet", "FPN", "Linknet", "PSPNet")
ENCODERS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "seresnet18", "seresnet34"),
    *("seresnet50", "seresnet101", "seresnet152", "seresnext50", "seresnext101", "senet154"),
    *("resnext50", "resnext101", "vgg16", "vgg19", "densenet121", "densenet169", "densenet201"),
    *("inceptionv3", "inceptionresnetv2", "mobilenet", "mobilenetv2"),
    *(f"efficientnetb{number}" for number in range(8)),
)
MAX_DIFFERENCE = 1e-4
MIN_MASK_STD = 0.01  # nearly constant masks would agree for any weights
HEADER = """| architecture | encoder | whole model | weights only | standard deviation of the masks | sizes |
| --- | --- | --- | --- | --- | --- |"""


def compare(peer: str, architecture: str, encoder: str) -> tuple[str, bool]:
    """Return the table row of one network, and whether its masks agree."""
    has_fixed_size = architecture == "PSPNet"
    sizes = [(96, 144)] if has_fixed_size else [(64, 96), (160, 96)]
    arguments = {"backbone_name": encoder, "classes": 2, "activation": "sigmoid"}
    if has_fixed_size:
        arguments["input_shape"] = (*sizes[0], 3)
    job = {"name": "network", "architecture": architecture, "arguments": arguments, "sizes": sizes}
    with tempfile.TemporaryDirectory() as folder:
        command = [peer, str(WRITER), folder]
        environment = os.environ | PEER_ENVIRONMENT
        done = subprocess.run(
            command, input=json.dumps([job]), text=True, env=environment, capture_output=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{architecture} {encoder}: the peer failed\n{done.stderr[-2000:]}")
        whole, weights_only = (Path(folder) / f"network.{kind}.h5" for kind in ("whole", "weights_only"))
        batches = np.load(Path(folder) / "network.npz")
        network = load_legacy(whole)
        differences = [largest_difference(network, batches)]
        for variable in network.variables:
            variable.assign(keras.ops.zeros_like(variable))
        load_legacy(weights_only, network)
        differences.append(largest_difference(network, batches))
        expected, found = identify(whole), identify(weights_only)
        not_in_weights_files = {"input_shape", "activation", "options", "not_stored", "file"}
        assert replace(found, **{name: getattr(expected, name) for name in not_in_weights_files}) == expected
    mask_std = min(float(batches[name].std()) for name in batches.files if name.startswith("masks"))
    agrees = max(differences) <= MAX_DIFFERENCE and mask_std > MIN_MASK_STD
    size_text = ", ".join(f"{height} x {width}" for height, width in sizes)
    difference_cells = " | ".join(f"{difference:.1e}" for difference in differences)
    row = f"| {architecture} | {encoder} | {difference_cells} | {mask_std:.2f} | {size_text} |"
    return row + ("" if agrees else " **fails**"), agrees


def largest_difference(network: keras.Model, batches: np.lib.npyio.NpzFile) -> float:
    pairs = ((name, name.replace("images", "masks")) for name in batches.files if name.startswith("images"))
    return max(float(np.abs(network.predict_on_batch(batches[x]) - batches[y]).max()) for x, y in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with segmentation_models")
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="names, separated by commas")
    parser.add_argument("--encoders", default=",".join(ENCODERS), help="names, separated by commas")
    parser.add_argument("--markdown", type=Path, required=True, help="file to write the table to")
    options = parser.parse_args()
    rows, all_agree = [], True
    print(HEADER, flush=True)
    for architecture in options.architectures.split(","):
        for encoder in options.encoders.split(","):
            started = time.perf_counter()
            row, agrees = compare(options.peer_python, architecture, encoder)
            print(row, f"{time.perf_counter() - started:.0f} s", flush=True)
            rows.append(row)
            all_agree &= agrees
            options.markdown.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
            keras.backend.clear_session()
            gc.collect()
    sys.exit(0 if all_agree else 1)


if __name__ == "__main__":
    main()
