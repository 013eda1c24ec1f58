"""Build, train, save, load and export a network of each encoder and decoder, and write a table of the results.

    python benchmarks/networks_table.py --markdown table.md

Each encoder runs in a process of its own. Results are stored in ``--rows``, so the same command continues after an
interruption and repeats only what failed. A cell of the table contains the number of parameters in millions if all five
steps succeeded and the loaded network predicted the same masks.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = ("build", "train", "save", "load", "export")
DECODERS = {
    "unet": "Unet",
    "fpn": "FPN",
    "linknet": "Linknet",
    "pspnet": "PSPNet",
    "unetplusplus": "UnetPlusPlus",
    "deeplabv3plus": "DeepLabV3Plus",
}
SIDE = 64


def run_steps(encoder, decoder):
    """Return a row with the number of parameters, the steps that succeeded, and the error of the first that failed."""
    import keras
    import numpy as np

    from maskwright.models import ARCHITECTURES

    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    masks = rng.integers(0, 3, (2, SIDE, SIDE, 1))
    done, parameters, error = [], 0, None
    try:
        network = ARCHITECTURES[decoder](encoder, (None, None, 3), classes=3, activation="softmax")
        parameters = network.count_params()
        done.append("build")
        network.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        loss = float(network.train_on_batch(images, masks))
        if not np.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
        done.append("train")
        with tempfile.TemporaryDirectory() as folder:
            network.save(f"{folder}/network.keras")
            done.append("save")
            loaded = keras.saving.load_model(f"{folder}/network.keras", compile=False)
            np.testing.assert_allclose(loaded(images), network(images), atol=1e-5)
            done.append("load")
            loaded.export(f"{folder}/exported", format="tf_saved_model", verbose=False)
            done.append("export")
    except Exception as caught:
        error = f"{type(caught).__name__}: {str(caught)[:200]}"
    return {"encoder": encoder, "decoder": decoder, "parameters": parameters, "done": done, "error": error}


def to_markdown(rows):
    by_pair = {(row["encoder"], row["decoder"]): row for row in rows}
    encoders = list(dict.fromkeys(row["encoder"] for row in rows))
    lines = [f"| encoder | {' | '.join(DECODERS.values())} |", "| --- |" + " ---: |" * len(DECODERS)]
    for encoder in encoders:
        cells = [cell(by_pair.get((encoder, decoder))) for decoder in DECODERS]
        lines.append(f"| `{encoder}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(row):
    if row is None:
        return ""
    if row["error"] is None:
        return f"{row['parameters'] / 1e6:.1f}"
    return f"**failed: {STEPS[len(row['done'])]}**"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", help="names, separated by commas; default: all")
    parser.add_argument("--decoders", default=",".join(DECODERS), help="names, separated by commas")
    parser.add_argument("--rows", type=Path, default=Path("networks_table.jsonl"), help="JSON lines file of results")
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    parser.add_argument("--in-process", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        encoder, *decoders = options.in_process.split(",")
        for decoder in decoders:
            row = json.dumps(run_steps(encoder, decoder))
            with options.rows.open("a") as file:
                file.write(row + "\n")
        return

    from maskwright.networks import BACKBONES

    encoders = options.encoders.split(",") if options.encoders else list(BACKBONES)
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    succeeded = {(row["encoder"], row["decoder"]) for row in rows if not row["error"]}
    for encoder in encoders:
        decoders = [name for name in options.decoders.split(",") if (encoder, name) not in succeeded]
        if decoders:
            print(encoder, *decoders, flush=True)
            pairs = ",".join([encoder, *decoders])
            command = [sys.executable, __file__, "--rows", str(options.rows), "--in-process", pairs]
            subprocess.run(command, check=False)
    latest = {}  # row of each pair
    for line in options.rows.read_text().splitlines():
        row = json.loads(line)
        latest[row["encoder"], row["decoder"]] = row
    rows = list(latest.values())
    order = list(BACKBONES)
    rows.sort(key=lambda row: order.index(row["encoder"]))
    for row in rows:
        if row["error"]:
            print(row["encoder"], row["decoder"], row["error"])
    if options.markdown:
        options.markdown.write_text(to_markdown(rows))
    requested = {(encoder, decoder) for encoder in encoders for decoder in options.decoders.split(",")}
    missing = sorted(requested - set(latest))
    for encoder, decoder in missing:
        print(encoder, decoder, "no result: the process was killed")
    sys.exit(any(row["error"] for row in rows) or bool(missing))


if __name__ == "__main__":
    main()
