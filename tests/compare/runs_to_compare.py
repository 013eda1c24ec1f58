"""Runs with random masks, written by hand, without a training and without the writers under test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("background", "cell", "fibre")
SHAPE = (24, 40)
IGNORED = 255

Masks = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Truth and prediction of each validation image, as class ids."""


def drawn_masks(names: Sequence[str], *, wrong: float, seed: int = 0, classes: int = 3) -> Masks:
    """Draw masks whose truth does not depend on ``wrong``, the fraction of pixels with a random prediction."""
    masks = {}
    for name in names:
        truth_rng, prediction_rng = (
            np.random.default_rng([seed, len(name), *name.encode()]),
            np.random.default_rng(seed + 1),
        )
        truth = truth_rng.integers(0, classes, SHAPE)
        truth[:3] = IGNORED
        prediction = np.where(truth == IGNORED, 0, truth)
        missed = prediction_rng.random(SHAPE) < wrong * truth_rng.uniform(0.5, 1.5)
        prediction[missed] = prediction_rng.integers(0, classes, missed.sum())
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


def write_run(folder: Path, masks: Masks, *, classes: Sequence[str] = CLASSES, seconds: float = 0.02) -> Path:
    """Write a finished run; its masks are in ``folder``-data."""
    folder.mkdir(parents=True)
    number, data = len(classes), folder.with_name(f"{folder.name}-data")
    images, lines = [], ["name,split,image,mask"]
    for name, (truth, prediction) in masks.items():
        mask_file, prediction_file = data / f"{name}.png", folder / f"validation/{name}.png"
        for file, pixels in ((mask_file, truth), (prediction_file, prediction)):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
        lines.append(f"{name},validation,{data / name}.jpg,{mask_file}")
        known = {"pixels": counts(truth, prediction, number), "seconds": seconds}
        images.append({"name": name, "mean_iou": 0.5, "pixel_accuracy": 0.5, **known})
    no_scores = {
        "iou": None,
        "f_score": None,
        "precision": None,
        "recall": None,
        "truth_pixels": 0,
        "predicted_pixels": 0,
    }
    scores = {
        "classes": [{"name": name, **no_scores} for name in classes],
        **{"mean_iou": 0.5, "pixel_accuracy": 0.5, "absent": [], "background": True},
        "confusion": confusion(masks, number),
    }
    mask_values = {str(value): name for value, name in enumerate(classes)} | {str(IGNORED): "ignored"}
    write_json(folder / "recipe.yaml", {"data": {"images": "images", "masks": "masks", "mask_values": mask_values}})
    labels = [
        {"name": name, "value": value, "colour": [80 * value, 9, 9], "background": value == 0}
        for value, name in enumerate(classes)
    ]
    normalisation = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    bundle = {"channels": 3, "pixels": ["uint8"], "normalisation": normalisation, "labels": labels}
    write_json(folder / "bundle.json", {**bundle, "activation": "softmax"})
    no_failures = {"mean_precision": None, "failures": [], "left_out": []}
    write_json(folder / "scores.json", {**no_failures, "scores": scores, "images": images})
    write_json(folder / "run.json", facts())
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    (folder / "model.keras").write_bytes(bytes(1_500_000))
    columns = "epoch,step,seconds,learning_rate,loss,val_mean_iou,val_pixel_accuracy"
    rows = ["1,10,60.0,0.001,1.5,0.4,0.8", "2,20,120.0,0.0005,0.9,,", "3,30,180.0,0.0,0.7,0.6,0.9"]
    (folder / "history.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder


def facts() -> dict[str, object]:
    return {
        "command": "maskwright train",
        "stopped_by": "schedule",
        "seconds": 118.4,
        "steps": 1234,
        "best_step": 1200,
        "validation_mean_iou": 0.5,
        "validation_pixel_accuracy": 0.5,
        "parameters": 14456154,
        "precision": "float32",
        "backend": "jax",
        "versions": {"keras": "3.15.1"},
        "machine": "Linux x86_64, 2 cores",
    }


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))


def change_json(file: Path, **fields: object) -> None:
    write_json(file, {**json.loads(file.read_text()), **fields})
