"""The user's own arrays: an NPZ file whose headers are checked before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from fedpareto.data import COLOURS, UserFileError, unfit
from fedpareto.data.arrays import PreparedData
from fedpareto.data.own import summary
from fedpareto.data.own.delimited import largest
from fedpareto.data.own.roles import Labelled, about_missing, about_quantities, classes, owned, without_training
from fedpareto.data.own.spelling import Spelled, spelled
from fedpareto.data.own.splitting import stratified
from fedpareto.data.own.words import listed, shown

OF_TABLES = ("label", "client", "split", "drop", "categories", "missing", "separator", "decimal", "most_levels")
KINDS = {"x": "biuf", "y": "biufUS", "client": "biufUS"}


@dataclass(frozen=True)
class Header:
    """The header of an array: shape, dtype, and its size in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class Outline(Labelled):
    """All of an NPZ file but its examples; training examples come first where the file has parts for both.

    Attributes:
      example: Shape of one example.
      split: Whether the file has one part, which is split here.
    """

    example: tuple[int, ...]
    split: bool


def outline(path: Path, options: Mapping[str, Any]) -> Outline:
    """Reads headers, labels and owners, and checks that they fit each other.

    Args:
      path: The file: arrays `x_train, y_train, x_test, y_test`, or `x, y` to be split; `client_train, client_test` or `client`.
      options: `test_fraction`, `largest_gb` and `client_case` of the data set.

    Raises:
      UserFileError: It cannot serve.
    """
    headers = _headers(path, largest(options))
    whole = {"x", "y"} <= set(headers)
    parts = ("",) if whole else ("_train", "_test")
    needed = [name + part for part in parts for name in ("x", "y")]
    missing = [name for name in needed if name not in headers]
    if missing:
        held = "it holds " + (listed(list(headers)) or "nothing")
        raise unfit(path, "hold x and y, or x_train, y_train, x_test and y_test", held)
    for key in OF_TABLES:
        if options.get(key) not in (None, [], "."):
            hint = "arrays are called x, y and client, or x_train, y_train, client_train and so on"
            raise UserFileError(key, options[key], "not stand beside an NPZ file", hint)
    owner_names = [f"client{part}" for part in parts]
    given = [name for name in owner_names if name in headers]
    unused = [name for name in headers if name not in (*needed, *owner_names)]
    for name in unused:
        near = get_close_matches(name, (*needed, *owner_names), n=1, cutoff=0.75)
        near = near or (["client"] if name.startswith("client") else [])
        if near and not name.endswith("_val"):
            raise unfit(
                path,
                f"hold {listed(needed + owner_names)} and nothing like it",
                f"is {shown(name)} meant for {near[0]}?",
            )
    if given and given != owner_names:
        raise unfit(path, f"hold {' and '.join(owner_names)}, or neither", f"it holds {given[0]} alone")
    for part in parts:
        for name in ("x", "y", *(["client"] if given else [])):
            _check_header(path, name, part, headers)
    examples = {headers[f"x{part}"].shape[1:] for part in parts}
    if len(examples) > 1:
        shapes = " and ".join(" x ".join(map(str, shape)) for shape in sorted(examples, key=str))
        raise unfit(path, "hold examples of one shape", f"those of x_train and x_test are {shapes}")
    labels, names, notes = _labels(path, [np.ravel(_read(path, f"y{part}")) for part in parts])
    cut = headers["x" if whole else "x_train"].shape[0]
    if whole:
        train, test = stratified(path, labels, names, float(options.get("test_fraction", 0.2)))
    else:
        train, test = np.arange(cut), np.arange(cut, len(labels))
    owners = None
    if given:
        texts = _joined([_spelled(path, name, np.ravel(_read(path, name))) for name in given])
        notes += about_missing("client", texts)
        owners = owned(owner_names[0], texts, train, options.get("client_case"))
    (example,) = examples
    notes += [*(owners.notes if owners else ()), *_about_images(example)]
    if unused:
        notes.append(f"arrays that are not used: {listed(unused)}")
    untrained = without_training(labels, names, train)
    if len(names) - len(untrained) < 2:
        raise unfit(path, "hold training examples of two classes at least", "all have one label")
    if untrained:
        notes.append(f"no training example has the label {listed(untrained, 5)}: no model can learn it")
    return Outline(train, test, labels, names, owners, tuple(notes), example, whole)


