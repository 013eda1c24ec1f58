"""Train a ResNet34 U-Net of segmentation_models_pytorch for a given number of minutes, for `camvid_minutes.py`.

    PYTHON benchmarks/smp_minutes.py TRAIN TEST --minutes 20 --values 0,1,2 [--ignore 11] [--flip-vertically] [--seed 0]

PYTHON is the interpreter of the environment that `smp_server.py` describes, with Pillow. TRAIN and TEST contain
``images`` and ``masks``. The script is tuned for a CPU: channels_last and bfloat16, images decoded once, AdamW with
warmup and a cosine schedule over the elapsed time, class-weighted cross entropy, and augmentation by random crops,
flips, brightness and contrast. The minutes are those of training alone, without the start, reading and testing, which
favours the peer. The last output line is JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

CROP, BATCH, LEARNING_RATE = (256, 320), 8, 1e-3


def read(folder: Path, values: list[int], ignore: int | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return images (h, w, c) and masks (h, w) of class indices, 255 where ignored."""
    images, masks = [], []
    index = np.full(256, 255, np.uint8)
    index[[value for value in values if value != ignore]] = range(len([value for value in values if value != ignore]))
    by_stem = {file.stem: file for file in (folder / "masks").iterdir()}
    for file in sorted((folder / "images").iterdir()):
        pixels = np.asarray(Image.open(file))
        images.append(pixels[..., None] if pixels.ndim == 2 else pixels)
        masks.append(index[np.asarray(Image.open(by_stem[file.stem]))])
    return images, masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="folder with images and masks")
    parser.add_argument("test", type=Path, help="folder with images and masks")
    parser.add_argument("--minutes", type=float, required=True, help="training time")
    parser.add_argument("--values", required=True, help="mask values, separated by commas")
    parser.add_argument("--ignore", type=int, help="mask value to ignore")
    parser.add_argument("--flip-vertically", action="store_true", help="augment with vertical flips")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    values = [int(value) for value in options.values.split(",")]
    images, masks = read(options.train, values, options.ignore)
    channels, classes = images[0].shape[-1], len([value for value in values if value != options.ignore])

    counts = sum(np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks)
    weights = torch.tensor(np.sqrt(np.median(counts) / counts), dtype=torch.float32)
    mean, std = (
        np.float32([np.mean([measure(image[..., band]) for image in images]) for band in range(channels)])
        for measure in (np.mean, np.std)
    )

    def to_tensor(batch: np.ndarray) -> torch.Tensor:
        normalised = torch.from_numpy((batch.astype(np.float32) - mean) / std).permute(0, 3, 1, 2)
        return normalised.contiguous(memory_format=torch.channels_last)

    def crop(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = images[index], masks[index]
        top, left = (rng.integers(side - length + 1) for side, length in zip(mask.shape, CROP, strict=True))
        image, mask = (pixels[top : top + CROP[0], left : left + CROP[1]] for pixels in (image, mask))
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if options.flip_vertically and rng.random() < 0.5:
            image, mask = image[::-1], mask[::-1]
        return np.clip(image * rng.uniform(0.75, 1.25) + rng.uniform(-20, 20), 0, 255), mask

    network = smp.Unet("resnet34", encoder_weights=None, in_channels=channels, classes=classes)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
    loss = torch.nn.CrossEntropyLoss(weight=weights, ignore_index=255)
    started, steps, order = time.perf_counter(), 0, []
    while (fraction := (time.perf_counter() - started) / (60 * options.minutes)) < 1:
        warmup, cosine = fraction / 0.1, (1 + np.cos(np.pi * (fraction - 0.1) / 0.9)) / 2
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (warmup if fraction < 0.1 else cosine)
        if len(order) < BATCH:
            order = list(rng.permutation(len(images))) + order
        pairs = [crop(order.pop()) for _ in range(BATCH)]
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(to_tensor(np.stack([image for image, _ in pairs])))
        value = loss(logits.float(), torch.from_numpy(np.stack([mask for _, mask in pairs]).astype(np.int64)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps += 1

    network.eval()
    confusion = np.zeros((classes, classes), int)
    for image, mask in zip(*read(options.test, values, options.ignore), strict=True):
        padding = [(0, -side % 32) for side in mask.shape]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = network(to_tensor(np.pad(image, [*padding, (0, 0)], mode="reflect")[None]))
        prediction = logits[0].argmax(0).numpy()[: mask.shape[0], : mask.shape[1]]
        valid = mask < classes
        pairs = mask[valid].astype(int) * classes + prediction[valid]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    true_positives = confusion.diagonal()
    iou = true_positives / (confusion.sum(0) + confusion.sum(1) - true_positives)
    row = {"library": "smp", "minutes": options.minutes, "seed": options.seed, "steps": steps, "iou": iou.tolist()}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
