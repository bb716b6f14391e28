"""`fedpareto epsilon` and `calibrate` answer for whatever a study can ask for, and as that study would be answered."""

import json
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedpareto.analysis.tables import adversary
from fedpareto.cli import question
from fedpareto.cli.explain import rounded_up
from fedpareto.cli.failures import FlagError
from fedpareto.cli.main import _parser, main
from fedpareto.config.check_privacy import suggested_delta
from fedpareto.config.load import ConfigError, checked
from fedpareto.privacy.accounting.epsilon import by_client, guarantee
from fedpareto.privacy.accounting.guarantee import headline
from fedpareto.privacy.theorems import THEOREMS, theorems
from fedpareto.sweep.account import DataSizes, privacy_plan
from fedpareto.sweep.sweep import plan_sweep

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
RECORDS, CLIENTS, PARAMETERS = 1438, 20, 650  # of digits, and of a linear model of it
BY_CLIENT = (30, 70, 199, *[67] * 17)
STUDY = {
    "dataset": "digits",
    "model": "logistic",
    "clients": CLIENTS,
    "rounds": 6,
    "sampling_rate": 0.2,
    "baselines": [],
}
STUDY |= {"clip_norm": 0.5, "noise_multiplier": 3.0, "delta": 1.0e-5}
SKELLAM, DISCRETE = {"name": "skellam", "bits": 18}, {"name": "discrete_gaussian", "bits": 16}
BANDED = {"name": "banded", "bands": 2}
PCA = {"name": "pca", "dimensions": 5, "noise_multiplier": 8.0}
LOCAL = {"unit": "record", "trust": "local", "local_steps": 3, "batch_size": 8}
SHARES = {"trust": "distributed", "sampling": "fixed_size"}
# Row of the table "All mechanisms" -> keys of a study that it is about.
ROWS = {
    "Gaussian, Poisson, secret": {},
    "Gaussian, fixed size, secret": {"sampling": "fixed_size"},
    "Gaussian, drawn cohorts, seen": {"trust": "local", "sampling": "fixed_size"},
    "Gaussian, shuffled or cyclic": {"unit": "record", "sampling": "shuffled"},
    "adaptive clipping": {"clipping": {"name": "adaptive", "count_noise": 4.0}},
    "DP-SGD on clients, drawn cohorts": LOCAL,
    "DP-SGD on clients, shuffled": LOCAL | {"sampling": "shuffled"},
    "Skellam": {"unit": "record", "trust": "distributed", "mechanism": SKELLAM},
    "discrete Gaussian": SHARES | {"mechanism": DISCRETE},
    "banded (DP-FTRL)": {"sampling": "cyclic", "mechanism": BANDED},
    "preprocessing that learns from records": {"unit": "record", "preprocessing": PCA},
    "FedProx, weights with a cap": {
        "weighting": {"name": "examples", "cap": 50},
        "algorithm": {"name": "fedprox", "proximal": 0.1},
    },
    "SCAFFOLD": {"algorithm": "scaffold"},
}


def flags(keys):
    """The flags of `epsilon` that say the same as keys of a study of digits."""
    keys = {
        k: v for k, v in (STUDY | keys).items() if k not in ("dataset", "model", "clients", "baselines", "clip_norm")
    }
    unit, trust = keys.get("unit", "client"), keys.get("trust", "central")
    summed = unit == "record" and trust != "local"
    sizes = {"population": RECORDS if summed else CLIENTS}
    if trust == "distributed":
        sizes |= {"parameters": PARAMETERS} | ({"clients": CLIENTS} if summed else {})
    elif (unit, trust) == ("record", "local"):
        sizes["records"] = ",".join(map(str, BY_CLIENT))
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in (keys | sizes).items() if v is not None}
    return [part for key, value in text.items() for part in (f"--{key.replace('_', '-')}", value)]


def of_study(keys):
    """The plan of the one run of a study of digits."""
    unit, trust = keys.get("unit", "client"), keys.get("trust", "central")
    steps = {} if unit == "record" and trust != "local" else {"client_learning_rate": 0.1}
    tree = {"studies": {"s": STUDY | steps | keys}}
    (run,) = plan_sweep(checked(tree, [("study", tree)])).runs.values()
    return privacy_plan(run, DataSizes(PARAMETERS, {0: BY_CLIENT}))


def of_flags(arguments):
    asked = question.read(_parser().parse_args(["epsilon", *arguments]))
    return privacy_plan(asked.run, asked.sizes)