def load(path: Path, options: Mapping[str, Any]) -> tuple[PreparedData, dict[str, Any]]:
    """Arrays and a report of an NPZ file.

    Raises:
      UserFileError: It cannot serve.
    """
    labelled = outline(path, options)
    if labelled.split:
        x = _numbers(path, "x")
        x_train, x_test = x[labelled.train], x[labelled.test]
    else:
        x_train, x_test = _numbers(path, "x_train"), _numbers(path, "x_test")
    data = labelled.prepared(x_train, x_test)
    report = report_of(labelled)
    low, high = float(x_train.min()), float(x_train.max())
    report["range"] = [low, high]
    if high - low > 50:
        bytes_ = low >= 0 and high <= 255 and len(labelled.example) == 3
        scale = (
            "write preprocessing: {name: rescale, deviation: 255}"
            if bytes_
            else "arrays are taken as they are: rescale them"
        )
        report["notes"].append(
            f"examples range from {low:g} to {high:g}, and models learn best from about -1 to 1: {scale}"
        )
    return data, report


def report_of(found: Outline) -> dict[str, Any]:
    """The report of the arrays that `summary.show` prints."""
    return {
        "preprocessing": "none: arrays are taken as they are",
        "fitted_on": "nothing",
        "features": math.prod(found.example),
        "examples": {"train": len(found.train), "test": len(found.test), "left out": 0},
    } | summary.of_examples(found.labels[found.train], found.class_names, found.owners, found.train, found.notes)


