"""Runs of drawn masks, written by hand: no training, none of our writers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("background", "cell", "fibre")
SHAPE = (24, 40)
IGNORED = 255

Masks = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Truth and prediction of each validation image, class ids."""


def drawn_masks(names: Sequence[str], *, wrong: float, seed: int = 0, classes: int = 3) -> Masks:
    """The truth is the same for every ``wrong``, the share of pixels that are predicted at random."""
    masks = {}
    for name in names:
        truth_of, guess_of = np.random.default_rng([seed, len(name), *name.encode()]), np.random.default_rng(seed + 1)
        truth = truth_of.integers(0, classes, SHAPE)
        truth[:3] = IGNORED
        prediction = np.where(truth == IGNORED, 0, truth)
        missed = guess_of.random(SHAPE) < wrong * truth_of.uniform(0.5, 1.5)
        prediction[missed] = guess_of.integers(0, classes, missed.sum())
        masks[name] = (truth, prediction)
    return masks


def counts(truth: np.ndarray, prediction: np.ndarray, classes: int) -> dict[str, list[int]]:
    known = truth != IGNORED
    return {
        "true_positives": [int((known & (truth == c) & (prediction == c)).sum()) for c in range(classes)],
        "truth": [int((known & (truth == c)).sum()) for c in range(classes)],
        "predicted": [int((known & (prediction == c)).sum()) for c in range(classes)],
    }


def confusion(masks: Masks, classes: int) -> list[list[int]]:
    return [
        [
            int(sum(((truth == row) & (prediction == column)).sum() for truth, prediction in masks.values()))
            for column in range(classes)
        ]
        for row in range(classes)
    ]


def write_run(
    folder: Path, masks: Masks, *, classes: Sequence[str] = CLASSES, counted: bool = True, seconds: float = 0.02
) -> Path:
    """A finished run; without ``counted`` as an older version wrote it, its masks in ``folder``-data."""
    folder.mkdir(parents=True)
    number, data = len(classes), folder.with_name(f"{folder.name}-data")
    images, lines = [], ["name,split,image,mask"]
    for name, (truth, prediction) in masks.items():
        mask_file, guess_file = data / f"{name}.png", folder / f"validation/{name}.png"
        for file, pixels in ((mask_file, truth), (guess_file, prediction)):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
        lines.append(f"{name},validation,{data / name}.jpg,{mask_file}")
        more = {"pixels": counts(truth, prediction, number), "seconds": seconds} if counted else {}
        images.append({"name": name, "mean_iou": 0.5, "pixel_accuracy": 0.5, **more})
    nothing = {
        "iou": None,
        "f_score": None,
        "precision": None,
        "recall": None,
        "truth_pixels": 0,
        "predicted_pixels": 0,
    }
    scores = {
        "classes": [{"name": name, **nothing} for name in classes],
        **{"mean_iou": 0.5, "pixel_accuracy": 0.5, "absent": [], "background": True},
        "confusion": confusion(masks, number),
    }
    words = {str(value): name for value, name in enumerate(classes)} | {str(IGNORED): "ignored"}
    write_json(folder / "recipe.yaml", {"data": {"images": "images", "masks": "masks", "mask_values": words}})
    labels = [
        {"name": name, "value": value, "colour": [80 * value, 9, 9], "background": value == 0}
        for value, name in enumerate(classes)
    ]
    normalisation = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    bundle = {"channels": 3, "pixels": ["uint8"], "normalisation": normalisation, "labels": labels}
    write_json(folder / "bundle.json", {**bundle, "activation": "softmax"})
    write_json(folder / "scores.json", {"scores": scores, "images": images, "failures": [], "left_out": []})
    ran = {"stopped_by": "schedule", "seconds": 118.4, "steps": 1234, "parameters": 14456154}
    write_json(folder / "run.json", {**ran, "machine": "Linux x86_64, 2 cores", "precision": "float32"})
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    (folder / "model.keras").write_bytes(bytes(1_500_000))
    rows = ["epoch,step,seconds,learning_rate,loss,val_mean_iou", "1,10,60.0,0.001,1.5,0.4", "2,20,120.0,0.0005,0.9,"]
    (folder / "history.csv").write_text("\n".join([*rows, "3,30,180.0,0.0,0.7,0.6"]) + "\n")
    return folder


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))


def change_json(file: Path, **fields: object) -> None:
    write_json(file, {**json.loads(file.read_text()), **fields})
