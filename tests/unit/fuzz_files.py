"""Broken and hostile files: each ends in arrays or in one line.

`python tests/unit/fuzz_files.py 10000` tries so many, and prints how many were read and the memory that it took;
`--atheris -atheris_runs=10000` lets libFuzzer choose the bytes instead (`pip install atheris`).
"""

import io
import resource
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if "--atheris" in sys.argv:  # it looks at the branches of what is imported so
    import atheris

    with atheris.instrument_imports(include=["fedpareto"]):
        from fedpareto.data import DataError, checked
        from fedpareto.data.own.user import describe, load_user_file
else:
    from fedpareto.data import DataError, checked
    from fedpareto.data.own.user import describe, load_user_file

OPTIONS = {"label": "outcome", "client": "site"}
WORDS = (
    *(
        "",
        "0",
        "1",
        "-1",
        "1.5",
        "1e3",
        "1e39",
        "-1e400",
        "nan",
        "inf",
        "NA",
        "None",
        "?",
        "<0.5",
        "1,5",
        "1.234,5",
        "01",
        "0x1",
    ),
    *(
        "2024-03-07",
        "2024-13-45",
        "07/03/24",
        "12:30",
        "True",
        "no",
        "North",
        "north ",
        "日本",
        "\u202e",
        "\0",
        "\r",
        '"',
        '""',
    ),
    *(
        "'",
        ";",
        "\t",
        "a\nb",
        "$x$",
        "{y}",
        "x" * 5000,
        "1" * 400,
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ),
)
NAMES = ("outcome", "site", "a", "b", "", "outcome ", "\ufeff", "Unnamed: 0")


def a_table():
    return "site,a,b,outcome\n" + "".join(f"s{i % 3},{i / 7:.3f},{'xyz'[i % 3]},{i % 2}\n" for i in range(40))


def an_archive(compressed=True):
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, x=np.arange(80.0).reshape(40, 2), y=np.arange(40) % 2, client=np.arange(40) % 3)
    return file.getvalue()


def a_parquet(columns=None):
    file = io.BytesIO()
    rows = range(40)
    whole = {
        "site": [f"s{i % 3}" for i in rows],
        "a": [i / 7 for i in rows],
        "b": ["xyz"[i % 3] for i in rows],
        "outcome": [i % 2 for i in rows],
    }
    parquet.write_table(pa.table(columns or whole), file)
    return file.getvalue()


SOUND = {"csv": [a_table().encode()], "npz": [an_archive(), an_archive(False)], "parquet": [a_parquet()]}


@st.composite
def broken(draw):
    """Bytes of a sound file, some of them changed, cut or repeated."""
    kind = draw(st.sampled_from([*SOUND]))
    content = bytearray(draw(st.sampled_from(SOUND[kind])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(["set", "cut", "put", "repeat", "number"]))
        if change == "set" and at < len(content):
            content[at] = draw(st.integers(32, 126) | st.integers(0, 255))
        elif change == "cut":
            del content[at : at + draw(st.integers(1, 400))]
        elif change == "put":
            content[at:at] = draw(st.binary(max_size=12))
        elif change == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 200))]
        else:  # sizes and counts are little-endian numbers
            size = draw(st.sampled_from([2, 4, 8]))
            content[at : at + size] = draw(
                st.sampled_from([0, 1, 2**15, 2 ** (8 * size) - 1, 2 ** (8 * size - 1)])
            ).to_bytes(size, "little")
    return kind, bytes(content)


