"""Predict with every network saved in a folder; run in a separate process on another backend.

``python -m tests.networks.predict_saved FOLDER NAME`` reads ``images.npy`` and each ``*.keras`` there and writes
``*.BACKEND.npy``. Then it randomises the weights of network NAME and saves it and its output in the folder ``BACKEND``.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from tests.networks.randomise import infer, randomise

if __name__ == "__main__":
    folder, randomised_name = Path(sys.argv[1]), sys.argv[2]
    backend = keras.backend.backend()
    images = np.load(folder / "images.npy")
    for file in sorted(folder.glob("*.keras")):
        network = keras.saving.load_model(file)
        np.save(folder / f"{file.stem}.{backend}.npy", infer(network, images))
        if file.stem == randomised_name:
            (folder / backend).mkdir()
            randomise(network, seed=9).save(folder / backend / file.name)
            np.save(folder / backend / f"{randomised_name}.npy", infer(network, images))
