"""The training framework, loaded only for what needs it."""

from pathlib import Path


def load_framework_for(folder: Path) -> None:
    """Load Keras, unless ``folder`` holds an engine that does without it."""
    from maskwright.inference.load_predictor import loads_framework

    if loads_framework(folder):
        from maskwright.framework import load_keras

        load_keras()
