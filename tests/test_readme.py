"""Run the commands and the code of the README, with settings that shorten the trainings."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from maskwright.models import Unet
from tests.tgs_salt.drawn_salt import draw_salt
from tests.weights.legacy_files import inputs_of, layer_configs, layers_of, write_model

README = Path(__file__).parents[1] / "README.md"
QUICK = (
    "--epochs 1 --classes background,cell,fibre --set network.backbone=resnet18 "
    "--set training.patch_size=[64,64] --set training.batch_size=4"
)
QUICK_SALT = (
    "--folds 2 --epochs 1 --set network.backbone=resnet18 --set network.decoder_filters=[8,8,8,8,8] "
    "--set training.batch_size=4"
)

pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not installed")


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def folders(drawn, tmp_path, monkeypatch):
    """Make the folders that the README names, and change to their parent."""
    for name, source in {
        "data/images": "train/images",
        "data/masks": "train/masks",
        "new-images": "new/images",
        "test/images": "new/images",
        "test/masks": "new/masks",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(drawn / source)
    (tmp_path / "new-images/one.png").symlink_to(drawn / "new/images/000.png")
    Image.open(drawn / "new/images/000.png").resize((1400, 1300)).save(tmp_path / "section.tif")
    draw_salt(tmp_path / "tgs", images=6, tests=2)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    (drawn / "new/images/one.png").unlink()


def test_commands_and_python_example_of_the_readme_run(folders, maskwright_command):
    lines = [
        line[2:] for block in code_blocks("console") for line in block.splitlines() if line.startswith("$ maskwright")
    ]
    commands = [line.split()[1] for line in lines]
    assert commands == ["check", "train", "predict", "evaluate", "export", "predict", "predict", "train", "submit"]
    for line in lines:
        quick = line.replace("--time-budget 20m", QUICK).replace("--out salt", f"--out salt {QUICK_SALT}")
        arguments = shlex.split(quick if "train" in quick else line)[1:]
        code, _, err = maskwright_command(*arguments)
        assert code == 0, (line, err)
    assert Path("run/report.html").is_file()
    assert len(list(Path("masks").glob("*.overlay.png"))) == 2  # one.png is a link to 000.png
    assert len(list(Path("fast-masks").glob("*.png"))) == 2
    assert len(Path("submission.csv").read_text().splitlines()) == 1 + 2
    assert Image.open("section-mask.tif").size == Image.open("section.tif").size

    (training,) = (block for block in code_blocks("python") if "Segmenter.train" in block)
    quick = 'epochs=1, overwrite=True, recipe={"training": {"patch_size": (64, 64), "batch_size": 4}}'
    names = {}
    exec(training.replace('time_budget="20m"', quick), names)  # noqa: S102 - from the repository
    assert names["mask"].ndim == 2
    assert 0 <= names["scores"].mean_iou <= 1


def test_keras_example_of_the_readme_runs(tmp_path, monkeypatch):
    (code,) = (block for block in code_blocks("python") if "mw.Unet" in block)
    names = {}
    network = Unet("resnet18", decoder_filters=(8, 8, 8, 8, 8))
    write_model(
        tmp_path / "old.h5", layers_of(network), layer_configs(network), output="sigmoid", inputs=inputs_of(network)
    )
    monkeypatch.chdir(tmp_path)
    exec(code.replace('encoder_weights="imagenet"', "encoder_weights=None"), names)  # noqa: S102 - from the repository
    assert names["old"].count_params() == network.count_params()
    assert names["model"].output_shape == (None, None, None, 11)
    assert names["article"].output_shape == (None, 224, 224, 1)