@st.composite
def a_strange_table(draw):
    """A CSV of strange words under strange names."""
    n = draw(st.integers(0, 60))
    usual = ["outcome", "site"] if draw(st.integers(0, 4)) else []
    names = [*usual, *draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))]
    names = list(dict.fromkeys(names)) if draw(st.integers(0, 9)) else names
    words = {"outcome": ["0", "1"], "site": ["p", "q", "r"]}
    strange = st.lists(st.sampled_from(WORDS) | st.text(max_size=6) | st.floats().map(str), min_size=1, max_size=4)
    cells = [words[name] if name in words and draw(st.integers(0, 4)) else draw(strange) for name in names]
    rows = [[own[(i * (j + 1) + i // 7) % len(own)] for j, own in enumerate(cells)] for i in range(n)]
    if draw(st.integers(0, 4)) == 0 and rows:
        rows[-1] = rows[-1][:-1]
    separator = ";" if draw(st.integers(0, 9)) == 0 else ","
    quote = draw(st.booleans())
    lines = [separator.join(f'"{word}"' if quote else word for word in row) for row in [names, *rows]]
    return "csv", draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines).encode("utf-8", "surrogatepass")


@st.composite
def strange_arrays(draw):
    """An NPZ of arrays that need not fit each other, or a Parquet file of odd types."""
    n = draw(st.integers(0, 12))
    if draw(st.booleans()):
        kinds = [
            pa.array([i % 2 for i in range(n)]),
            pa.array([None] * n),
            pa.array([[1]] * n, pa.list_(pa.int8())),
            pa.array([{"a": 1}] * n, pa.struct({"a": pa.int8()})),
            pa.array([b"\xff"] * n, pa.binary()),
            pa.array(["p", "q", None][i % 3] for i in range(n)),
            pa.array(["p"] * n).dictionary_encode(),
            pa.array([2**62 + i for i in range(n)]).cast(pa.timestamp("ns")),
            pa.array([i for i in range(n)], pa.int32()).cast(pa.time32("s")),
            pa.array([float("nan"), 1e308, 0.5][i % 3] for i in range(n)),
            pa.array([float("inf")] * n),
            pa.array(range(n), pa.uint64()).cast(pa.decimal128(30, 4)),
            pa.array([True, False, None][i % 3] for i in range(n)),
            pa.array([i for i in range(n)], pa.duration("ns")),
        ]
        names = draw(st.lists(st.sampled_from(NAMES[:4]), unique=True, min_size=1, max_size=4))
        return "parquet", a_parquet({name: draw(st.sampled_from(kinds)) for name in names})
    shapes = [(n,), (n, 2), (n, 1), (n, 2, 2, 3), (), (0,), (n + 1, 2), (n + 1,)]
    kinds = ["f8", "f2", "i8", "u1", "U3", "S2", "c16", "?", "M8[s]", "f4,i4", "V3"]
    names = draw(
        st.lists(
            st.sampled_from(["x", "y", "client", "x_train", "y_train", "x_test", "y_test", "client_train", "z"]),
            unique=True,
        )
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            array = np.zeros(draw(st.sampled_from(shapes)), draw(st.sampled_from(kinds)))
            if array.ndim == 1 and array.dtype.kind in "fiuU?":
                array = (np.arange(len(array)) % draw(st.sampled_from([1, 2, 3]))).astype(array.dtype)
            one = io.BytesIO()
            np.save(one, array)
            archive.writestr(name + ".npy", one.getvalue())
    return "npz", file.getvalue()


FILES = st.one_of(broken(), a_strange_table(), strange_arrays())


def outcome(folder, kind, content):
    """`read`, or the one line that refuses the file; whatever else is raised is a fault."""
    path = Path(folder, f"own.{kind}")
    path.write_bytes(content)
    options = {"path": str(path)} | ({} if kind == "npz" else OPTIONS)
    lines = []
    for read in (describe, load_user_file):
        try:
            found = read(options)
        except DataError as error:
            lines.append(str(error))
            continue
        if read is load_user_file:
            checked.check("own", found[0])
        lines.append("read")
    assert lines[0] in ("read", lines[1]), lines
    assert "\n" not in lines[1], lines[1]
    assert len(lines[1]) < 800, lines[1]
    return lines[1]


def try_all(examples, seconds=20):
    """Tries so many files, always the same; returns what became of them, and the longest time that one took."""
    found, longest = {}, [0.0]
    with tempfile.TemporaryDirectory() as folder:

        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck]
        )
        @given(FILES)
        def one(file):
            start = time.monotonic()
            line = outcome(folder, *file)
            longest[0] = max(longest[0], time.monotonic() - start)
            key = "read" if line == "read" else "refused"
            found[key] = found.get(key, 0) + 1

        one()
    assert longest[0] < seconds
    return found, longest[0]


def _with_atheris():
    folder = tempfile.mkdtemp()
    kinds = [*SOUND]

    def one(data):
        if data:
            outcome(folder, kinds[data[0] % len(kinds)], data[1:])

    corpus = Path(tempfile.mkdtemp())
    for i, kind in enumerate(kinds):
        for j, content in enumerate(SOUND[kind]):
            (corpus / f"{kind}{j}").write_bytes(bytes([i]) + content)
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--atheris"]:
        _with_atheris()
    else:
        print(*try_all(int(sys.argv[1])), f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
