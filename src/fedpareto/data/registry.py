"""The registered data sets: their files, checksums, mirrors, and the loader of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedpareto.data.arrays import PreparedData
from fedpareto.data.fetch import RemoteFile
from fedpareto.data.loaders import builtin as named
from fedpareto.data.loaders import cifar
from fedpareto.data.loaders.scattering import IMAGENET_DEVIATION, IMAGENET_MEAN, scattered

Loader = Callable[[Mapping[str, Path]], tuple[PreparedData, dict[str, Any]]]
UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
UCI_ARCHIVE = "https://archive.ics.uci.edu/static/public"
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


@dataclass(frozen=True)
class DataSet:
    """One registered data set.

    Attributes:
      load: Files by name -> arrays and a report.
      files: What it needs; nothing for those that scikit-learn carries.
      licence: Of the data.
      folder: Where its files are looked for, if not below its own name.
    """

    load: Loader
    files: tuple[RemoteFile, ...] = ()
    licence: str = ""
    folder: str | None = None


def _files(mirrors: tuple[str, ...], hashes: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(name, (known,), tuple(m + name for m in mirrors)) for name, known in hashes.items())


MNIST = named.idx_images(tuple(str(digit) for digit in range(10)))
FASHION = named.idx_images(
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
)
MNIST_FILES = _files(
    MNIST_MIRRORS,
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_FILES = _files(
    FASHION_MIRRORS,
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
CIFAR_FILES = (
    RemoteFile(
        cifar.ARCHIVE,
        ("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",),
        ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    ),
)
CIFAR_LICENCE = "no licence stated; the authors ask to cite Krizhevsky (2009)"
HEART_FILES = _files(
    (f"{UCI}/heart-disease/",),
    {
        "processed.cleveland.data": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
        "processed.hungarian.data": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
        "processed.switzerland.data": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
        "processed.va.data": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
    },
)

REGISTRY: dict[str, DataSet] = {
    "digits": DataSet(named.digits, licence="CC BY 4.0"),
    "breast_cancer": DataSet(named.breast_cancer, licence="CC BY 4.0"),
    "mnist": DataSet(MNIST, MNIST_FILES, "CC BY-SA 3.0"),
    "mnist_scattering": DataSet(scattered(MNIST), MNIST_FILES, "CC BY-SA 3.0", folder="mnist"),
    "fashion_mnist": DataSet(FASHION, FASHION_FILES, "MIT"),
    "fashion_mnist_scattering": DataSet(scattered(FASHION), FASHION_FILES, "MIT", folder="fashion_mnist"),
    "pneumoniamnist": DataSet(
        named.pneumoniamnist,
        (
            RemoteFile(
                "pneumoniamnist.npz",
                (
                    # The official file, and a copy of the same images and labels with the training rows in another order.
                    "md5:28209eda62fecd6e6a2d98b1501bb15f",
                    "ce8250bf5debc3c389b89affcc1d9feac579b26e875a848301e9f937bb0c2eee",
                ),
                (
                    "https://zenodo.org/records/10519652/files/pneumoniamnist.npz?download=1",
                    "https://zenodo.org/records/6496656/files/pneumoniamnist.npz?download=1",
                ),
            ),
        ),
        "CC BY 4.0",
    ),
    "cifar10": DataSet(cifar.cifar10, CIFAR_FILES, CIFAR_LICENCE),
    "cifar10_scattering": DataSet(
        scattered(cifar.cifar10, IMAGENET_MEAN, IMAGENET_DEVIATION), CIFAR_FILES, CIFAR_LICENCE, folder="cifar10"
    ),
    "heart_disease": DataSet(named.heart_disease, HEART_FILES, "CC BY 4.0"),
    "fed_heart_disease": DataSet(named.fed_heart_disease, HEART_FILES, "CC BY 4.0", folder="heart_disease"),
    "credit_default": DataSet(
        named.credit_default,
        (
            RemoteFile(
                "default_of_credit_card_clients.csv.gz",
                ("fc12d2653a5cb0ae7d0ef73aed777e84f836b1e307fe60e8cf16973df1f2993b",),
                (),  # UCI serves a spreadsheet; this is its values as CSV
            ),
        ),
        "CC BY 4.0",
    ),
    "creditcard": DataSet(
        named.creditcard,
        _files(
            ("https://storage.googleapis.com/download.tensorflow.org/data/",),
            {"creditcard.csv": "76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89"},
        ),
        "DbCL 1.0",
    ),
    "bank_marketing": DataSet(
        named.bank_marketing,
        (
            RemoteFile(
                "bank-full.csv.gz",
                ("a33820520e31d26b498e31003e99eb0e477690b699a38eade375acf3b3004dcd",),
                (f"{UCI}/00222/bank.zip",),
                member="bank-full.csv",
                member_hash="d1513ec63b385506f7cfce9f2c5caa9fe99e7ba4e8c3fa264b3aaf0f849ed32d",
            ),
        ),
        "CC BY 4.0",
    ),
    "adult": DataSet(
        named.adult,
        _files(
            (f"{UCI}/adult/",),
            {
                "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            },
        ),
        "CC BY 4.0",
    ),
    "diabetes130": DataSet(
        named.diabetes130,
        (
            RemoteFile(
                "diabetic_data.csv.gz",
                ("16209e462b906f828e2423f7a9f783f4c4472ad81abd7d653f4e19b46da76e82",),
                (f"{UCI}/00296/dataset_diabetes.zip",),
                member="dataset_diabetes/diabetic_data.csv",
                member_hash="0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97",
            ),
        ),
        "CC BY 4.0",
    ),
}
