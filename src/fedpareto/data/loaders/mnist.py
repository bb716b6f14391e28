"""MNIST and Fashion-MNIST, as images and as their scattering features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedpareto.data.loaders.examples import prepared
from fedpareto.data.loaders.idx import read_idx, scale
from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.scattering import scattered


class MNIST:
    """Handwritten digits (LeCun et al. 1998), 28 x 28 pixels in [0, 1]."""

    NAME: ClassVar = "mnist"
    TRAIN: ClassVar = 60_000
    SHAPE: ClassVar = (28, 28, 1)
    LICENCE: ClassVar = "CC BY-SA 3.0"
    FOLDER: ClassVar = "mnist"
    CLASSES: ClassVar = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    MIRRORS: ClassVar = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    FILES: ClassVar = {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }

    def load(self, files: Files) -> Loaded:
        return images(files, self.CLASSES)


class MNISTScattering(MNIST):
    """Scattering features of MNIST, 7 x 7 places of 81 channels."""

    NAME: ClassVar = "mnist_scattering"
    SHAPE: ClassVar = (7, 7, 81)

    def load(self, files: Files) -> Loaded:
        return scattered(super().load(files))


class FashionMNIST(MNIST):
    """Pictures of clothes (Xiao et al. 2017), 28 x 28 pixels in [0, 1]."""

    NAME: ClassVar = "fashion_mnist"
    LICENCE: ClassVar = "MIT"
    FOLDER: ClassVar = "fashion_mnist"
    CLASSES: ClassVar = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    MIRRORS: ClassVar = (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    FILES: ClassVar = {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }


class FashionMNISTScattering(FashionMNIST):
    """Scattering features of Fashion-MNIST, 7 x 7 places of 81 channels."""

    NAME: ClassVar = "fashion_mnist_scattering"
    SHAPE: ClassVar = (7, 7, 81)

    def load(self, files: Files) -> Loaded:
        return scattered(super().load(files))


def images(files: Files, classes: Sequence[str]) -> Loaded:
    """The images of MNIST's four files."""
    arrays = {name.split("-ubyte")[0]: read_idx(path) for name, path in files.items()}
    data = prepared(
        scale(arrays["train-images-idx3"]),
        arrays["train-labels-idx1"],
        scale(arrays["t10k-images-idx3"]),
        arrays["t10k-labels-idx1"],
        class_names=np.array(classes),
    )
    return data, {"preprocessing": "pixels divided by 255", "fitted_on": "nothing"}
