"""The command line's answers and refusals."""

import errno
import json

import pytest

from fedpareto.cli import verbs
from fedpareto.cli.main import main
from fedpareto.config.load import load
from fedpareto.sweep.sweep import plan_sweep

QUESTION = ["--sampling-rate", "0.1", "--steps", "50", "--delta", "1e-4"]
KEYS = {
    *(
        "epsilon",
        "epsilon_by",
        "epsilon_rdp",
        "epsilon_pld",
        "epsilon_rdp_classic",
        "rdp_order",
        "delta",
        "unit",
        "adjacency",
        "sampling",
    ),
    "noise_multiplier",
}


def answer(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_epsilon_carries_all_that_a_guarantee_needs(capsys):
    said = answer(capsys, "epsilon", "--noise-multiplier", "1.5", *QUESTION)
    assert set(said) >= KEYS
    assert (said["unit"], said["adjacency"], said["sampling"]) == ("client", "add_or_remove_one", "poisson")
    assert 0 < said["epsilon"] == said["epsilon_pld"] < said["epsilon_rdp"] < said["epsilon_rdp_classic"]
    assert said["epsilon_by"] == "pld"


def test_calibrate_and_epsilon_agree(capsys):
    for accountant in ("rdp", "pld"):
        noise = answer(capsys, "calibrate", "--epsilon", "3", "--accountant", accountant, *QUESTION)["noise_multiplier"]
        said = answer(capsys, "epsilon", "--noise-multiplier", str(noise), *QUESTION)
        assert said[f"epsilon_{accountant}"] == pytest.approx(3, rel=1e-3)


def test_noise_is_calibrated_by_the_headline_where_nobody_says_by_what(capsys):
    said = answer(capsys, "calibrate", "--epsilon", "3", *QUESTION)
    assert said["accountant"] == said["epsilon_by"] == "pld"
    assert said["epsilon"] == pytest.approx(3, rel=1e-3)


def test_fixed_size_sampling_is_accounted_under_replacement(capsys):
    flags = [
        "--sampling",
        "fixed_size",
        "--population",
        "1000",
        "--sample-size",
        "10",
        "--steps",
        "1000",
        "--delta",
        "1e-5",
    ]
    said = answer(capsys, "epsilon", "--noise-multiplier", "1", *flags)
    assert said["adjacency"] == "replace_one"
    assert said["epsilon_rdp"] == pytest.approx(16.91, abs=0.01)
    assert said["epsilon"] == said["epsilon_pld"] == pytest.approx(14.82, abs=0.01)


def test_no_noise_proves_nothing_in_strict_json(capsys):
    said = answer(capsys, "epsilon", "--noise-multiplier", "0", *QUESTION)
    assert said["epsilon"] is said["epsilon_by"] is said["epsilon_rdp"] is None
    assert said["private"] is False


def test_what_the_accountant_has_to_say_is_one_line(capsys):
    assert main(["epsilon", "--noise-multiplier", "0.05", *QUESTION]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert warnings
    assert all(line.startswith("warning: ") for line in warnings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["epsilon", "--noise-multiplier", "-1", *QUESTION], "-1 must be a number of at least 0 (see"),
        (["epsilon", "--noise-multiplier", "nan", *QUESTION], "nan must be a number of at least 0, and finite"),
        (["epsilon", "--noise-multiplier", "one", *QUESTION], "one must be a number of at least 0 (see"),
        (["epsilon", "--noise-multiplier", "1e200", *QUESTION], "1e200 must be a number of at least 0, and at most 1.0e+06"),
        (["epsilon", "--noise-multiplier", "1e-200", *QUESTION], "1e-200 must be a number of at least 0, and at least 1.0e-04 or 0"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "0", "--delta", "1e-4"], "0 must be a whole number of at least 1"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "1.5", "--delta", "1e-4"], "1.5 must be a whole number of at least 1"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "1e12", "--delta", "1e-4"], "1e12 must be a whole number of at least 1, and at most 2147483647"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "5", "--delta", "2"], "2 must be a number above 0"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "5", "--delta", "1e-320"], "1e-320 must be a number above 0 and below 1/clients, and at least 1.0e-100"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "5", "--delta", "1e-4", "--sampling-rate", "1e-300"], "1e-300 must be above 0 and at most 1, and at least 1.0e-09"),
        (["epsilon", "--noise-multiplier", "1", *QUESTION, "--population", str(10**18)], "must be a whole number of at least 1, and at most 2147483647"),
        (["calibrate", "--epsilon", "1e5", *QUESTION], "1e5 must be a number above 0 and at most 1000"),
        (["calibrate", "--epsilon", "-1", *QUESTION], "-1 must be a number above 0"),
        (["train", "--execution", "{", "--spec", "a", "--privacy", "b", "--data", "c", "--output", "d"], "{ must be JSON"),
        (["train", "--execution", "[1]", "--spec", "a", "--privacy", "b", "--data", "c", "--output", "d"], "[1] must be a mapping"),
        (["train", "--execution", "[" * 10**5, "--spec", "a", "--privacy", "b", "--data", "c", "--output", "d"], "... must be JSON"),
        (["spec", "--plan", "no/plan.json", "--bundle", "b", "--output", "o"], "fedpareto spec: no/plan.json: No such file or directory"),
        (["figures", "--tables", "no", "--study", "s", "--figure", "pie", "--output", "o"], "figure = 'pie' is none that can be drawn (write one of: pareto, "),
        (["figures", "--tables", "no", "--study", "s", "--figure", "pareto", "--output", "o"], "no/runs.parquet: is not there"),
        (["compare", "--paper", "no.yaml", "--output", "o"], "no.yaml: no such file"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "5"], "--delta must be given"),
        (["calibrate", "--epsilon", "0.0001", "--accountant", "rdp", *QUESTION], "--epsilon 0.0001 must be at least 0.0013, below which RDP needs boundless noise"),
        (["calibrate", "--epsilon", "0.0001", "--accountant", "pld", *QUESTION], "out of reach"),
        (["plan", "--configfile", "no/such/file.yaml"], "no/such/file.yaml: no such file"),
        (["data", "--dataset", "nosuch", "--output", "a", "--report", "b"], "nosuch"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_a_bad_exit_status(capsys, arguments, said):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status != 0
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert len(error) < 400


def test_whole_numbers_may_be_written_like_others(capsys):
    rest = ["--noise-multiplier", "1", "--sampling-rate", "0.1", "--delta", "1e-5"]
    answers = [answer(capsys, "epsilon", "--steps", steps, *rest) for steps in ("1000", "1e3", "1000.0")]
    assert answers[0] == answers[1] == answers[2]


@pytest.fixture
def plan_file(tmp_path):
    plan = plan_sweep(load(["config/config.yaml", "config/studies/smoke.yaml"], {"only": "smoke"}))
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json())
    return path


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"runs": {"a": {"x": 1}}}', b"null", b"[" * 10**5]
)
@pytest.mark.parametrize("verb", ["spec", "attack", "account", "train", "tables"])
def test_a_damaged_file_is_named_with_the_way_out(verb, content, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verbs, "_start_devices", lambda: None)
    path = tmp_path / "cut.json"
    path.write_bytes(content)
    flags = {
        "spec": ["--plan", path, "--bundle", "b", "--output", tmp_path / "o"],
        "attack": ["--plan", path, "--bundle", "b", "--privacy", path, "--data", path, "--output", tmp_path / "o"],
        "account": ["--spec", path, "--output", tmp_path / "o"],
        "train": ["--spec", path, "--privacy", path, "--data", path, "--output", tmp_path / "o"],
        "tables": ["--plan", path, "--output", tmp_path / "o"],
    }
    assert main([verb, *map(str, flags[verb])]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fedpareto {verb}: {path}")
    assert "cannot be read: " in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_a_damaged_table_is_named_with_the_way_out(tmp_path, capsys):
    (tmp_path / "runs.parquet").write_bytes(b"PAR1")
    assert (
        main(
            [
                "figures",
                "--tables",
                str(tmp_path),
                "--study",
                "s",
                "--figure",
                "pareto",
                "--output",
                str(tmp_path / "o"),
            ]
        )
        == 1
    )
    assert "runs.parquet cannot be read: " in capsys.readouterr().err


def test_a_bundle_that_is_not_planned_is_named(plan_file, tmp_path, capsys):
    assert main(["spec", "--plan", str(plan_file), "--bundle", "nosuch", "--output", str(tmp_path / "o")]) == 1
    assert f"bundle nosuch is not in {plan_file} (one of " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted (run it again: what was finished is kept)"),
        (MemoryError(), 1, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "results/x"), 1, "results/x: No space left on device (make room and run it again"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "/x: Permission denied (run in a folder of your own"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), 1, "/x: Is a directory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "a file is no text in UTF-8"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_the_system_refuses_is_one_line(error, status, said, capsys, monkeypatch):
    def fails(_):
        raise error

    monkeypatch.setattr(verbs, "plan", fails)
    assert main(["plan"]) == status
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == bool(said)


