"""Write smp_reference.npz: outputs of smp's networks whose tensors come from a seeded rule.

    python tests/peers/smp_reference.py

Run it with an interpreter that has torch and segmentation_models_pytorch; `make peers` does. The file holds no tensor
values. `seeded_tensors.py` makes those, so the test needs neither smp nor the state dicts. Under ``about`` it has JSON:
the versions of torch and smp, and by name each case's architecture, arguments and shape of images (n, height, width,
channels). For each case it has

- NAME.tensors: "name|shape|dtype" of each tensor of the state dict, with commas between the sizes of a shape;
- NAME.pixels: logits at `seeded_pixels`, (PIXELS, classes);
- NAME.mean and NAME.std: mean and standard deviation of the logits of each class.

Logits are computed in float64 and stored in float32, so that the file practically does not depend on the machine.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from seeded_tensors import seeded_images, seeded_pixels, seeded_tensor

FILE = Path(__file__).with_suffix(".npz")
PIXELS = 384  # of each case's logits that are stored
SMALL, TALL = (2, 64, 96), (1, 96, 64)
# DeepLabV3+ has atrous rates up to 36 at stride 16. On images of less than 592 pixels the outer taps see only padding.
LONG = (1, 32, 608)
WIDTHS = [48, 33, 20, 17, 7]
CASES = {
    "unet-resnet18": ("Unet", "resnet18", {"classes": 1}, SMALL),
    "unet-resnet18-no-norm": (
        "Unet",
        "resnet18",
        {"classes": 7, "in_channels": 5, "decoder_channels": WIDTHS, "decoder_use_norm": False},
        TALL,
    ),
    "unet-resnet34-scse": (
        "Unet",
        "resnet34",
        {"classes": 3, "in_channels": 4, "decoder_attention_type": "scse"},
        TALL,
    ),
    "unet-resnet50-widths": ("Unet", "resnet50", {"classes": 5, "decoder_channels": WIDTHS}, SMALL),
    "unet-resnet101": ("Unet", "resnet101", {"classes": 2, "in_channels": 1}, SMALL),
    "unetplusplus-resnet18-no-norm": ("UnetPlusPlus", "resnet18", {"classes": 1, "decoder_use_norm": False}, TALL),
    "unetplusplus-resnet34-scse": (
        "UnetPlusPlus",
        "resnet34",
        {"classes": 3, "decoder_attention_type": "scse"},
        SMALL,
    ),
    "unetplusplus-resnet50-widths": (
        "UnetPlusPlus",
        "resnet50",
        {"classes": 2, "in_channels": 6, "decoder_channels": WIDTHS},
        SMALL,
    ),
    "fpn-resnet34-cat": ("FPN", "resnet34", {"classes": 1, "in_channels": 7, "decoder_merge_policy": "cat"}, TALL),
    "fpn-resnet50-widths": (
        "FPN",
        "resnet50",
        {"classes": 4, "decoder_pyramid_channels": 50, "decoder_segmentation_channels": 96},
        SMALL,
    ),
    "linknet-resnet34-no-norm": ("Linknet", "resnet34", {"classes": 1, "decoder_use_norm": False}, TALL),
    "linknet-resnet50": ("Linknet", "resnet50", {"classes": 4, "in_channels": 2}, SMALL),
    "deeplabv3plus-resnet34": ("DeepLabV3Plus", "resnet34", {"classes": 3, "in_channels": 4}, LONG),
    "deeplabv3plus-resnet50-widths": ("DeepLabV3Plus", "resnet50", {"classes": 2, "decoder_channels": 37}, LONG),
}


def reference(name, architecture, encoder, arguments, size):
    """Return the arrays of a case by their names in the file, without the name of the case."""
    network = getattr(smp, architecture)(encoder_name=encoder, encoder_weights=None, **arguments).eval()
    stored = network.state_dict()
    tensors = {key: torch.from_numpy(seeded_tensor(key, tuple(tensor.shape))) for key, tensor in stored.items()}
    network.load_state_dict(tensors, strict=True)
    images = seeded_images(name, (*size, arguments.get("in_channels", 3)))
    with torch.inference_mode():
        pixels = torch.from_numpy(images).double().permute(0, 3, 1, 2)
        logits = network.double()(pixels).permute(0, 2, 3, 1).flatten(0, 2).numpy()
    lines = [f"{key}|{','.join(map(str, each.shape))}|{str(each.dtype)[6:]}" for key, each in stored.items()]
    return {
        "tensors": np.array(lines),
        "pixels": logits[seeded_pixels(name, size, PIXELS)].astype(np.float32),
        "mean": logits.mean(axis=0).astype(np.float32),
        "std": logits.std(axis=0).astype(np.float32),
    }


def main():
    cases = {
        name: {"architecture": architecture, "encoder": encoder, "arguments": arguments, "size": size}
        for name, (architecture, encoder, arguments, size) in CASES.items()
    }
    versions = {package: version(package) for package in ("segmentation_models_pytorch", "torch")}
    arrays = {"about": np.array(json.dumps({"versions": versions, "cases": cases}))}
    for name, case in CASES.items():
        arrays |= {f"{name}.{key}": value for key, value in reference(name, *case).items()}
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