def _headers(path: Path, limit: float) -> dict[str, Header]:
    """Header of every array; nothing is unpacked that the file does not hold, or that is larger than allowed."""
    headers: dict[str, Header] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > limit:
                hint = f"it unpacks to {total / 1e9:.3g} GB; write a larger largest_gb if that is meant"
                raise unfit(path, f"unpack to at most {limit / 1e9:g} GB", hint)
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in headers:
                    raise unfit(path, "hold every array once", f"{shown(name)} stands there twice")
                headers[name] = _header(path, name, archive, member)
    except UserFileError:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds on bytes that are none of theirs
        reason = shown(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise unfit(path, "be an NPZ file", reason) from error
    return headers


def _header(path: Path, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"{name} is written in version {version} of numpy's format")
        shape, _, dtype = read(file)
        start = file.tell()
    if dtype.hasobject:
        hint = f"{name} does: save it with a plain dtype (allow_pickle=False)"
        raise unfit(path, "hold no Python objects", hint)
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != member.file_size - start:
        hint = f"{name} claims {size:,} bytes and there are {member.file_size - start:,}"
        raise unfit(path, "hold what its headers say", hint)
    return Header(tuple(int(side) for side in shape), dtype, size)


def _check_header(path: Path, name: str, part: str, headers: Mapping[str, Header]) -> None:
    """One array: a kind that its role can be, one row an example, and at least one."""
    header, examples = headers[name + part], headers[f"x{part}"].shape
    if header.dtype.kind not in KINDS[name] or header.dtype.fields:
        kinds = "real numbers" if name == "x" else "numbers or text"
        raise unfit(path, f"hold {kinds} in {name}{part}", f"it holds {header.dtype}: convert it first")
    if name == "x":
        if len(examples) < 2 or not math.prod(examples):
            must = f"hold x{part} as [examples, features] or [examples, height, width, channels]"
            raise unfit(path, must, f"its shape is {examples}")
        return
    if math.prod(header.shape) != header.shape[0] if header.shape else True:
        way = (
            "one class number an example: np.argmax(y, axis=1) of one-hot rows" if name == "y" else "one id an example"
        )
        raise unfit(path, f"hold {name}{part} as [examples]", f"its shape is {header.shape}: write {way}")
    if header.shape[0] != examples[0]:
        must = f"hold as many rows in {name}{part} as in x{part}"
        raise unfit(path, must, f"{header.shape[0]:,} and {examples[0]:,}")


def _read(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as stored:
            array: np.ndarray = stored[name]
            return array
    except Exception as error:  # as above
        reason = shown(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise unfit(path, "be a whole NPZ file", f"{name}: {reason}") from error


def _numbers(path: Path, name: str) -> np.ndarray:
    """An array of examples, float32 and finite."""
    raw = _read(path, name)
    with np.errstate(over="ignore"):
        x = raw.astype(np.float32)
    odd = np.argwhere(~np.isfinite(x))
    if len(odd):
        at = tuple(int(i) for i in odd[0])
        hint = f"{name}{list(at)} is {raw[at]!s}, one of {len(odd):,}: fill gaps, and scale what is larger than 3e38"
        raise unfit(path, "hold numbers that are finite in 32 bits", hint)
    return x


def _labels(path: Path, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Class numbers, int32 [examples], names (numbers in their order, words in the alphabet's), and notes."""
    kinds = {"text" if part.dtype.kind in "US" else "numbers" for part in parts}
    if len(kinds) > 1:
        raise unfit(
            path, "hold labels of one kind", "they are numbers in one of y_train and y_test, and text in the other"
        )
    if kinds == {"text"}:
        texts = _joined([_spelled(path, "y", part) for part in parts])
        return *classes("y", texts), about_missing("label", texts)
    raw = np.concatenate([part.astype(np.float64) if part.dtype.kind == "f" else part for part in parts])
    if not np.isfinite(raw).all():
        at = np.flatnonzero(~np.isfinite(raw))[0]
        raise unfit(path, "hold a label for every example", f"y is {raw[at]} at {at}")
    names, labels = np.unique(raw, return_inverse=True)
    if not 2 <= len(names) <= max(2, len(raw) // 2):
        hint = f"y has {len(names)} different values in {len(raw)} examples"
        raise unfit(path, "hold two or more classes", hint)
    return labels.astype(np.int32), names.astype(str), about_quantities("y", names)


def _spelled(path: Path, name: str, array: np.ndarray) -> Spelled:
    """An array of labels or ids as words, none of them empty."""
    try:
        plain = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    except UnicodeDecodeError as error:
        raise unfit(
            path, f"hold text in UTF-8 in {name}", f"it holds the byte {error.object[error.start]:#x}"
        ) from error
    texts = spelled(pa.chunked_array([pa.array(plain.tolist())]))
    if (texts.codes < 0).any():
        what = "its class" if name == "y" else "whose it is"
        raise unfit(path, f"say of every example {what}", f"{name} is empty at {np.flatnonzero(texts.codes < 0)[0]}")
    return texts


def _joined(parts: Sequence[Spelled]) -> Spelled:
    """The words of several arrays as those of one."""
    words = tuple(dict.fromkeys(word for part in parts for word in part.words))
    place = {word: i for i, word in enumerate(words)}
    codes = [np.array([place[word] for word in part.words], np.int32)[part.codes] for part in parts]
    return Spelled(
        words, np.concatenate(codes), {word: spellings for part in parts for word, spellings in part.merged.items()}
    )


def _about_images(example: tuple[int, ...]) -> list[str]:
    if len(example) == 3 and example[0] in COLOURS and example[2] not in COLOURS:
        sides = " x ".join(map(str, example))
        return [
            f"examples of {sides} seem to have their channels first: models want [examples, height, width, channels]"
        ]
    return []
