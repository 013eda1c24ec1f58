"""A run folder written by hand, without a training and without the writers under test."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HOSTILE = "<script>alert(1)</script>"
MATHS = "$\\frac{ & co"
GHOST = "ghost"
NAMES = ("background", HOSTILE, MATHS, GHOST)
SIDE = 320

# Rows are the truth. IoU: 90/96 = 0.9375, 5/10 = 0.5, 4/5 = 0.8, none for the ghost. 99 of 105 pixels are correct.
CONFUSION = [[90, 2, 0, 0], [3, 5, 0, 0], [1, 0, 4, 0], [0, 0, 0, 0]]
IMAGE_SCORES: Mapping[str, float | None] = {
    "a/empty": None,
    **{f"a/{number:02}": 0.05 + 0.1 * number for number in range(10)},  # 0.05 worst, 0.95 best
}


def write_run(folder: Path, *, data: Path) -> Path:
    """Write a finished run of four classes; in the worst validation image every pixel is wrong, in the best none."""
    folder.mkdir()
    write_pairs(folder, data)
    _json(folder / "bundle.json", bundle())
    _json(folder / "scores.json", {**nothing_failed(), "scores": scores(), "images": list(image_scores())})
    _json(folder / "run.json", facts())
    masks = {str(value): name for value, name in enumerate(NAMES)}
    recipe = {"data": {"images": str(data / "images"), "masks": str(data / "masks"), "mask_values": masks}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    columns = "epoch,step,seconds,learning_rate,loss,val_mean_iou,val_pixel_accuracy,val_iou_ghost"
    lines = [
        "1,10,5.0,0.001,1.5,,,",
        "2,20,9.0,0.0005,0.9,0.701,0.9,",
        "3,30,14.0,0.0001,0.7,0.650,0.8,",
        "3,33,15,0,,,,",
    ]
    (folder / "history.csv").write_text("\n".join([columns, *lines]) + "\n")
    Image.new("RGB", (60, 40), (9, 9, 9)).save(folder / "augmented.png")
    return folder


def write_pairs(folder: Path, data: Path) -> None:
    """Write images of distinct grays with masks of class 1; the best prediction is class 1, the others background."""
    lines = ["name,split,image,mask", "t,train,t.png,t.png"]
    for number, name in enumerate(IMAGE_SCORES):
        image, mask, prediction = (
            data / f"images/{name}.png",
            data / f"masks/{name}.png",
            folder / f"validation/{name}.png",
        )
        for file, pixels in ((image, (gray(number),) * 3), (mask, 1), (prediction, int(name == "a/09"))):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB" if file is image else "L", (SIDE, SIDE), pixels).save(file)
        lines.append(f"{name},validation,{image},{mask}")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")


def gray(number: int) -> int:
    return 20 * number


def bundle() -> dict[str, Any]:
    colours = [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115)]
    labels = [
        {"name": name, "value": value, "colour": colours[value], "background": value == 0}
        for value, name in enumerate(NAMES)
    ]
    normalisation = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    known = {"channels": 3, "pixels": ["uint8"], "normalisation": normalisation, "labels": labels}
    return {**known, "activation": "softmax"}


def scores() -> dict[str, Any]:
    ious = (0.9375, 0.5, 0.8, None)
    counts = np.array(CONFUSION)
    classes = [
        {
            "name": name,
            "iou": ious[row],
            "f_score": None if row == 3 else 0.111,
            "precision": None if row == 3 else 0.222,
            "recall": None if row == 3 else 0.333,
            "truth_pixels": int(counts[row].sum()),
            "predicted_pixels": int(counts[:, row].sum()),
        }
        for row, name in enumerate(NAMES)
    ]
    overall = {"mean_iou": 0.65, "pixel_accuracy": 99 / 105, "absent": [GHOST], "background": True}
    return {"classes": classes, **overall, "confusion": CONFUSION}


def image_scores() -> Any:
    """Yield scores whose pixel counts add up to the confusion matrix: those of the first image are all of them."""
    counts = np.array(CONFUSION)
    pixels = {"true_positives": counts.diagonal(), "truth": counts.sum(axis=1), "predicted": counts.sum(axis=0)}
    for number, (name, mean_iou) in enumerate(IMAGE_SCORES.items()):
        own = {part: (values * (number == 0)).tolist() for part, values in pixels.items()}
        yield {"name": name, "mean_iou": mean_iou, "pixel_accuracy": 0.444, "pixels": own, "seconds": 0.02}


def nothing_failed() -> dict[str, Any]:
    return {"mean_precision": None, "failures": [], "left_out": []}


def facts() -> dict[str, Any]:
    return {
        "command": "maskwright train --out <here>",
        "stopped_by": "schedule",
        "seconds": 118.4,
        "steps": 1234,
        "best_step": 1200,
        "validation_mean_iou": 0.65,
        "validation_pixel_accuracy": None,
        "parameters": 24456154,
        "precision": "float32",
        "backend": "jax",
        "versions": {"keras": "3.15.1", "python": "3.11.9"},
        "machine": "Linux x86_64, 2 cores",
    }


def _json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))
