"""What users write is drawn as text, on the page, and never as boxes."""

import itertools
import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up import attack, bundle
from matplotlib.text import Text

from fedpareto.analysis.figures import draw as figures
from fedpareto.analysis.figures import reproduction as reproduction_figure
from fedpareto.analysis.figures import style, written
from fedpareto.analysis.figures.written import cell, distinct, drawable
from fedpareto.analysis.reproduce import claims_as_markdown
from fedpareto.analysis.tables.build import read_tables, write_tables
from fedpareto.cli import doctor
from fedpareto.components import registry

HELIX = "\U0001f9ec"  # an emoji that DejaVu Sans lacks
NAMES = (
    *("$<50k_$", "$a$ $b", "漢字の名前", f"{HELIX} gene", "x" * 300, "two\nlines", "a\ttab", "nul\0l", "_hidden", "", "{brace}|[/red]"),
    *("\\frac{1}{2} $\\", "%s %(x)s", "\u202ebackwards"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def strict():
    """Without fonts but Matplotlib's own, wherever this runs; a missing glyph is an error."""
    style.apply()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


@pytest.fixture
def fonts_anew():
    written._font.cache_clear()
    yield
    written._font.cache_clear()


@pytest.fixture
def own_font_alone(monkeypatch, fonts_anew):
    monkeypatch.setattr(written, "_USELESS", re.compile(""))


def drawn(text):
    figure = plt.figure()
    found = figure.text(0.5, 0.5, text)
    figure.canvas.draw()
    plt.close(figure)
    return found._preprocess_math(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("$<50k_$", "$<50k_$"),
        (r"\$5 to $9", r"\$5 to $9"),
        ("漢字", written.NO_FONT),
        ("良性 benign", "… benign"),
        (f"{HELIX} gene", "(dna double helix) gene"),
        ("x" * 300, "x" * 104 + "…" + "x" * 35),
        ("two\nlines\tand\0 more", "two lines and more"),
        ("\u202ebackwards\ufeff", "backwards"),
        ("\ud800", written.NO_FONT),
        ("", written.NO_FONT),
        ("_hidden", " _hidden"),
        ("e\u0301 ≥ ß ε", "é ≥ ß ε"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_a_text_is_drawn_as_it_was_written_or_in_words(own_font_alone, text, shown):
    assert drawn(drawable(text)) == (shown, False)


def test_names_that_cannot_be_drawn_have_their_number_and_equal_ones_differ(own_font_alone):
    names = distinct(["漢", "字", "a", "b" * 300, "b" * 301, "\t"], "class")
    assert names == ["class 1", "class 2", "a", "b" * 20 + "…" + "b" * 7, "b" * 20 + "…" + "b" * 7 + " (5)", "class 6"]


def test_a_font_of_the_system_draws_what_the_own_one_lacks(monkeypatch, fonts_anew):
    own, other = written._own(), SimpleNamespace(name="Other Sans", fname="other.ttf")
    monkeypatch.setattr(written.font_manager.fontManager, "ttflist", [other])
    characters = written._characters(own)
    monkeypatch.setattr(written, "_characters", lambda path: characters if path == own else frozenset(map(ord, "漢字")))
    monkeypatch.setattr(written, "_own", lambda: own)
    assert drawable("漢字 ß") == "漢字 ß"
    assert mpl.rcParams["font.sans-serif"][:2] == ["DejaVu Sans", "Other Sans"]
    style.apply()  # sets the fonts anew
    assert drawable("字体") == "字…"
    assert mpl.rcParams["font.sans-serif"][:2] == ["DejaVu Sans", "Other Sans"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    home = bundle(tmp_path_factory.mktemp("written"))
    runs = pd.read_parquet(home / "bundles" / ("b" * 16) / "runs.parquet")
    attack(
        home,
        runs[(runs["clients"] == 50) & (runs["seed"] == 0) & (runs["clip_norm"] != 1.0)],
        policies={"one": {"largest_epsilon": 6.0}},
    )
    write_tables(home / "plan.json", home / "bundles", home / "tables")
    return read_tables(home / "tables").of_studies(["one"])


def looks_well(figure, width=1.15 * style.WIDTH):
    """No text lies over another or over a legend, and nothing is off the page."""
    figure.canvas.draw()
    inches = figure.dpi_scale_trans.inverted()
    page = figure.get_tightbbox().padded(0.02)
    assert page.width < width
    texts = [*figure.texts, *(axes.title for axes in figure.axes)]
    boxes = [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    boxes = [box.transformed(inches) for box in (*boxes, *(legend.get_window_extent() for legend in figure.legends))]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.padded(-0.02).overlaps(b.padded(-0.02))
    for text in figure.findobj(Text):
        assert "\0" not in text.get_text()


@pytest.mark.parametrize(
    "title", ["$<50k_$ 漢字 " + HELIX + " long words" * 20, "x" * 300], ids=["odd words", "a word"]
)
@pytest.mark.parametrize(
    "name", sorted({*registry.names("figure")} - {"roc", "audit", "riskfront"})
)  # headlines like leakage's
def test_every_figure_draws_any_title(tables, name, title):
    wide = 1.35 if name == "comparison" else 1.15  # its table is wide by itself
    looks_well(figures.build(name, tables, title), wide * style.WIDTH)


def test_class_names_of_every_kind_stand_in_the_legend(tables, tmp_path):
    one = tables.partitions[(tables.partitions["label"] == tables.partitions["label"].iloc[0])]
    one = one[(one["clients"] == 50) & (one["client"] < 3)]
    parts = pd.concat([one.assign(label=name) for name in NAMES], ignore_index=True)
    figure = figures.build("partition", replace(tables, partitions=parts), "One")
    looks_well(figure)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == len(set(shown)) == len(NAMES)
    assert shown[0] == r"\$<50k_\$"
    style.save(figure, tmp_path / "partition")
    many = pd.concat([one.assign(label=f"class {i}") for i in range(40)], ignore_index=True)
    figure = figures.build("partition", replace(tables, partitions=many), "One")
    looks_well(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "and 21 more"


def numbers(names):
    rows = {
        "name": names,
        "what": names,
        "study": names,
        "metric": "accuracy",
        "published": 0.9,
        "ours": 0.91,
        "low": 0.9,
        "high": 0.92,
    }
    rows |= {
        "tolerance": 0.01,
        "verdict": "reproduced",
        "published_epsilon": 2.0,
        "epsilon": 2.0,
        "epsilon_by": "pld",
        "delta": 1e-5,
        "unit": "client",
    }
    return pd.DataFrame(rows | {"minus": None})


@pytest.mark.parametrize("form", ["list", "front", "ours alone", "claims"])
def test_figures_of_papers_draw_any_words(form):
    names = [*NAMES]
    table = numbers(names if form in ("list", "claims") else names[:4])
    curves = [
        ("$<50k_$ 漢字", pd.DataFrame({"x": [1, 2], "accuracy": [0.8, 0.9], "low": [0.7, 0.8], "high": [0.9, 1.0]}))
    ]
    if form == "claims":
        claims = table.assign(epsilon_rdp_classic=2.2, epsilon_rdp=2.1, epsilon_pld=np.nan)
        looks_well(reproduction_figure.of_claims(claims, names[0]))
        return
    if form == "ours alone":
        table = table.assign(published=np.nan, verdict="no number in print")
    looks_well(reproduction_figure.of_numbers(table, "$" * 3 + HELIX, curves))


def test_a_table_in_markdown_keeps_its_columns():
    assert cell("a|b\nc\t d") == "a\\|b c d"
    names = ("name", "source", "rate", "noise", "steps", "delta", "published", "accountant", "verdict", "why")
    row = dict(zip(names, ("a|b", "p\n1", 0.1, 1.0, 10, 1e-5, 2.0, "rdp", "wrong", "x|y"), strict=True))
    row |= {"epsilon_rdp_classic": 2.2, "epsilon_rdp": 2.0, "epsilon_pld": np.nan}
    text = claims_as_markdown(pd.DataFrame([row]))
    assert [line.replace("\\|", "").count("|") for line in text.splitlines()] == [8, 8, 8]


def test_doctor_prints_folders_of_any_name(monkeypatch, capsys):
    odd = "/tmp/[/red] [bold]x[/]"
    monkeypatch.setattr(
        doctor, "diagnose", lambda: doctor.Diagnosis(data_folder=odd, problems=[f"{odd} is not a folder"])
    )
    assert doctor.run(as_json=False) == 1
    said = capsys.readouterr().out
    assert odd in said
    assert f"wrong: {odd} is not a folder" in said


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("./examples/model.py:Net(width=8)", "model.py:Net(width=8)"),
        ("../net.py:Net", "net.py:Net"),
        ("/a folder/net.py:Net", "/a net.py:Net"),
        ("mlp(hidden=64-32)", "mlp(hidden=64-32)"),
        ("a/b", "a/b"),
    ],
)
def test_own_components_are_named_without_their_folder(name, shown):
    assert style.without_folder(name) == shown


@pytest.mark.parametrize("text", ["price $x$ a", "<50k_$, 10 clients", "50 $ " * 60])
def test_a_line_is_broken_where_it_is_too_wide_and_not_escaped_again(text):
    figure = plt.figure(figsize=(style.WIDTH, 2))
    line = drawable(text, len(text))
    lines = style.fitted(figure, line, "small").split("\n")
    assert " ".join(lines).split() == line.split()
    assert (len(lines) > 1) == (len(text) > 100)
    drawn = figure.text(0, 0, "\n".join(lines), fontsize="small").get_window_extent().width
    assert drawn <= figure.bbox.width
