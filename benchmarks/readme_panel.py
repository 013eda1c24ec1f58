"""Draw the README's picture from what `make demo` left: image, truth, prediction and mistakes.

Run from the repository's root, after `make demo`:  .venv/bin/python benchmarks/readme_panel.py
"""

from pathlib import Path

from maskwright.data.mask_values import parse_mask_values
from maskwright.images.overlay import to_display
from maskwright.images.panel import panel
from maskwright.images.read import read_image, read_mask
from maskwright.images.write import write_image
from maskwright.inference.bundle import Bundle

NAME = "002"

new = Path("demo/data/new")
values = parse_mask_values("0=background,1=cell,2=fibre")
truth, prediction = (
    values.encode(read_mask(file), file=file) for file in (new / f"masks/{NAME}.png", Path(f"demo/masks/{NAME}.png"))
)
picture = to_display(read_image(new / f"images/{NAME}.png"))
labels = Bundle.read(Path("demo/run")).labels
write_image("docs/images/panel.webp", panel(picture, truth, prediction=prediction, labels=labels))
print("docs/images/panel.webp")
