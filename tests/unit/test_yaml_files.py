"""What YAML files may hold: what is read otherwise than it is written, takes all time or memory, or is no configuration."""

import tracemalloc

import pytest
import yaml
from test_config import GOOD, message, plan_of, write

from fedpareto.config import papers
from fedpareto.config.load import ConfigError, from_snakemake, load
from fedpareto.config.problems import show
from fedpareto.sweep.sweep import plan_sweep

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGED_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1:30", "YAML reads 1:30 as 90, in base 60, in line 1 (write the number, or '1:30' for text)"),
        ("1:30.5", "YAML reads 1:30.5 as 90.5, in base 60, in line 1"),
        ("010", "YAML reads 010 as 8, in another base than ten, in line 1 (write the number, or '010' for text)"),
        ("-010", "YAML reads -010 as -8, in another base than ten"),
        ("0b11", "YAML reads 0b11 as 3, in another base than ten"),
        ("0x1F", "YAML reads 0x1F as 31, in another base than ten"),
        ("yes", "YAML reads yes as true, in line 1 (write true, or 'yes' for text)"),
        ("No", "YAML reads No as false, in line 1 (write false, or 'No' for text)"),
        ("on", "YAML reads on as true"),
        ("OFF", "YAML reads OFF as false"),
        ("!!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system means nothing here, in line 1 (remove it)"),
        ("!!binary aGk=", "the tag !!binary means nothing here"),
        ("!!set {a, b}", "the tag !!set means nothing here"),
        ("!mine 3", "the tag !mine means nothing here"),
        ("!!int twelve", "twelve is no int, in line 1"),
        ("!!float twelve", "twelve is no float, in line 1"),
        ("!!bool maybe", "maybe is no bool, in line 1"),
        ("!!int ''", " is no int, in line 1"),
        ("!!map 3", "3 is no mapping, in line 1"),
        ("1" * 5000, "is no int, in line 1"),
        ("{<<: 3}", "is not YAML in line 1: expected a mapping or list of mappings for merging, but found scalar"),
        ("{<<: [3]}", "is not YAML in line 1: expected a mapping for merging, but found scalar"),
        ("*nowhere", "is not YAML in line 1: found undefined alias 'nowhere'"),
        ("&a [*a]", "an alias names what it stands in, in line 1"),
        ("&a {b: *a}", "an alias names what it stands in, in line 1"),
        ("{true: 1}", "true cannot be a key, in line 1 (write a name)"),
        ("{yes: 1}", "YAML reads yes as true"),
        ("{? : 1}", "null cannot be a key, in line 1 (write a name)"),
        ("{1.5: 1}", "1.5 cannot be a key, in line 1 (write a name)"),
        ("{{a: 1}: 1}", "{a: 1} cannot be a key, in line 1 (write a name)"),
        ("[" * 10_000, "lists and mappings stand in each other more than 50 deep, in line 1"),
        ("[" * 60 + "]" * 60, "lists and mappings stand in each other more than 50 deep, in line 1"),
        ("\n" + "".join("  " * i + "- \n" for i in range(60)), "lists and mappings stand in each other more than 50 deep, in line 51"),
        ("\0", "is not YAML: unacceptable character #x0000"),
        ("\t- a", "is not YAML in line 1: found character '\\t' that cannot start any token"),
        ("1\n---\nb: 2", "is not YAML in line 2: expected a single document in the stream, but found another document"),
    ],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_a_file_that_is_no_configuration_ends_in_one_line(tmp_path, written, said):
    found = message(tmp_path, text=f"value: {written}\n")
    assert found.startswith("config.yaml: ")
    assert said in found
    assert len(found.splitlines()) == 1
    assert len(found) < 300


def test_numbers_that_mean_what_they_say_are_left_alone(tmp_path):
    plan = plan_of(tmp_path, {"clients": 50, "seeds": 1})
    text = yaml.safe_dump({"studies": {"s": GOOD | {"clients": 50, "seeds": 1}}})
    path = tmp_path / "config.yaml"
    for before, after in (
        ("clients: 50", "clients: 5_0"),
        ("rounds: 10", "rounds: +10"),
        ("delta: 0.0001", "delta: 1.e-4"),
    ):
        assert before in text
        path.write_text(text.replace(before, after))
        assert set(plan_sweep(load([path])).runs) == set(plan.runs)


@pytest.mark.parametrize("text", ["'yes'", "'010'", "'1:30'", "=", "<<", "2024-01-01"])
def test_what_is_quoted_is_text(tmp_path, text):
    path = write(tmp_path)
    path.write_text(path.read_text() + f"title: {text}\n")
    assert plan_sweep(load([path])).titles == {"s": text.strip("'")}


@pytest.mark.parametrize("bomb", [BOMB, MERGED_BOMB], ids=["lists", "merge keys"])
@pytest.mark.parametrize("place", ["{}value: *a11\n", "x-a: 1\n{}", "{}studies: {{s: {{rounds: *a11}}}}\n"])
def test_an_alias_bomb_takes_neither_time_nor_memory(tmp_path, bomb, place):
    tracemalloc.start()
    found = message(tmp_path, text=place.format(bomb))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "more than 100,000 values, aliases written out, begin, in line " in found
    assert len(found.splitlines()) == 1
    assert most < 5e6


def test_a_file_without_end_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "config.yaml"
    with path.open("wb") as stream:
        stream.truncate(100_000_000)
    with pytest.raises(ConfigError, match=r"has more than 1,000,000 bytes, which no configuration needs"):
        load([path])
    with pytest.raises(ConfigError) as error:
        load([tmp_path])
    assert str(error.value) == f"{tmp_path}: cannot be read as text: Is a directory"


