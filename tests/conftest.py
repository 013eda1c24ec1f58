"""Shared fixtures: a drawn data set, a short training run on it, and the command line."""

import os
import signal
import sys
import tempfile

import pytest

# Tests neither download weights nor find those that other programs downloaded; the processes they start inherit this.
os.environ |= {"MASKWRIGHT_OFFLINE": "1", "KERAS_HOME": tempfile.mkdtemp(prefix="keras-")}

SMALL_RECIPE = {
    "network": {"backbone": "resnet18", "encoder_weights": "none", "decoder_filters": [16, 16, 8, 8, 8]},
    "training": {"batch_size": 4, "patch_size": [64, 64], "precision": "float32"},
}


@pytest.fixture(scope="session", autouse=True)
def interrupted_by_sigint():
    """Let SIGINT interrupt this process and its children, as in a terminal.

    A shell starts background jobs with SIGINT ignored; children inherit that, and Python keeps it. The commands keep it
    too: like other Unix programs, a training in the background does not end at a Ctrl-C meant for the foreground.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A small version of the demo's data set: train, val and new, each with images and masks."""
    from maskwright.data.demo import draw_demo

    folder = tmp_path_factory.mktemp("drawn")
    draw_demo(folder, training=8, validation=3, new=2, size=(64, 96))
    return folder


@pytest.fixture(scope="session")
def trained(drawn, tmp_path_factory):
    """The segmenter of a complete run: two epochs of a small network."""
    from maskwright.segmenter import Segmenter

    return Segmenter.train(
        drawn / "train/images",
        drawn / "train/masks",
        out=tmp_path_factory.mktemp("runs") / "run",
        classes=["background", "cell", "fibre"],
        epochs=2,
        recipe=SMALL_RECIPE,
    )


@pytest.fixture
def maskwright_command(monkeypatch, capsys):
    """Run a command in this process; return its exit code, standard output and standard error."""

    def run(*arguments, columns=200):
        from maskwright.cli import main

        monkeypatch.setattr(sys, "argv", ["maskwright", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        try:
            main()
            code = 0
        except SystemExit as ending:
            code = ending.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
