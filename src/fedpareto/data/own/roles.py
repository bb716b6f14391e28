"""The columns of a user's table that are no features: label, client and split, and which rows they choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fedpareto.data import UserFileError, unfit
from fedpareto.data.arrays import PreparedData
from fedpareto.data.own.columns import MISSING
from fedpareto.data.own.spelling import Spelled, spelled
from fedpareto.data.own.splitting import SPLIT_WORDS, stratified
from fedpareto.data.own.words import alike, clean, listed, number, shown

ROLES = ("label", "client", "split")


@dataclass(frozen=True)
class Owners:
    """Whose the examples are.

    Attributes:
      names: unicode [owners]: first those that hold training examples, who are the clients, then all others.
      clients: How many are clients.
      codes: int32 [examples], the owner of each.
      notes: Notes for the owner of the data.
    """

    names: np.ndarray
    clients: int
    codes: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """Examples but for their features.

    Attributes:
      train: int [train], positions of the training examples in `labels`.
      test: int [test], likewise.
      labels: int32 [examples], class numbers.
      class_names: unicode [classes].
      owners: Whose each example is, or None.
      notes: Notes for the owner of the data.
    """

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    class_names: np.ndarray
    owners: Owners | None
    notes: tuple[str, ...]

    def prepared(self, x_train: np.ndarray, x_test: np.ndarray) -> PreparedData:
        """The data set with these features, float32 [train, ...] and [test, ...]."""
        owners = self.owners
        return PreparedData(
            x_train=x_train,
            y_train=self.labels[self.train],
            x_test=x_test,
            y_test=self.labels[self.test],
            class_names=self.class_names,
            client_train=None if owners is None else owners.codes[self.train],
            client_test=None if owners is None else owners.codes[self.test],
            client_names=None if owners is None else owners.names[: owners.clients],
        )


@dataclass(frozen=True)
class SelectedRows(Labelled):
    """The rows of a table that its roles select.

    Attributes:
      rows: int [examples], the rows of the table that train or test.
      how: How they were told apart.
      left_out: Rows that do neither.
      texts: Role -> its column at `rows`.
    """

    rows: np.ndarray
    how: str
    left_out: int
    texts: Mapping[str, Spelled]


def roles_of(path: Path, columns: Sequence[str], options: Mapping[str, Any]) -> dict[str, str]:
    """Role -> column of `label`, `client` and `split`, as far as they are given.

    Raises:
      UserFileError: A column is named that is not there, or in two roles.
    """
    if options.get("label") is None:
        raise UserFileError("label", None, "name the label column", "one of " + listed(columns))
    roles = {role: clean(str(options[role])) for role in ROLES if options.get(role) is not None}
    lists = {key: [clean(str(name)) for name in options.get(key) or ()] for key in ("drop", "categories")}
    named: list[tuple[str, str, int | None]] = [(role, name, None) for role, name in roles.items()]
    named += [(key, name, i) for key, names in lists.items() for i, name in enumerate(names)]
    for role, name, index in named:
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            hint = f"did you mean {near[0]}?" if near else "it has " + listed(columns)
            raise UserFileError(role, name, f"be a column of {path}", hint, index)
    for (one, name, _), (other, same, index) in combinations(named, 2):
        if name == same:
            raise UserFileError(other, same, f"be another column than {one}", "a column has one role", index)
    return roles


def choose(path: Path, table: pa.Table, first_row: int, options: Mapping[str, Any]) -> SelectedRows:
    """Which rows train and test, their classes and whose they are.

    Rows that the split leaves out are gone before anything is counted.

    Raises:
      UserFileError: A role's column holds what its role cannot be.
    """
    roles = roles_of(path, table.column_names, options)
    texts = {role: _spelled(role, name, table) for role, name in roles.items()}
    notes: list[str] = []
    everything, left_out = np.arange(table.num_rows), 0
    part = None
    if "split" in texts:
        part = _parts(path, roles["split"], texts["split"], first_row)
        everything = np.flatnonzero(part != "validation")
        left_out = table.num_rows - len(everything)
    repeated = np.flatnonzero(
        np.array([word == roles["label"] for word in texts["label"].words] + [False])[texts["label"].codes]
    )
    if len(repeated) and all(
        column.words[column.codes[repeated[0]]] == roles[role]
        for role, column in texts.items()
        if column.codes[repeated[0]] >= 0
    ):
        raise unfit(path, "hold the line of column names once", f"row {first_row + repeated[0]} repeats it: remove it")
    texts = {role: column.at(everything) for role, column in texts.items()}
    for role, name in roles.items():
        empty = np.flatnonzero(texts[role].codes < 0)
        if len(empty):
            first = first_row + everything[empty[0]]
            must = f"say of every row {'its class' if role == 'label' else 'whose it is'}"
            hint = f"it is empty in {len(empty)} rows, the first is row {first}: fill them in, or remove these rows"
            raise UserFileError(role, name, must, hint)
    labels, class_names = classes(roles["label"], texts["label"])
    if part is None:
        fraction = float(options.get("test_fraction", 0.2))
        train, test = stratified(path, labels, class_names, fraction)
        how = f"a stratified {fraction:g} of the rows is the test set"
    else:
        train, test = (np.flatnonzero(part[everything] == side) for side in ("train", "test"))
        how = f"column {roles['split']}"
    untrained = without_training(labels, class_names, train)
    if len(class_names) - len(untrained) < 2:
        raise UserFileError(
            "split", roles.get("split"), "mark training rows of two classes at least", "all have one label"
        )
    if untrained:
        notes.append(f"no training row has the label {listed(untrained, 5)}: no model can learn it")
    notes += about_quantities(roles["label"], class_names)
    for role in ("label", "client"):
        notes += about_missing(role, texts[role]) if role in texts else []
    owners = None
    if "client" in texts:
        owners = owned(roles["client"], texts["client"], train, options.get("client_case"))
        notes += owners.notes
    for role, column in texts.items():
        notes += [
            f"{role} column {roles[role]}: {' and '.join(map(shown, m[:3]))} are one" for m in column.merged.values()
        ][:3]
    return SelectedRows(train, test, labels, class_names, owners, tuple(notes), everything, how, left_out, texts)


def without_training(labels: np.ndarray, names: np.ndarray, train: np.ndarray) -> list[str]:
    """The classes without a training example."""
    return [str(names[i]) for i in np.flatnonzero(np.bincount(labels[train], minlength=len(names)) == 0)]


def about_missing(role: str, texts: Spelled) -> list[str]:
    """Notes on words that often stand for nothing, and are a class or a client here."""
    missing_words = [(word, n) for word, n in zip(texts.words, texts.counts, strict=True) if word.casefold() in MISSING]
    return [
        f"{shown(word)} is a {'class' if role == 'label' else role} of its own ({n} rows)" for word, n in missing_words
    ][:3]


def owned(column: str, texts: Spelled, train: np.ndarray, case: str | None) -> Owners:
    """Whose the examples are: ids are text, blanks around them do not count, and case counts only if that is said.

    Args:
      column: Name of the column (or array), for messages.
      texts: The id of each example.
      train: int [train], the training examples: who has none is no client.
      case: `exact` or `folded`; None to refuse ids that differ in case alone.

    Raises:
      UserFileError: One institution may stand under several spellings.
    """
    same = alike(texts.words, as_numbers=False)
    if same and case is None:
        must = "name every client in one spelling"
        hint = f"{' and '.join(map(shown, same[0][:4]))}: write one, or say client_case: folded (one client) or exact (several)"
        raise UserFileError("client", column, must, hint)
    notes = []
    words, codes = texts.words, texts.codes
    if case == "folded":
        first = {word: group[0] for group in same for word in group}
        words, inverse = np.unique([first.get(word, word) for word in words], return_inverse=True)  # type: ignore[assignment]
        codes = inverse[codes].astype(np.int32)
    for one, other in _equal_as_numbers(words):
        notes.append(f"client column {column}: {shown(one)} and {shown(other)} are two clients, as they are spelled")
    trains = np.bincount(codes[train], minlength=len(words)) > 0
    order = sorted(range(len(words)), key=lambda i: (not trains[i], words[i]))
    place = np.empty(len(words), np.int32)
    place[order] = np.arange(len(words))
    others = int((~trains).sum())
    if others:
        notes.append(
            f"{others} of {len(words)} owners have test rows only: they are no clients, and count in overall scores alone"
        )
    return Owners(np.array([words[i] for i in order]), len(words) - others, place[codes], tuple(notes[:5]))


def _spelled(role: str, name: str, table: pa.Table) -> Spelled:
    try:
        return spelled(table.column(name))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        kind = table.schema.field(name).type
        raise UserFileError(role, name, "be a column of text or numbers", f"it holds {kind}") from error


def _parts(path: Path, column: str, texts: Spelled, first_row: int) -> np.ndarray:
    """`train`, `test` or `validation` for each row."""
    words = [SPLIT_WORDS.get(word.casefold()) for word in texts.words]
    odd = [word for word, part in zip(texts.words, words, strict=True) if part is None]
    if odd or (texts.codes < 0).any():
        empty = np.flatnonzero(texts.codes < 0)
        found = shown(odd[0]) if odd else f"nothing in row {first_row + empty[0]}"
        must = f"hold {', '.join(SPLIT_WORDS)} in every row of {path}"
        hint = f"it holds {found}: say in words which rows train, e.g. test for one fold and train for all others"
        raise UserFileError("split", column, must, hint)
    parts = np.array(words)[texts.codes]
    for side in ("train", "test"):
        if not (parts == side).any():
            raise UserFileError("split", column, "mark rows of both train and test", f"no row says {side}")
    return parts


def classes(column: str, texts: Spelled) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers, int32 [examples], and names in alphabetical order."""
    for group in alike(texts.words, as_numbers=True):
        way = " and ".join(map(shown, group[:4])) + ": write one"
        raise UserFileError("label", column, "name every class in one spelling", way)
    rows = len(texts.codes)
    if not 2 <= len(texts.words) <= max(2, rows // 2):
        held = f"it has {len(texts.words)} different labels in {rows} rows: {listed(texts.words, 3)}"
        raise UserFileError("label", column, "hold two or more classes", held)
    names, inverse = np.unique(np.array(texts.words), return_inverse=True)
    return inverse[texts.codes].astype(np.int32), names


def about_quantities(column: str, names: np.ndarray) -> list[str]:
    """A note on labels that are many numbers between whole ones."""
    values = [number(str(name)) for name in names]
    if len(values) <= 20 or any(value is None or value.is_integer() for value in values[1:]):
        return []
    return [f"label {column} holds {len(values)} different numbers, each of which is a class"]


def _equal_as_numbers(words: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of different ids that are one number."""
    first: dict[float, str] = {}
    pairs = []
    for word in words:
        value = number(word)
        if value is not None and first.setdefault(value, word) != word:
            pairs.append((first[value], word))
    return pairs
