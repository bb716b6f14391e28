"""Data sets that scikit-learn carries: no files are fetched."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from fedpareto.data.loaders.examples import prepared, split
from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.tabular import encoded


class Digits:
    """scikit-learn's 8 x 8 digits, pixels in [0, 1]; a stratified fifth is the test set."""

    NAME: ClassVar = "digits"
    TRAIN: ClassVar = 1438
    FLAT_IMAGE_SHAPE: ClassVar = (8, 8, 1)
    LICENCE: ClassVar = "CC BY 4.0"

    def load(self, files: Files) -> Loaded:
        del files
        bunch = load_digits()
        x = (bunch.data / 16).astype(np.float32)
        train, test = split(bunch.target)
        names = np.array([str(digit) for digit in range(10)])
        report = {"preprocessing": "pixels divided by 16", "fitted_on": "nothing"}
        return prepared(x[train], bunch.target[train], x[test], bunch.target[test], class_names=names), report


class BreastCancer:
    """scikit-learn's breast cancer (Wisconsin, diagnostic); a stratified fifth is the test set."""

    NAME: ClassVar = "breast_cancer"
    TRAIN: ClassVar = 455
    LICENCE: ClassVar = "CC BY 4.0"

    def load(self, files: Files) -> Loaded:
        del files
        bunch = load_breast_cancer(as_frame=True)
        labels = bunch.target.to_numpy()
        train, test = split(labels)
        return encoded(
            bunch.data, labels, train, test, class_names=np.array([str(name) for name in bunch.target_names])
        )
