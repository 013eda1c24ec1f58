"""A small drawn data set in the layout and the file formats of the TGS salt challenge."""

import numpy as np
from PIL import Image
from scipy import ndimage

from maskwright.images.run_length import encode_runs, write_run_lengths

SIDE = 101


def draw_salt(folder, *, images=12, tests=4, seed=0):
    """Draw bright blobs on layers, every fourth image without a blob; return the masks by id."""
    rng = np.random.default_rng(seed)
    for part in ("train/images", "train/masks", "test/images"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    masks = {}
    for number in range(images + tests):
        name = f"{rng.integers(16**10):010x}"
        layers = 90 + 30 * np.sin(np.arange(SIDE) / 7 + rng.uniform(0, 6))[:, None]
        blob = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 14)
        mask = blob > np.quantile(blob, 0.7) if number % 4 else np.zeros((SIDE, SIDE), bool)
        pixels = (layers + 70 * mask + rng.normal(0, 8, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(np.stack([pixels] * 3, axis=-1))
        if number >= images:
            picture.save(folder / f"test/images/{name}.png")
            continue
        picture.save(folder / f"train/images/{name}.png")
        save_mask(folder / f"train/masks/{name}.png", mask)
        masks[name] = mask
    write_run_lengths(folder / "train.csv", ((name, encode_runs(mask)) for name, mask in masks.items()))
    every = [*masks, *(path.stem for path in (folder / "test/images").iterdir())]
    lines = "".join(f"{name},{50 + 60 * place}\n" for place, name in enumerate(every))
    (folder / "depths.csv").write_text("id,z\n" + lines)
    return masks


def save_mask(file, mask):
    """Save an empty mask with 8 bits and any other mask with 16 bits."""
    picture = Image.fromarray(mask.astype(np.uint16) * 65535) if mask.any() else Image.fromarray(mask.astype(np.uint8))
    picture.save(file)
