"""Medical images of MedMNIST (Yang et al. 2023)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedpareto.data.loaders.examples import prepared
from fedpareto.data.loaders.idx import scale
from fedpareto.data.loaders.interface import Files, Loaded


class PneumoniaMNIST:
    """PneumoniaMNIST's own training and test split; its validation part is left out."""

    NAME: ClassVar = "pneumoniamnist"
    TRAIN: ClassVar = 4708
    SHAPE: ClassVar = (28, 28, 1)
    LICENCE: ClassVar = "CC BY 4.0"
    FILES: ClassVar = {
        "pneumoniamnist.npz": {
            "hashes": (
                # The official file, and a copy of the same images and labels with the training rows in another order.
                "md5:28209eda62fecd6e6a2d98b1501bb15f",
                "ce8250bf5debc3c389b89affcc1d9feac579b26e875a848301e9f937bb0c2eee",
            ),
            "urls": (
                "https://zenodo.org/records/10519652/files/pneumoniamnist.npz?download=1",
                "https://zenodo.org/records/6496656/files/pneumoniamnist.npz?download=1",
            ),
        }
    }

    def load(self, files: Files) -> Loaded:
        with np.load(files["pneumoniamnist.npz"]) as stored:
            data = prepared(
                scale(stored["train_images"]),
                stored["train_labels"].ravel(),
                scale(stored["test_images"]),
                stored["test_labels"].ravel(),
                class_names=np.array(["normal", "pneumonia"]),
            )
        return data, {"preprocessing": "pixels divided by 255", "fitted_on": "nothing"}
