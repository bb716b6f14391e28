"""Which examples train and which test, where the data do not say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from fedpareto.data import unfit
from fedpareto.data.own.words import listed

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "holdout", "hold-out"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}


def stratified(path: Path, labels: np.ndarray, names: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of training and test examples, sorted, always the same for the same labels.

    Args:
      path: The file, for messages.
      labels: int [n], class numbers.
      names: unicode [classes].
      fraction: Share of the test set.

    Raises:
      UserFileError: A class is too rare to stand on both sides, or a side would be too small for all classes.
    """
    single = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 1)
    if len(single):
        must = "hold at least two rows of every class, one to train and one to test"
        classes = listed([str(names[i]) for i in single], 5)
        raise unfit(path, must, f"there is one only of {classes}: say with split which rows train")
    held = math.ceil(fraction * len(labels))
    if not len(names) <= held <= len(labels) - len(names):
        hint = f"it has {len(labels)} rows of {len(names)} classes, and a stratified {fraction:g} of them is to test"
        raise unfit(path, "be large enough for every class to train and to test", f"{hint}: use split or test_fraction")
    try:
        train, test = train_test_split(np.arange(len(labels)), test_size=fraction, random_state=0, stratify=labels)
    except ValueError as error:
        must = f"be large enough for a stratified {fraction:g} of it to test"
        raise unfit(path, must, str(error).splitlines()[0]) from error
    return np.sort(train), np.sort(test)
