"""Train on partly damaged masks, then continue on the correct masks for a tenth of the time.

    python benchmarks/continue_training.py [--images IMAGES --masks MASKS] [--time-budget 10m] [--damaged 0.2]

Without --images, a data set is drawn. A fraction of the masks is damaged: every second one is emptied, the others are
shifted by a tenth of their size. Three networks are trained and validated on the same correct masks:

- `damaged`: on the damaged masks, for the time budget
- `continued`: on the correct masks, from the first network (`--from`), for a tenth of the time budget
- `alone`: on the correct masks without the first network, for a tenth of the time budget

The time budget must be at least five minutes, since no training takes less than 30 seconds.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from maskwright.data.demo import draw_demo
from maskwright.data.pairs import pair_folders
from maskwright.images.read import read_mask
from maskwright.images.write import write_mask
from maskwright.segmenter import Segmenter
from maskwright.training.recipe_text import seconds_in
from maskwright.training.run import Run

SHIFT = 10  # fraction of the height and width, as a divisor


def damage(masks: Path, *, fraction: float) -> int:
    """Empty or shift a fraction of the masks in a folder, and return their number."""
    files = sorted(file for file in masks.iterdir() if file.is_file())
    chosen = np.random.default_rng(0).permutation(len(files))[: round(fraction * len(files))]
    for number, index in enumerate(chosen):
        mask = read_mask(files[index])
        height, width = mask.shape[:2]
        shifted = np.roll(mask, (height // SHIFT, width // SHIFT), axis=(0, 1))
        write_mask(files[index], np.zeros_like(mask) if number % 2 else shifted)
    return len(chosen)


def hold_out(images: Path, masks: Path, folder: Path, *, fraction: float = 0.2) -> None:
    """Copy the pairs of two folders to `train` and `val` in ``folder``."""
    pairs = pair_folders(images, masks).pairs
    validation = set(np.random.default_rng(0).permutation(len(pairs))[: round(fraction * len(pairs))].tolist())
    for number, pair in enumerate(pairs):
        for kind, file in (("images", pair.image), ("masks", pair.mask)):
            target = folder / ("val" if number in validation else "train") / kind
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target / f"{number:05}{file.suffix}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of images; if absent, a data set is drawn")
    parser.add_argument("--masks", type=Path, help="folder of correct masks, with one class id per pixel")
    parser.add_argument("--time-budget", default="10m", help="time budget of the first training")
    parser.add_argument("--damaged", type=float, default=0.2, help="fraction of the masks that is damaged")
    parser.add_argument("--learning-rate", type=float, help="learning rate of the continued training")
    arguments = parser.parse_args()
    seconds = seconds_in(arguments.time_budget, source="--time-budget")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.images is None:
            draw_demo(folder, new=0)
        else:
            hold_out(arguments.images, arguments.masks, folder)
        damaged_masks = folder / "damaged"
        shutil.copytree(folder / "train/masks", damaged_masks)
        number = damage(damaged_masks, fraction=arguments.damaged)
        total = sum(file.is_file() for file in damaged_masks.iterdir())
        print(f"{number} of {total} training masks are damaged")
        rate = {} if arguments.learning_rate is None else {"learning_rate": arguments.learning_rate}
        # Name, masks, time budget, first network and settings of each training.
        correct = folder / "train/masks"
        trainings = [
            ("damaged", damaged_masks, seconds, None, {}),
            ("continued", correct, seconds / 10, folder / "damaged-run", rate),
            ("alone", correct, seconds / 10, None, {}),
        ]
        for title, masks, budget, start, settings in trainings:
            out = folder / f"{title}-run"
            Segmenter.train(
                folder / "train/images",
                masks,
                out=out,
                val_images=folder / "val/images",
                val_masks=folder / "val/masks",
                time_budget=budget,
                start_from=start,
                recipe={"training": settings},
            )
            run = Run(out)
            steps, score = run.read_facts().steps, run.read_scores().scores.mean_iou
            print(f"{title:9}  {budget:5.0f} s  {steps:5} steps  validation mean IoU {score:.4f}", flush=True)


if __name__ == "__main__":
    main()
