"""Write random networks of smp, timm and torchvision, and their predictions, to a folder.

    python smp_peer.py make FOLDER       write a network, images and predictions to each folder in FOLDER
    python smp_peer.py predict FOLDER    predict with the tensors that Maskwright saved in each folder

`case.json` in a folder describes its case: {"library", "network", "arguments", "sizes"}. Predictions of the network are
`theirs_*.npy` in float32 and `exact_*.npy` in float64; `returned_*.npy` and `hub_*.npy` are those with saved tensors.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def build(case):
    arguments = case["arguments"]
    if case["library"] == "smp":
        import segmentation_models_pytorch as smp

        return getattr(smp, case["network"])(encoder_weights=None, **arguments)
    if case["library"] == "timm":
        import timm

        return timm.create_model(case["network"], pretrained=False, **arguments)
    import torchvision

    return getattr(torchvision.models, case["network"])(weights=None, **arguments)


def randomise(network, images):
    """Assign random weights, and statistics close to those of ``images``, which keep the scale of the features."""
    torch.manual_seed(7)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.GroupNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
            elif isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    module.bias.normal_(0, 0.2)
        for norm in norms:
            norm.momentum = 1.0  # replaces the statistics by those of the batch
        network.train()(images)
        for norm in norms:
            norm.running_mean.add_(0.3 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt())
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(1.0, 2.0)).add_(1e-3)
        *_, head = (
            module for module in network.eval().modules() if hasattr(module, "weight") and module.weight.ndim > 1
        )
        scale = network(images).std()  # logits of about 1 make absolute tolerances comparable
        head.weight.div_(scale)
        head.bias.div_(scale)
    return network


def channels_last(tensor):
    return tensor.numpy() if tensor.ndim == 2 else tensor.permute(0, 2, 3, 1).contiguous().numpy()


def save_predictions(network, folder, name, dtype=torch.float32):
    with torch.inference_mode():
        for file in sorted(folder.glob("images_*.npy")):
            images = torch.from_numpy(np.load(file)).permute(0, 3, 1, 2).to(dtype)
            np.save(folder / file.name.replace("images", name), channels_last(network(images)))


def make(folder, case):
    channels = case["arguments"].get("in_channels", case["arguments"].get("in_chans", 3))
    rng = np.random.default_rng(3)
    for number, (height, width) in enumerate(case["sizes"]):
        images = rng.normal(size=(2, height, width, channels)).astype("float32")
        np.save(folder / f"images_{number}.npy", images)
    network = randomise(build(case), torch.randn(4, channels, 64, 96, generator=torch.Generator().manual_seed(5)))
    save_file(network.state_dict(), folder / "theirs.safetensors")
    torch.save(network.state_dict(), folder / "theirs.pth")
    save_predictions(network, folder, "theirs")
    save_predictions(network.double(), folder, "exact", torch.float64)


def predict(folder, case):
    if not (folder / "ours.safetensors").is_file():
        return
    network = build(case)
    network.load_state_dict(load_file(folder / "ours.safetensors"), strict=True)
    save_predictions(network.eval(), folder, "returned")
    if (folder / "hub").is_dir():
        import segmentation_models_pytorch as smp

        save_predictions(smp.from_pretrained(folder / "hub").eval(), folder, "hub")


if __name__ == "__main__":
    action, root = sys.argv[1:]
    for case_file in sorted(Path(root).glob("*/case.json")):
        {"make": make, "predict": predict}[action](case_file.parent, json.loads(case_file.read_text()))
