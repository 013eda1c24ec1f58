"""Every encoder with every decoder: built, trained for a step, saved, opened again and exported, as a table.

    python benchmarks/networks_table.py --markdown docs/networks_table.md

What is done is kept in ``--rows``, so a second call goes on; each encoder has a process of its own. A cell holds the
network's parameters in millions, where all five steps worked and the network opened again gave the same masks.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = ("builds", "trains a step", "saves", "reloads", "exports")
DECODERS = {
    "unet": "Unet",
    "fpn": "FPN",
    "linknet": "Linknet",
    "pspnet": "PSPNet",
    "unetplusplus": "UnetPlusPlus",
    "deeplabv3plus": "DeepLabV3Plus",
}
SIDE = 64


def try_out(encoder, decoder):
    """How far one network comes: the steps that worked, parameters, and the error that ended it, if any."""
    import keras
    import numpy as np

    from maskwright.models import ARCHITECTURES

    chance = np.random.default_rng(0)
    images = chance.normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    masks = chance.integers(0, 3, (2, SIDE, SIDE, 1))
    done, parameters, error = [], 0, None
    try:
        network = ARCHITECTURES[decoder](encoder, (None, None, 3), classes=3, activation="softmax")
        parameters = network.count_params()
        done.append("builds")
        network.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        loss = float(network.train_on_batch(images, masks))
        if not np.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
        done.append("trains a step")
        with tempfile.TemporaryDirectory() as folder:
            network.save(f"{folder}/network.keras")
            done.append("saves")
            again = keras.saving.load_model(f"{folder}/network.keras", compile=False)
            np.testing.assert_allclose(again(images), network(images), atol=1e-5)
            done.append("reloads")
            again.export(f"{folder}/exported", format="tf_saved_model", verbose=False)
            done.append("exports")
    except Exception as problem:
        error = f"{type(problem).__name__}: {str(problem)[:200]}"
    return {"encoder": encoder, "decoder": decoder, "parameters": parameters, "done": done, "error": error}


def markdown(rows):
    found = {(row["encoder"], row["decoder"]): row for row in rows}
    encoders = list(dict.fromkeys(row["encoder"] for row in rows))
    lines = [f"| encoder | {' | '.join(DECODERS.values())} |", "| --- |" + " ---: |" * len(DECODERS)]
    for encoder in encoders:
        cells = [cell(found.get((encoder, decoder))) for decoder in DECODERS]
        lines.append(f"| `{encoder}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(row):
    if row is None:
        return ""
    if row["error"] is None:
        return f"{row['parameters'] / 1e6:.1f}"
    return f"**not {STEPS[len(row['done'])]}**"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", help="names with commas; all by default")
    parser.add_argument("--decoders", default=",".join(DECODERS))
    parser.add_argument("--rows", type=Path, default=Path("networks_table.jsonl"))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        encoder, *decoders = options.one.split(",")
        for decoder in decoders:
            row = json.dumps(try_out(encoder, decoder))
            with options.rows.open("a") as file:
                file.write(row + "\n")
        return

    from maskwright.networks import BACKBONES

    encoders = options.encoders.split(",") if options.encoders else list(BACKBONES)
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    there = {(row["encoder"], row["decoder"]) for row in rows if not row["error"]}
    for encoder in encoders:
        left = [decoder for decoder in options.decoders.split(",") if (encoder, decoder) not in there]
        if left:
            print(encoder, *left, flush=True)
            command = [sys.executable, __file__, "--rows", str(options.rows), "--one", ",".join([encoder, *left])]
            subprocess.run(command, check=False)
    last = {}  # of each pair; one that failed is tried again by the next call
    for line in options.rows.read_text().splitlines():
        row = json.loads(line)
        last[row["encoder"], row["decoder"]] = row
    rows = list(last.values())
    order = list(BACKBONES)
    rows.sort(key=lambda row: order.index(row["encoder"]))
    for row in rows:
        if row["error"]:
            print(row["encoder"], row["decoder"], row["error"])
    if options.markdown:
        options.markdown.write_text(markdown(rows))
    asked = {(encoder, decoder) for encoder in encoders for decoder in options.decoders.split(",")}
    for encoder, decoder in sorted(asked - set(last)):
        print(encoder, decoder, "the process that tried it was killed")
    sys.exit(any(row["error"] for row in rows) or bool(asked - set(last)))


if __name__ == "__main__":
    main()
