"""Answers of smp's, timm's and torchvision's networks against those of the same tensors here, and back again in smp.

    python benchmarks/equality_smp.py --peer-python PATH [--only Unet,timm] --markdown OUT

PATH is an interpreter with torch, segmentation_models_pytorch 0.6.0, timm and torchvision. For each network the peer
draws weights and batch-norm statistics, scales the last layer to logits of about 1, and answers images of two sizes in
float32 and in float64. Here the tensors are loaded and the images answered; what is written from here the peer loads
strictly, as a state dict and as a folder of its hub, and answers again. Every difference is the largest absolute one;
logits and probabilities here must lie within 1e-4 of the peer's, and what came back must equal it bit by bit.
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
from maskwright.weights.torch.file import load_resnet_v1

PEER = Path(__file__).parents[1] / "tests/peers/smp_peer.py"
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
MOST = 1e-4
HEADER = """| network | arguments | logits | probabilities | the peer's own logits, float32 and float64 | back in smp |
| --- | --- | --- | --- | --- | --- |"""


def compare(peer: str, library: str, name: str, arguments: dict[str, object]) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "case")
        folder.mkdir()
        case = {"library": library, "network": name, "arguments": arguments, "sizes": SIZES}
        (folder / "case.json").write_text(json.dumps(case))
        ask(peer, "make", root)
        found = {"logits": answers(network_of(folder, case, logits=True), folder)}
        found["probabilities"] = answers(network_of(folder, case, logits=False), folder)
        logits, exact = (stored(folder, kind) for kind in ("theirs", "exact"))
        activate = sigmoid if arguments.get("classes") == 1 else softmax
        errors = [
            largest(found["logits"], logits),
            largest(found["probabilities"], [activate(each) for each in logits]),
            largest(logits, exact),
        ]
        back = "-"
        if library == "smp":
            network = network_of(folder, case, logits=True)
            save_smp(network, folder / "ours.safetensors")
            save_smp_folder(network, folder / "hub")
            ask(peer, "answer", root)
            equal = all(largest(stored(folder, kind), logits) == 0 for kind in ("again", "hub"))
            back = "equal" if equal else "differs"
    good = max(errors[:2]) <= MOST and back != "differs"
    figures = " | ".join(f"{error:.1e}" for error in errors)
    shown = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return f"| {library} {name} | {shown} | {figures} | {back} |{'' if good else ' **fails**'}", good


def network_of(folder: Path, case: dict[str, object], *, logits: bool) -> keras.Model:
    if case["library"] == "smp":
        return load_smp(folder / "theirs.safetensors", activation="linear" if logits else None)
    network = getattr(resnet_v1, f"ResNet{str(case['network']).removeprefix('resnet')}V1")(include_top=True)
    load_resnet_v1(network, folder / "theirs.pth")
    return keras.Model(network.input, network.get_layer("fc").output) if logits else network


def ask(peer: str, action: str, root: str) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([peer, str(PEER), action, root], check=True, env=environment, stdout=subprocess.DEVNULL)


def stored(folder: Path, kind: str) -> list[np.ndarray]:
    return [np.load(folder / f"{kind}_{number}.npy") for number in range(len(SIZES))]


def answers(network: keras.Model, folder: Path) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(network(images, training=False)) for images in stored(folder, "images")]


def largest(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--only", default="", help="libraries or architectures, divided by commas")
    parser.add_argument("--markdown", required=True, type=Path)
    options = parser.parse_args()
    wanted = {word for word in options.only.split(",") if word}
    lines, failures = [HEADER], 0
    for library, name, arguments in CASES:
        if wanted and not wanted & {library, name}:
            continue
        line, good = compare(options.peer_python, library, name, arguments)
        lines.append(line)
        failures += not good
        print(line, flush=True)
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
        keras.backend.clear_session()
        gc.collect()
    if failures:
        raise SystemExit(f"{failures} networks differ")


if __name__ == "__main__":
    main()
