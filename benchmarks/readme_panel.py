"""Draw the picture of the README from the results of `make demo`: image, truth, prediction and errors.

Run it in the root of the repository after `make demo`:

    .venv/bin/python benchmarks/readme_panel.py
"""

import argparse
from pathlib import Path

from maskwright.data.mask_values import parse_mask_values
from maskwright.images.overlay import to_display
from maskwright.images.panel import panel
from maskwright.images.read import read_image, read_mask
from maskwright.images.write import write_image
from maskwright.inference.bundle import Bundle

NAME = "002"
DATA = Path("demo/data/new")
PREDICTION = Path(f"demo/masks/{NAME}.png")
OUT = "docs/images/panel.webp"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    mask_values = parse_mask_values("0=background,1=cell,2=fibre")
    truth, prediction = (
        mask_values.encode(read_mask(file), file=file) for file in (DATA / f"masks/{NAME}.png", PREDICTION)
    )
    image = to_display(read_image(DATA / f"images/{NAME}.png"))
    labels = Bundle.read(Path("demo/run")).labels
    write_image(OUT, panel(image, truth, prediction=prediction, labels=labels))
    print(OUT)


if __name__ == "__main__":
    main()
