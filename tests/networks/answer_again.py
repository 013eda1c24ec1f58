"""Run in a process of its own on another backend: answer with every network saved in a folder.

``python -m tests.networks.answer_again FOLDER`` reads ``images.npy`` and each ``NAME.keras`` there and writes
``NAME.BACKEND.npy``.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from tests.networks.randomise import answer

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    images = np.load(folder / "images.npy")
    for file in sorted(folder.glob("*.keras")):
        np.save(folder / f"{file.stem}.{keras.backend.backend()}.npy", answer(keras.saving.load_model(file), images))
