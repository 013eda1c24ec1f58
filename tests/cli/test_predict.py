"""The command ``predict`` with a folder as the output."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.cli.pairs import paint


def test_one_damaged_file_of_twenty_costs_one_mask(trained, tmp_path, maskwright_command):
    for number in range(20):
        paint(tmp_path / f"in/{number:02}.png", np.full((33, 40, 3), number))
    (tmp_path / "in/07.png").write_bytes((tmp_path / "in/07.png").read_bytes()[:40])
    code, out, err = maskwright_command("predict", trained.folder, tmp_path / "in", "--out", tmp_path / "out")
    masks = sorted((tmp_path / "out").glob("*.png"))
    assert code == 1
    assert len(masks) == 19
    assert all(np.asarray(Image.open(mask)).shape == (33, 40) for mask in masks)
    assert "07.png" in err
    assert "1 of 20 files failed" in err
    assert "(19)" in out


def test_overlays_are_drawn_and_a_second_command_continues(trained, drawn, tmp_path, maskwright_command):
    command = ["predict", trained.folder, drawn / "new/images/*.png", "--out", tmp_path / "out", "--overlay"]
    code, _, _ = maskwright_command(*command)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "000.overlay.png", "000.png", "001.overlay.png", "001.png",
    ]  # fmt: skip
    (tmp_path / "out/001.png").unlink()
    assert "(2, 1 from before)" in maskwright_command(*command)[1]


def test_a_damaged_network_is_an_error(trained, drawn, tmp_path, maskwright_command):
    run = shutil.copytree(trained.folder, tmp_path / "run")
    (run / "model.keras").write_bytes(b"PK\x03\x04 not a network")
    code, _, err = maskwright_command("predict", run, drawn / "new/images", "--out", tmp_path / "out")
    assert code == 1
    assert err.startswith(f"error: {run / 'model.keras'}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("out", ["out", "out.tif"])
def test_a_missing_device_is_one_error(out, trained, drawn, tmp_path, maskwright_command):
    command = ["predict", trained.folder, drawn / "new/images/000.png", "--out", tmp_path / out, "--device", "gpu:9"]
    code, _, err = maskwright_command(*command)
    assert code == 1
    assert err.startswith("error: device gpu:9: ")
    assert "expected cpu" in err
    assert err.count("\n") == 1
    assert not (tmp_path / out).exists()


def test_the_cpu_can_be_requested(trained, drawn, tmp_path, maskwright_command):
    command = ["predict", trained.folder, drawn / "new/images/000.png", "--device", "cpu", "--out", tmp_path / "out"]
    assert maskwright_command(*command)[0] == 0
    expected = trained.predict(drawn / "new/images/000.png")
    assert (np.asarray(Image.open(tmp_path / "out/000.png")) == expected).all()


def test_a_full_disk_is_one_error(trained, drawn, tmp_path, maskwright_command, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", str(tmp_path / "out/000.png"))

    monkeypatch.setattr("maskwright.images.write.os.fsync", full)
    code, _, err = maskwright_command("predict", trained.folder, drawn / "new/images", "--out", tmp_path / "out")
    assert code == 1
    assert err.startswith("error: ")
    assert "no space left on device" in err
    assert err.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(("out", "method"), [("out", "predict_files"), ("mask.tif", "predict_large")])
def test_an_interrupt_prints_how_to_continue(out, method, trained, drawn, tmp_path, maskwright_command, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"maskwright.segmenter.Segmenter.{method}", interrupted)
    code, _, err = maskwright_command("predict", trained.folder, drawn / "new/images/000.png", "--out", tmp_path / out)
    assert (code, err) == (130, "Interrupted. Finished files are kept. Run the same command again to continue.\n")
