"""Compare outputs of networks of smp, timm and torchvision with those of the same weights in Maskwright and back.

    python benchmarks/equality_smp.py --peer-python PATH [--only Unet,timm] --markdown OUT

PATH is an interpreter with torch, segmentation_models_pytorch 0.6.0, timm and torchvision. For each network, the peer
draws weights and batch normalisation statistics, scales the last layer to logits of standard deviation 1, and predicts
images of two sizes in float32 and in float64. Maskwright loads the weights, predicts the images, and writes the network
as a state dict and as a folder for `from_pretrained`. The peer loads both strictly and predicts again. The table shows
the largest absolute differences. Logits and probabilities must agree with the peer's within 1e-4; the networks that
return to smp must give exactly the same logits.
"""

import argparse
import gc
import json
import os
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np

from maskwright.networks import resnet_v1
from maskwright.weights.smp.load_save import load_smp, save_smp, save_smp_folder
from maskwright.weights.torch.encoders import load_torch_encoder

PEER_SCRIPT = Path(__file__).parents[1] / "tests/peers/smp_peer.py"
SIZES = [(64, 96), (160, 96)]
RESNETS = [f"resnet{layers}" for layers in (18, 34, 50, 101, 152)]
CASES = [
    *(("smp", "Unet", {"encoder_name": encoder, "classes": 1}) for encoder in RESNETS),
    ("smp", "Unet", {"encoder_name": "resnet34", "classes": 3, "in_channels": 4, "decoder_attention_type": "scse"}),
    *(
        ("smp", architecture, {"encoder_name": encoder, "classes": 3})
        for architecture in ("UnetPlusPlus", "FPN", "Linknet", "DeepLabV3Plus")
        for encoder in RESNETS[:3]
    ),
    *((library, encoder, {}) for library in ("timm", "torchvision") for encoder in RESNETS),
]
MAX_DIFFERENCE = 1e-4
HEADER = """| network | arguments | logits | probabilities | the peer's logits, float32 and float64 | returned to smp |
| --- | --- | --- | --- | --- | --- |"""


def compare(peer: str, library: str, name: str, arguments: dict[str, object]) -> tuple[str, bool]:
    """Return the table row of one network, and whether its outputs agree."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "case")
        folder.mkdir()
        case = {"library": library, "network": name, "arguments": arguments, "sizes": SIZES}
        (folder / "case.json").write_text(json.dumps(case))
        run_peer(peer, "make", root)
        logits = predict(load_network(folder, case, logits=True), folder)
        probabilities = predict(load_network(folder, case, logits=False), folder)
        peer_logits, peer_logits_float64 = (read_arrays(folder, kind) for kind in ("theirs", "exact"))
        activate = sigmoid if arguments.get("classes") == 1 else softmax
        errors = [
            largest_difference(logits, peer_logits),
            largest_difference(probabilities, [activate(each) for each in peer_logits]),
            largest_difference(peer_logits, peer_logits_float64),
        ]
        returned = "-"
        if library == "smp":
            network = load_network(folder, case, logits=True)
            save_smp(network, folder / "ours.safetensors")
            save_smp_folder(network, folder / "hub")
            run_peer(peer, "predict", root)
            equal = all(largest_difference(read_arrays(folder, kind), peer_logits) == 0 for kind in ("returned", "hub"))
            returned = "equal" if equal else "different"
    agrees = max(errors[:2]) <= MAX_DIFFERENCE and returned != "different"
    error_cells = " | ".join(f"{error:.1e}" for error in errors)
    argument_text = ", ".join(f"{key}={value}" for key, value in arguments.items())
    row = f"| {library} {name} | {argument_text} | {error_cells} | {returned} |"
    return row + ("" if agrees else " **fails**"), agrees


def load_network(folder: Path, case: dict[str, object], *, logits: bool) -> keras.Model:
    if case["library"] == "smp":
        return load_smp(folder / "theirs.safetensors", activation="linear" if logits else None)
    network = getattr(resnet_v1, f"ResNet{str(case['network']).removeprefix('resnet')}V1")(include_top=True)
    load_torch_encoder(network, folder / "theirs.pth")
    return keras.Model(network.input, network.get_layer("fc").output) if logits else network


def run_peer(peer: str, action: str, root: str) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([peer, str(PEER_SCRIPT), action, root], check=True, env=environment, stdout=subprocess.DEVNULL)


def read_arrays(folder: Path, kind: str) -> list[np.ndarray]:
    return [np.load(folder / f"{kind}_{number}.npy") for number in range(len(SIZES))]


def predict(network: keras.Model, folder: Path) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(network(images, training=False)) for images in read_arrays(folder, "images")]


def largest_difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="interpreter with the peers")
    parser.add_argument("--only", default="", help="libraries or architectures, separated by commas")
    parser.add_argument("--markdown", required=True, type=Path, help="file to write the table to")
    options = parser.parse_args()
    only = {name for name in options.only.split(",") if name}
    lines, failures = [HEADER], 0
    for library, name, arguments in CASES:
        if only and not only & {library, name}:
            continue
        row, agrees = compare(options.peer_python, library, name, arguments)
        lines.append(row)
        failures += not agrees
        print(row, flush=True)
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
        keras.backend.clear_session()
        gc.collect()
    if failures:
        raise SystemExit(f"{failures} networks differ")


if __name__ == "__main__":
    main()
