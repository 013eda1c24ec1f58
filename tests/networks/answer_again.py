"""Run in a process of its own on another backend: answer with every network saved in a folder.

``python -m tests.networks.answer_again FOLDER NAME`` reads ``images.npy`` and each ``*.keras`` there and writes
``*.BACKEND.npy``; then it gives network NAME other weights and writes it and its answer to the folder ``BACKEND``.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from tests.networks.randomise import answer, randomise

if __name__ == "__main__":
    folder, own = Path(sys.argv[1]), sys.argv[2]
    backend = keras.backend.backend()
    images = np.load(folder / "images.npy")
    for file in sorted(folder.glob("*.keras")):
        network = keras.saving.load_model(file)
        np.save(folder / f"{file.stem}.{backend}.npy", answer(network, images))
        if file.stem == own:
            (folder / backend).mkdir()
            randomise(network, seed=9).save(folder / backend / file.name)
            np.save(folder / backend / f"{own}.npy", answer(network, images))