def test_plan_counts_runs(capsys, tmp_path):
    assert main(["plan", "--configfile", "config/config.yaml", "config/studies/smoke.yaml"]) == 0
    assert "smoke: " in capsys.readouterr().out


def test_papers_are_listed_with_what_they_need(capsys):
    assert main(["reproduce", "--list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "(needs data: creditcard/creditcard.csv" in lines["fraud-creditcard"]
    assert "needs a GPU" in lines["geyer-clients-10000"]
    assert "needs" not in lines["fraud"]


def test_doctor_names_what_is_wrong(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FEDPARETO_DATA", str(tmp_path / "missing"))
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert any("FEDPARETO_DATA" in line for line in found["problems"])
    assert found["devices"]
    assert found["versions"]["jax"]


def test_components_are_listed_with_their_arguments(capsys, tmp_path, monkeypatch):
    assert main(["components"]) == 0
    listed = capsys.readouterr().out
    for line in ("model\n", "  mlp: ", "    hidden: Widths of the hidden ReLU layers. Must be widths", "  pareto: "):
        assert line in listed
    assert main(["components", "algorithm", "fedprox", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["arguments"]["proximal"]["required"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text('class Net:\n  """Mine."""\n  outputs: int\n  width: int = 3\n')
    assert main(["components", "model", "./net.py:Net"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  ./net.py:Net: Mine.",
        "    width: Must be a whole number; default 3.",
    ]
    assert main(["components", "model", "nt"]) == 1
    assert "nt must be a name that exists (one of 2nn, " in capsys.readouterr().err


def test_an_error_of_own_code_is_one_line_with_its_place(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figure.py").write_text(
        "class Mine:\n  NAME = 'mine'\n  def build(self, tables, title):\n    return 1 / 0\n"
    )

    def draws(_):
        from fedpareto.components import registry

        registry.build("figure", {"name": "./figure.py:Mine"}).build(None, "")

    monkeypatch.setattr(verbs, "plan", draws)
    assert main(["plan"]) == 1
    assert capsys.readouterr().err == "fedpareto plan: figure.py, line 4: ZeroDivisionError: division by zero\n"
    monkeypatch.setattr(verbs, "plan", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["plan"])