def answer(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def refused(capsys, *arguments):
    """The lines of a refusal."""
    assert main(["epsilon", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert all(line.startswith("fedpareto epsilon: ") for line in lines)
    return [line.removeprefix("fedpareto epsilon: ") for line in lines]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table_is_answered_as_its_study_is(row, capsys):
    plan = of_study(ROWS[row])
    said, proven = answer(capsys, "epsilon", *flags(ROWS[row]), "--explain"), guarantee(plan)
    assert said["epsilon_rdp"] == proven.epsilon_rdp
    assert (
        said["epsilon_pld"] == pytest.approx(proven.epsilon_pld, rel=1e-12, nan_ok=True) or said["epsilon_pld"] is None
    )
    assert (said["epsilon"], said["epsilon_by"]) == (proven.epsilon, proven.epsilon_by)
    setting = plan.setting
    keys = ("unit", "trust", "sampling", "adjacency", "mechanism", "sampling_rate")
    assert [said[key] for key in keys] == [getattr(setting, key) for key in keys]
    named = [theorem.mechanism for theorem in theorems(plan)]
    assert row in named
    assert [text.split(": ")[0] for text in said["explanation"]["theorems"]] == named
    if plan.local is not None:
        assert said["epsilon_median"] == sorted(headline(one)[0] for one in by_client(plan))[CLIENTS // 2]


UNITS_AND_SO_ON = [
    *(("client", "record"), ("central", "distributed", "local"), ("poisson", "fixed_size", "shuffled", "cyclic")),
    *((None, "secret", "seen"), ("gaussian", SKELLAM, DISCRETE, BANDED)),
]


@pytest.mark.parametrize(("unit", "trust"), [*product(*UNITS_AND_SO_ON[:2])])
def test_flags_and_a_study_have_one_plan_or_both_are_refused(unit, trust):
    sound = 0
    for sampling, participation, mechanism in product(*UNITS_AND_SO_ON[2:]):
        keys = {
            "unit": unit,
            "trust": trust,
            "sampling": sampling,
            "participation": participation,
            "mechanism": mechanism,
        }
        if (unit, trust) == ("record", "local"):
            keys |= LOCAL
        try:
            plan = of_study(keys)
        except ConfigError as error:
            with pytest.raises(FlagError) as refusal:
                of_flags(flags(keys))
            reasons = [re.search(r" must .*", line).group() for line in str(error).splitlines()]
            assert [re.search(r" must .*", line).group() for line in str(refusal.value).splitlines()] == reasons
        else:
            sound += 1
            assert of_flags(flags(keys)) == plan.replace(clip_norm=1.0)
    assert sound >= 2


def test_defaults_are_those_of_a_study():
    plan = of_flags(["--noise-multiplier", "3", "--rounds", "6", "--delta", "1e-5", "--population", str(CLIENTS)])
    study = {key: STUDY[key] for key in STUDY if key != "sampling_rate"} | {"client_learning_rate": 0.1}
    tree = {"studies": {"s": study}}
    (run,) = plan_sweep(checked(tree, [("study", tree)])).runs.values()
    assert plan == privacy_plan(run).replace(clip_norm=1.0)
    assert plan.setting.sampling_rate == 1.0


def test_a_sample_size_is_a_share_of_the_population():
    question = [
        "--noise-multiplier",
        "3",
        "--rounds",
        "6",
        "--delta",
        "1e-5",
        "--sampling",
        "fixed_size",
        "--population",
        "60",
    ]
    assert of_flags([*question, "--sample-size", "15"]) == of_flags([*question, "--sampling-rate", "0.25"])


def test_one_number_of_records_stands_for_every_client():
    arguments = flags(LOCAL)
    place = arguments.index("--records")
    one = of_flags([*arguments[:place], "--records", "30", *arguments[place + 2 :]])
    several = of_flags(arguments)
    assert one.local.record_rates == (8 / 30,)
    assert one.local.worst == several.local.worst
    assert one.population == several.population


def test_steps_is_another_name_of_rounds():
    question = ["--noise-multiplier", "3", "--delta", "1e-5", "--sampling-rate", "0.1"]
    assert of_flags([*question, "--steps", "7"]) == of_flags([*question, "--rounds", "7"])


ASKED = ["--noise-multiplier", "3", "--rounds", "6"]
NO_SKELLAM = (
    "mechanism gaussian must be discrete_gaussian or skellam with trust: distributed (secure aggregation adds integers"
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*flags(SHARES)], f"--{NO_SKELLAM}"),
        ([*flags({"participation": "secret", "trust": "local"})], "--participation secret must be seen with unit: client and trust: local (everybody sees"),
        ([*flags(SHARES | {"sampling": "poisson", "mechanism": SKELLAM})], "--sampling poisson must be fixed_size, shuffled or cyclic with trust: distributed"),
        ([*flags({"clipping": {"name": "adaptive", "count_noise": 1.0}})], "count_noise = 1 must be above 1.5, half the noise multiplier"),
        ([*flags({"algorithm": "scaffold", "trust": "local"})], "--algorithm scaffold must be fedavg or fedprox here (scaffold sends two vectors"),
        ([*flags({"preprocessing": PCA})], "--preprocessing pca must be none, rescale or group_norm here"),
        ([*flags({"unit": "record", "preprocessing": "pca"})], "--preprocessing dimensions must be a whole number of at least 1"),
        ([*flags({"mechanism": {"name": "skellam", "bits": 2}})], "--mechanism bits = 2 must be"),
        ([*flags({"mechanism": "nosuch"})], "--mechanism nosuch must be a name that exists"),
        ([*flags({"mechanism": ["gaussian", "gaussian"]})], "--mechanism [gaussian, gaussian] must hold one value"),
        ([*flags({"mechanism": "tests/conformance/own_components.py:SilentMechanism"})], "--mechanism tests/conformance/own_components.py:SilentMechanism must say that it is sound here"),
        ([*flags({"delta": 0.05})], "--delta 0.05 must be below 1/clients = 0.05 for 20 clients (a delta of 1/n allows giving one client away whole; write 1.0e-3)"),
        ([*flags({"delta": 0.001, "unit": "record"})], "--delta 0.001 must be below 1/records = 0.0006954 for 1438 records"),
        ([*flags(LOCAL | {"delta": 0.001})], "--delta 0.001 must be below 1/records = 0.0006954 for 1438 records"),
        (ASKED, "--delta must be given (or --population, from which one is suggested)"),
        ([*ASKED, "--sampling", "cyclic", "--delta", "1e-5"], "--population must be given with --sampling cyclic"),
        ([*ASKED, "--sampling", "shuffled", "--sample-size", "5", "--population", "4"], "--sample-size 5 must be at most --population 4"),
        ([*ASKED, "--delta", "1e-5", "--mechanism", "{name: gaussian, bits: 3}"], "--mechanism bits = 3 must be left out (there are no such keys)"),
        ([*ASKED, "--sample-size", "4", "--sampling-rate", "0.1", "--population", "9"], "--sample-size 4 must not stand beside --sampling-rate"),
        ([*ASKED, "--clients", "4", "--population", "9"], "--clients 4 must not stand beside --unit client --trust central (--population counts them)"),
        ([*ASKED, "--delta", "1e-5", "--local-steps", "4"], "--local-steps 4 must not stand beside --unit client --trust central (no epsilon depends on it there)"),
        ([*ASKED, "--records", "4,5", "--population", "9"], "--records [4, 5] must not stand beside --unit client --trust central"),
        ([*flags(LOCAL), "--population", "21"], "must be one number, or 21 (--population counts the clients)"),
        ([*flags({"noise_multiplier": 0, "trust": "local"})], "--trust local must come with noise"),
        ([*flags(LOCAL), "--clients", "20"], "--clients 20 must not stand beside --unit record --trust local (--population counts them)"),
    ],
)  # fmt: skip
def test_a_refusal_is_a_line_with_flag_value_reason_and_way_out(arguments, said, capsys):
    (line,) = refused(capsys, *arguments)
    assert said in line


def test_all_that_is_missing_is_said_at_once(capsys):
    lines = refused(capsys, *ASKED, "--unit", "record", "--trust", "distributed", "--mechanism", "skellam")
    assert [line.split()[0] for line in lines] == ["--population", "--clients", "--parameters", "--delta"]


@pytest.mark.parametrize(("units", "delta"), [(1, 0.1), (100, 1e-3), (101, 1e-4), (1000, 1e-4), (60_000, 1e-6)])
def test_the_suggested_delta_is_the_largest_power_of_ten_up_to_a_tenth_of_one_unit(units, delta):
    assert suggested_delta(units) == delta


def test_a_missing_delta_is_suggested_with_its_rule(capsys):
    said = answer(capsys, "epsilon", *ASKED, "--population", "768")
    assert said["delta"] == 1e-4
    assert said["delta_rule"] == "suggested: the largest power of ten that is at most a tenth of 1/clients = 1/768"
    again = answer(capsys, "epsilon", *ASKED, "--population", "768", "--delta", "1e-4")
    assert again == said | {"delta_rule": None}


@pytest.mark.parametrize(
    "keys", [{"unit": "record"}, LOCAL, {"unit": "record", "trust": "distributed", "mechanism": SKELLAM}]
)
def test_delta_is_suggested_by_the_number_of_records_where_they_are_protected(keys):
    arguments = flags(keys)
    place = arguments.index("--delta")
    assert of_flags([*arguments[:place], *arguments[place + 2 :]]).delta == suggested_delta(RECORDS) == 1e-5


def test_without_noise_no_delta_is_needed(capsys):
    said = answer(capsys, "epsilon", "--noise-multiplier", "0", "--rounds", "6", "--explain")
    assert (said["delta"], said["delta_rule"], said["private"]) == (None, None, False)
    assert said["explanation"]["promise"].startswith("Nothing is promised")


def test_an_explanation_of_no_epsilon_promises_nothing(capsys):
    assert main(["epsilon", "--noise-multiplier", "0.01", "--rounds", "10", "--delta", "1e-5", "--explain"]) == 0
    promise = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("promise"))
    assert "Nothing is promised, for no epsilon is proven: all of delta = 1e-05 and more is spent" in promise


