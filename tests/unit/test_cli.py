"""The command line's answers and refusals."""

import json

import pytest

from fedpareto.cli import main

QUESTION = ["--sampling-rate", "0.1", "--steps", "50", "--delta", "1e-4"]
KEYS = {
    *("epsilon_rdp", "epsilon_pld", "epsilon_rdp_classic", "rdp_order", "delta", "unit", "adjacency", "sampling"),
    "noise_multiplier",
}


def answer(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_epsilon_carries_all_that_a_guarantee_needs(capsys):
    said = answer(capsys, "epsilon", "--noise-multiplier", "1.5", *QUESTION)
    assert set(said) >= KEYS
    assert (said["unit"], said["adjacency"], said["sampling"]) == ("client", "add_or_remove_one", "poisson")
    assert 0 < said["epsilon_pld"] < said["epsilon_rdp"] < said["epsilon_rdp_classic"]


def test_calibrate_and_epsilon_agree(capsys):
    for accountant in ("rdp", "pld"):
        noise = answer(capsys, "calibrate", "--epsilon", "3", "--accountant", accountant, *QUESTION)["noise_multiplier"]
        said = answer(capsys, "epsilon", "--noise-multiplier", str(noise), *QUESTION)
        assert said[f"epsilon_{accountant}"] == pytest.approx(3, rel=1e-3)


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
    assert said["epsilon_rdp"] == pytest.approx(20.99, abs=0.01)


def test_no_noise_proves_nothing_in_strict_json(capsys):
    said = answer(capsys, "epsilon", "--noise-multiplier", "0", *QUESTION)
    assert said["epsilon_rdp"] is None
    assert said["private"] is False


def test_what_the_accountant_has_to_say_is_one_line(capsys):
    assert main(["epsilon", "--noise-multiplier", "0.05", *QUESTION]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert warnings
    assert all(line.startswith("warning: ") for line in warnings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["epsilon", "--noise-multiplier", "-1", *QUESTION], "-1 must be at least 0"),
        (["epsilon", "--noise-multiplier", "nan", *QUESTION], "must be at least 0"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "0", "--delta", "1e-4"], "0 must be at least 1"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "5", "--delta", "2"], "2 must be above 0"),
        (["epsilon", "--noise-multiplier", "1", "--steps", "5", "--delta", "1e-4"], "needs --sampling-rate"),
        (["calibrate", "--epsilon", "0.0001", *QUESTION], "out of reach"),
        (["plan", "--configfile", "no/such/file.yaml"], "no/such/file.yaml: no such file"),
        (["data", "--dataset", "nosuch", "--output", "a", "--report", "b"], "nosuch"),
    ],
)
def test_mistakes_are_one_line_and_a_bad_exit_status(capsys, arguments, said):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status != 0
    error = capsys.readouterr().err
    assert said in error.splitlines()[-1]
    assert "Traceback" not in error


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
