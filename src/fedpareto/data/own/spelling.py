"""A column of a user's table as words, whatever its type: ids, classes and categories are compared by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedpareto.data.own.words import clean


@dataclass(frozen=True)
class Spelled:
    """A column as words.

    Attributes:
      words: Its different values, cleaned, in the order in which they first stand.
      codes: int32 [rows], which of them; -1 where the field is empty.
      merged: Word -> its spellings in the file, where there are several.
    """

    words: tuple[str, ...]
    codes: np.ndarray
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def counts(self) -> np.ndarray:
        """Rows of each word, int64 [words]."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.words))

    def at(self, rows: np.ndarray) -> Spelled:
        """The same of some rows, without the words that these do not hold."""
        codes = self.codes[rows]
        held, inverse = np.unique(codes[codes >= 0], return_inverse=True)
        codes_of_rows = np.full(len(codes), -1, np.int32)
        codes_of_rows[codes >= 0] = inverse
        words = tuple(self.words[i] for i in held)
        return Spelled(words, codes_of_rows, {word: self.merged[word] for word in words if word in self.merged})


def spelled(array: pa.ChunkedArray) -> Spelled:
    """A column as words, whatever its type: whole numbers without a point, as their owner writes them."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        values = array.cast(pa.float64())
        whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
        text = pc.if_else(
            whole, pc.if_else(whole, values, 0.0).cast(pa.int64()).cast(pa.string()), values.cast(pa.string())
        )
        array = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.string()), text)
    elif not is_text(kind):
        array = array.cast(pa.string())
    encoded = (
        pa.chunked_array([*array.cast(pa.large_string()).chunks], pa.large_string())
        .combine_chunks()
        .dictionary_encode()
    )
    raw = encoded.dictionary.to_pylist()
    words: dict[str, int] = {}
    spellings: list[list[str]] = []
    codes = np.empty(len(raw) + 1, np.int32)
    for i, text in enumerate(raw):
        word = clean(text)
        codes[i] = -1 if word == "" else words.setdefault(word, len(words))
        if codes[i] == len(spellings):
            spellings.append([])
        if codes[i] >= 0:
            spellings[codes[i]].append(text)
    codes[-1] = -1
    places = np.asarray(pc.fill_null(encoded.indices, len(raw)))
    merged = {word: tuple(variants) for word, variants in zip(words, spellings, strict=True) if len(variants) > 1}
    return Spelled(tuple(words), codes[places], merged)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