@pytest.mark.parametrize("keys", [{"unit": "record"}, {"unit": "record", "trust": "distributed", "mechanism": SKELLAM}])
def test_an_explanation_counts_on_secrecy_only_where_participation_is_secret(keys, capsys):
    said = {
        secrecy: answer(capsys, "epsilon", *flags(keys | {"participation": secrecy}), "--explain")["explanation"]
        for secrecy in ("secret", "seen")
    }
    words = "keeps secret who took part" if len(keys) == 1 else "tells nobody which"
    assert words in said["secret"]["assumption"]
    assert words not in said["seen"]["assumption"]
    assert said["seen"]["adversary"] != said["secret"]["adversary"]


def test_an_explanation_names_unit_adjacency_rate_rounds_and_the_parts_of_delta(capsys):
    said = answer(capsys, "epsilon", *flags({"trust": "local"}), "--explain")
    explained = said["explanation"]
    assert explained["unit"].startswith("client: one client with all its records")
    assert explained["adjacency"] == "replace_one: the unit holds these data or any others: the larger change"
    assert (explained["inclusion_probability"], explained["rounds"], explained["sensitivity"]) == (0.2, 6, 2.0)
    assert explained["relative_noise"] == 1.5
    assert sum(explained["delta"].values()) == pytest.approx(1e-5, rel=1e-12)
    words = "Everybody, the server included, learns which data an institution contributed only within "
    assert explained["promise"] == f"{words}epsilon = {rounded_up(said['epsilon']):g}, but for delta = 1e-05."
    assert main(["epsilon", *flags({"trust": "local"}), "--explain"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^{name} +\S", text, re.MULTILINE) for name in explained)
    assert explained["promise"] in text


def test_an_epsilon_in_a_sentence_is_never_smaller_than_the_one_that_is_proved():
    assert all(x <= rounded_up(x) <= 1.001 * x for x in (1.23401, 0.0012345, 999.91, 8.0, 314159.0))


def test_who_proved_it_is_said(capsys):
    own = {"algorithm": "tests/conformance/own_components.py:Mindful", "participation": "seen"}
    assert answer(capsys, "epsilon", *flags(own))["proved_by"] == "its author"
    assert answer(capsys, "epsilon", *flags({}))["proved_by"] == "fedpareto"


def test_calibrate_answers_for_them_too(capsys):
    keys = SHARES | {"mechanism": SKELLAM}
    arguments = flags(keys)
    place = arguments.index("--noise-multiplier")
    arguments[place : place + 2] = ["--epsilon", "4", "--accountant", "rdp"]
    said = answer(capsys, "calibrate", *arguments)
    assert 3.99 < said["epsilon_rdp"] <= 4
    again = answer(capsys, "epsilon", *flags(keys | {"noise_multiplier": said["noise_multiplier"]}))
    assert again["epsilon_rdp"] == said["epsilon_rdp"]


# docs/privacy.md has the same text.


def cells(heading):
    """The rows of the table of the page that begins with a heading, as lists of cells without quotes."""
    lines = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_the_rows_of_the_table_of_theorems():
    rows = cells("| mechanism | unit, trust |")
    assert [(row[0], row[-2]) for row in rows] == [(theorem.mechanism, theorem.source) for theorem in THEOREMS]
    assert list(ROWS) == [row[0] for row in rows]


def test_the_page_has_the_words_of_the_explanation():
    words = {row[1]: row[2] for row in cells("| word | values |")}
    assert {word: words[word] for word in adversary.UNITS} == adversary.UNITS
    assert {word: words[word] for word in adversary.ADJACENCIES} == adversary.ADJACENCIES
    rows = cells("| unit | trust | who adds the noise |")
    assert {(row[0], row[1]): row[2] for row in rows} == adversary.NOISED_BY
    secrets = cells("| adjacency | unit: client | unit: record |")
    assert {row[0]: {"client": row[1], "record": row[2]} for row in secrets} == adversary.SECRETS


def test_the_page_has_the_sentences_of_an_impact_assessment():
    text = " ".join(PAGE.replace("`", "").split())
    for unit, trust in adversary.PROMISES:
        adjacency = "replace_one" if unit == "client" and trust != "central" else "add_or_remove_one"
        sentence = adversary.promise(unit, trust, adjacency)
        assert f"- **{unit}, {trust}.** *{sentence}* Assumption: {adversary.assumption(unit, trust, None)}" in text


# No combination of flags ends in a traceback.

OFTEN = {
    "unit": ["client", "record"],
    "trust": ["central", "distributed", "local"],
    "sampling": ["poisson", "fixed_size", "shuffled", "cyclic", "x"],
    "participation": ["secret", "seen"],
    "mechanism": ["gaussian", "skellam", '{"name": "discrete_gaussian", "bits": 4}', "{name: banded, bands: 1}", "{", "[]", "null", "./no.py:X", "[gaussian, skellam]", "{name: 3}"],
    "clipping": ["adaptive", "{name: adaptive, count_noise: 0.01}", "{name: adaptive, quantile: 2}", "1"],
    "algorithm": ["fedprox", "scaffold", "local_only"],
    "weighting": ["examples", "{name: examples, cap: 10}"],
    "preprocessing": ["pca", "{name: data_norm, noise_multiplier: 2}", "rescale", "no", "&a [*a]"],
    "sampling-rate": ["0.1", "1", "0", "2"],
    "sample-size": ["1", "5", "1000", "0"],
    "population": ["1", "10", "2147483647", "0", "1e3"],
    "clients": ["1", "5"],
    "parameters": ["1", "2147483647"],
    "records": ["5", "1,2,3", "1,x", "", ",", "2147483647", "-1"],
    "local-steps": ["1", "2147483647"],
    "batch-size": ["1", "2147483647"],
    "rounds": ["1", "0", "2147483647"],
    "delta": ["1e-5", "0.5", "1e-100", "1", "nan"],
    "noise-multiplier": ["0", "1", "1e6"],
    "epsilon": ["8", "0.01"],
    "accountant": ["rdp", "pld"],
}  # fmt: skip


@given(
    st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in OFTEN.items()}),
    st.sampled_from(["epsilon", "calibrate"]),
)
@settings(max_examples=250, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_combination_of_flags_ends_in_a_traceback(capsys, monkeypatch, chosen, verb):
    # A plan is made of every sound combination; how long a large one takes to account for is another question.
    monkeypatch.setattr("fedpareto.cli.epsilon.account", planned)
    asked = {"epsilon": {"noise-multiplier": "3"}, "calibrate": {"epsilon": "8"}}[verb] | {"rounds": "5"}
    others = {"epsilon": ("epsilon", "accountant"), "calibrate": ("noise-multiplier",)}[verb]
    said = asked | {key: value for key, value in chosen.items() if key not in others}
    try:
        status = main([verb, *(part for key, value in said.items() for part in (f"--{key}", value))])
    except SystemExit as stop:
        status = stop.code
    lines = capsys.readouterr().err.splitlines()
    assert status == 2
    assert lines
    assert all(len(line) < 500 and line.startswith(f"fedpareto {verb}: ") for line in lines)


def planned(bundle, sizes):
    """Makes the plan that is accounted for."""
    privacy_plan(bundle.runs[0], sizes)
    raise FlagError("a plan was made")
