"""Entrant of `minutes.py`: `maskwright train`, then `maskwright predict`.

    python benchmarks/entrants/maskwright_train.py {folder} {out} {seconds} {seed} [TRAIN_OPTION ...]

Only the folders, the classes, the ignored id, the time budget and, unless it is 0, the seed are specified; other
settings are defaults, unless options of `maskwright train` are appended. The time budget covers the whole training
command, including its start, validation and the report.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml

MASKWRIGHT = Path(sys.executable).with_name("maskwright")


def maskwright(*words: object) -> None:
    if code := subprocess.run([MASKWRIGHT, *map(str, words)]).returncode:
        sys.exit(code)


def describe_run(run: Path) -> dict:
    facts = json.loads((run / "run.json").read_text())
    network = yaml.safe_load((run / "recipe.yaml").read_text())["network"]
    weights = network["encoder_weights"] or "none"
    notes = {"steps": facts["steps"], "versions": facts["versions"], "encoder": network["backbone"]}
    return notes | {"weights": "from scratch" if weights == "none" else Path(weights).name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the set")
    parser.add_argument("out", type=Path, help="folder for the masks")
    parser.add_argument("seconds", help="training budget")
    parser.add_argument("seed", type=int)
    arguments, options = parser.parse_known_args()
    folder, out, run = arguments.folder, arguments.out, arguments.out / "run"
    facts = json.loads((folder / "set.json").read_text())
    data = ["--images", folder / "train/images", "--masks", folder / "train/masks"]
    if facts["validation"]:
        data += ["--val-images", folder / "val/images", "--val-masks", folder / "val/masks"]
    data += ["--classes", ",".join(facts["classes"])]
    if facts["ignored"] is not None:
        data += ["--ignore", facts["ignored"]]
    seed = ["--set", f"training.seed={arguments.seed}"] if arguments.seed else []
    maskwright("train", *data, *seed, *options, "--time-budget", f"{arguments.seconds}s", "--out", run)
    (out / "trained").touch()
    maskwright("predict", run, folder / "test/images", "--out", out)
    (out / "entrant.json").write_text(json.dumps(describe_run(run)))


if __name__ == "__main__":
    main()
