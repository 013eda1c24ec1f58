"""The peer's side of `camvid_minutes.py`: segmentation-models-pytorch's ResNet34 U-Net, for so many minutes.

    PYTHON benchmarks/smp_minutes.py TRAIN TEST --minutes 20 --values 0,1,2 [--ignore 11] [--upside-down] [--seed 0]

PYTHON is that of an environment as `smp_server.py` describes it, with Pillow. TRAIN and TEST hold ``images`` and
``masks``. The script is a good one, as a practitioner would write it for a CPU: channels_last and bfloat16, images
decoded once, AdamW with a warm-up and half a cosine on the clock, class-weighted cross entropy, random crops, mirrors
and light. All of the time is training: start, reading and tests are not counted, which is to the peer's advantage.
The last line is JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

CROP, BATCH, RATE = (256, 320), 8, 1e-3


def read(folder: Path, values: list[int], ignore: int | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images (h, w, c) and label indices (h, w); 255 where ignored."""
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
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--values", required=True)
    parser.add_argument("--ignore", type=int)
    parser.add_argument("--upside-down", action="store_true")
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

    def tensor(batch: np.ndarray) -> torch.Tensor:
        normalised = torch.from_numpy((batch.astype(np.float32) - mean) / std).permute(0, 3, 1, 2)
        return normalised.contiguous(memory_format=torch.channels_last)

    def crop(place: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = images[place], masks[place]
        top, left = (rng.integers(side - length + 1) for side, length in zip(mask.shape, CROP, strict=True))
        image, mask = (pixels[top : top + CROP[0], left : left + CROP[1]] for pixels in (image, mask))
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if options.upside_down and rng.random() < 0.5:
            image, mask = image[::-1], mask[::-1]
        return np.clip(image * rng.uniform(0.75, 1.25) + rng.uniform(-20, 20), 0, 255), mask

    network = smp.Unet("resnet34", encoder_weights=None, in_channels=channels, classes=classes)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    loss = torch.nn.CrossEntropyLoss(weight=weights, ignore_index=255)
    began, steps, order = time.perf_counter(), 0, []
    while (done := (time.perf_counter() - began) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * (done / 0.1 if done < 0.1 else (1 + np.cos(np.pi * (done - 0.1) / 0.9)) / 2)
        if len(order) < BATCH:
            order = list(rng.permutation(len(images))) + order
        pairs = [crop(order.pop()) for _ in range(BATCH)]
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(tensor(np.stack([image for image, _ in pairs])))
        error = loss(logits.float(), torch.from_numpy(np.stack([mask for _, mask in pairs]).astype(np.int64)))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        steps += 1

    network.eval()
    confusion = np.zeros((classes, classes), int)
    for image, mask in zip(*read(options.test, values, options.ignore), strict=True):
        short = [(0, -side % 32) for side in mask.shape]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = network(tensor(np.pad(image, [*short, (0, 0)], mode="reflect")[None]))
        prediction = logits[0].argmax(0).numpy()[: mask.shape[0], : mask.shape[1]]
        known = mask < classes
        pairs = mask[known].astype(int) * classes + prediction[known]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    true_positives = confusion.diagonal()
    iou = true_positives / (confusion.sum(0) + confusion.sum(1) - true_positives)
    print(
        json.dumps(
            {"who": "smp", "minutes": options.minutes, "seed": options.seed, "steps": steps, "iou": iou.tolist()}
        )
    )


if __name__ == "__main__":
    main()