def test_a_chain_of_merge_keys_holds_no_key_twice(tmp_path):
    path = tmp_path / "c.yaml"
    good = yaml.safe_dump(GOOD, default_flow_style=True, width=10_000).strip()
    path.write_text(
        f"x-base: &base {good}\nx-short: &short {{<<: *base, rounds: 4}}\nstudies:\n  a: {{<<: *short, seeds: 1}}\n  b: *short\n"
    )
    plan = plan_sweep(load([path]))
    assert {plan.runs[run].training.rounds for run in (*plan.studies["a"], *plan.studies["b"])} == {4}
    assert [len(plan.studies[study]) for study in "ab"] == [10, 30]


def test_keys_for_anchors_are_ignored_wherever_files_are_read(tmp_path, monkeypatch):
    plain = plan_of(tmp_path)
    assert set(plan_of(tmp_path, **{"x-anchors": {"round": 5, "studies": [1]}}).runs) == set(plain.runs)
    monkeypatch.chdir(tmp_path)
    merged = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert set(plan_sweep(from_snakemake(merged | {"x-more": 1}, ["config.yaml"])).runs) == set(plain.runs)
    assert "xanchors = 1 must be a key that exists" in message(tmp_path, xanchors=1)


def test_snakemake_and_papers_read_by_the_same_rules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("rounds: 10", "rounds: 010"))
    with pytest.raises(ConfigError, match=r"config.yaml: YAML reads 010 as 8"):
        from_snakemake(yaml.safe_load(path.read_text()), ["config.yaml"])
    with pytest.raises(ConfigError, match=r"config.yaml: YAML reads 010 as 8"):
        papers.read(path)
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^--config: YAML reads 1:30 as 90, in base 60"):
        from_snakemake(yaml.safe_load(text) | {"rounds": "1:30"}, ["config.yaml"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a" * 300, "a" * 100 + "..."),
        ("two\nlines\tand\0", r"two\nlines\tand\x00"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 2..."),
        (16**5000, "1e6020"),
        ({"a": [None, True, {}], "b": []}, "{a: [null, true, {}], b: []}"),
    ],
    ids=["long text", "control characters", "long list", "large number", "nested"],
)  # fmt: skip
def test_values_are_shown_on_one_short_line(value, text):
    assert show(value) == text


def test_a_thousand_mistakes_are_fifty_lines(tmp_path):
    lines = message(tmp_path, {"noise_multiplier": [-1.0 - i for i in range(1000)]}).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "and 950 problems more"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"noise_multiplier": 1.0e200}, "noise_multiplier = 1e+200 must be a number of at least 0, and at most 1.0e+06"),
        ({"noise_multiplier": 1.0e-200}, "noise_multiplier = 1e-200 must be a number of at least 0, and at least 1.0e-04 or 0"),
        ({"noise_multiplier": 10**400}, "must be a number of at least 0, and at most 1.0e+06"),
        ({"title": "a\0b"}, "title = a\\x00b must be text of at most 1000 characters"),
        ({"title": "a" * 1001}, "must be text of at most 1000 characters"),
        ({"baselines": 10**400}, "must be a list of non_private, centralised, alone"),
        ({"clip_norm": 1.0e300}, "clip_norm = 1e+300 must be a number above 0, and at most 1.0e+15"),
        ({"clip_norm": 1.0e-300}, "clip_norm = 1e-300 must be a number above 0, and at least 1.0e-15"),
        ({"client_learning_rate": 1.0e39}, "client_learning_rate = 1e+39 must be a number above 0, and at most 1.0e+15"),
        ({"server_optimizer": {"name": "sgd", "learning_rate": 1.0e-40}}, "server_optimizer.learning_rate = 1e-40 must be a number above 0, and at least 1.0e-15"),
        ({"server_optimizer": {"name": "adam", "eps": 1.0e-46}}, "server_optimizer.eps = 1e-46 must be a number above 0, and at least 1.0e-15"),
        ({"delta": 1.0e-320}, "delta = 1e-320 must be a number above 0 and below 1/clients, and at least 1.0e-100"),
        ({"sampling_rate": 1.0e-300}, "sampling_rate = 1e-300 must be above 0 and at most 1, and at least 1.0e-09"),
        ({"rounds": "1e3"}, "rounds = 1e3 must be a whole number of at least 1 (YAML reads 1e3 as text; write 1000)"),
        ({"rounds": "08"}, "rounds = 08 must be a whole number of at least 1 (YAML reads 08 as text; write 8)"),
        ({"clients": 10**18}, "clients = 1000000000000000000 must be a whole number of at least 1, and at most 2147483647"),
        ({"partition": {"name": "dirichlet", "alpha": 1.0e308}}, "partition.alpha = 1e+308 must be a number above 0, and at most 1.0e+15"),
        ({"server_optimizer": {"name": "adan"} | {k: [i / 100 for i in range(99)] for k in ("b1", "b2", "b3")}}, "must stand for at most 10,000 alternatives (its lists make 9.7e+05)"),
    ],
)  # fmt: skip
def test_numbers_that_float32_or_the_accountants_do_not_know_are_refused(tmp_path, changes, line):
    said = message(tmp_path, changes)
    assert line in said
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize("name", ["a" * 300, "-rf", "ä", "a/b", "a b", ""])
def test_names_of_studies_name_folders(tmp_path, name):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"studies": {name: GOOD}}))
    with pytest.raises(ConfigError, match="must have a name of letters, digits, - and _") as error:
        load([path])
    assert len(str(error.value).removeprefix(str(path))) < 300
