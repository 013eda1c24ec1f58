"""The command ``find-lr``."""

import re

import pytest

from tests.cli.pairs import folders

SMALL = [
    *("--set", "network.backbone=resnet18", "--set", "network.decoder_filters=[16,16,8,8,8]"),
    *("--set", "training.patch_size=[64,64]", "--set", "training.batch_size=4", "--set", "training.precision=float32"),
]


def test_the_rate_is_printed_and_the_loss_plotted(drawn, tmp_path, maskwright_command):
    plot, python = tmp_path / "rates.png", tmp_path / "mine.py"
    data = [*folders(drawn / "train"), "--classes", "background,cell,fibre"]
    python.write_text("def augmentation(image, mask):\n    print('mine')\n    return locals()\n")
    command = ["find-lr", *data, *SMALL, "--steps", "40", "--out", plot]
    code, out, err = maskwright_command(*command, "--python", python)
    assert code == 0, err
    assert out.count("mine") >= 40
    rate = re.search(r"learning rate (\S+): --set training\.learning_rate=(\S+)\n", out)
    assert rate[1] == rate[2]
    assert 0 < float(rate[1]) < 1
    assert plot.read_bytes()[:4] == b"\x89PNG"
    before = plot.stat().st_mtime_ns
    code, _, err = maskwright_command(*command)
    assert code == 1
    assert f"--out {plot}: found an existing file" in err
    assert "--overwrite" in err
    assert plot.stat().st_mtime_ns == before


@pytest.mark.parametrize(("name", "expected_code"), [("rates.jpg", 2), ("rates", 2), ("folder.png", 1)])
def test_the_plot_requires_the_name_of_a_new_png(name, expected_code, pairs, tmp_path, maskwright_command):
    (tmp_path / "folder.png").mkdir()
    code, _, err = maskwright_command("find-lr", *folders(pairs), "--out", tmp_path / name, "--overwrite")
    assert code == expected_code
    assert err.startswith(f"error: --out {tmp_path / name}")
    assert f"expected a {'new ' * (code == 1)}name in .png" in err
