"""JAX is started with the package's own settings, whatever the user's shell says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from fedpareto.cli.main import main
from fedpareto.components import provenance
from fedpareto.config import load as config
from fedpareto.data import arrays
from fedpareto.data.arrays import PreparedData
from fedpareto.sweep import sweep as plan
from fedpareto.sweep.account import account, to_json
from fedpareto.system import environment, jax_settings
from fedpareto.system.jax_settings import SettingsError

SOURCE = Path(__file__).parents[2] / "src"
# What people do set, and what came of it: tracebacks, or other numbers without a word.
MEANT = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEBUG_NANS": "True",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DISABLE_JIT": "1",
    "JAX_TRANSFER_GUARD": "disallow",
    "NVIDIA_TF32_OVERRIDE": "1",
    "FLAX_FIX_RNG_SEPARATOR": "1",
    "FLAX_RETURN_FROZENDICT": "1",
}
# Of all options of this JAX, those that a shell may set.
FREE = {
    *("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES", "JAX_CUDA_VISIBLE_DEVICES"),
    *("JAX_ROCM_VISIBLE_DEVICES", "JAX_ONEAPI_VISIBLE_DEVICES", "JAX_COMPILATION_CACHE_CHECK_CONTENTS"),
    *("JAX_COMPILATION_CACHE_DIR", "JAX_COMPILATION_CACHE_EXPECT_PGLE", "JAX_COMPILATION_CACHE_MAX_SIZE"),
    *("JAX_COMPILATION_CACHE_INCLUDE_METADATA_IN_KEY", "JAX_ENABLE_COMPILATION_CACHE", "JAX_EXPLAIN_CACHE_MISSES"),
    *("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"),
    *("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "JAX_RAISE_PERSISTENT_CACHE_ERRORS", "JAX_LOG_COMPILES"),
    *("JAX_LOGGING_LEVEL", "JAX_DEBUG_LOG_MODULES", "JAX_COMPILER_DETAILED_LOGGING_MIN_OPS", "JAX_DUMP_IR_MODES"),
    *("JAX_DUMP_IR_TO", "JAX_INCLUDE_DEBUG_INFO_IN_DUMPS", "JAX_TRACEBACK_FILTERING"),
    *("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "JAX_TRACER_ERROR_NUM_TRACEBACK_FRAMES", "JAX_PPRINT_USE_COLOR"),
}
OPTIONS = {name.upper() for name in jax.config.values}
TINY = """\
studies: {t: {dataset: digits, partition: iid, clients: 10, sampling_rate: 1, rounds: 2, model: logistic, batch_size: 8,
  client_learning_rate: 0.5, clip_norm: 1.0, noise_multiplier: 1.0, delta: 1.0e-4, seeds: 1, baselines: []}}
"""


def command(folder, *arguments, **variables):
    """Runs a verb in a shell with these variables."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX", "XLA"))}
    own = {"PYTHONPATH": str(SOURCE), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.run(
        [sys.executable, "-m", "fedpareto", *arguments],
        cwd=folder,
        env=clean | own | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Arguments that train one tiny run."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "config.yaml").write_text(TINY)
    (one,) = plan.plan_sweep(config.load([folder / "config.yaml"])).bundles.values()
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 64), np.float32), rng.integers(0, 10, 300).astype(np.int32)
    names = np.array([str(i) for i in range(10)])
    arrays.write(PreparedData(x[:200], y[:200], x[200:], y[200:], names), {}, folder / "d.npz", folder / "d.json")
    (folder / "spec.json").write_text(one.to_json())
    (folder / "privacy.json").write_text(to_json(account(one)))
    files = [part for name in ("spec", "privacy") for part in (f"--{name}", str(folder / f"{name}.json"))]
    return ["train", *files, "--data", str(folder / "d.npz"), "--output", "results/bundles/b"]


def trained(folder):
    """The numbers of the one run in a folder, and the fingerprint under which they are kept."""
    (home,) = (folder / "results" / "runs").iterdir()
    result = json.loads((home / "result.json").read_text())
    with np.load(home / "model.npz") as model:
        return result["metrics"], result["fingerprint"], {name: model[name].tobytes() for name in model.files}


def test_no_setting_of_the_shell_changes_a_bit(bundle, tmp_path):
    hostile = dict.fromkeys(OPTIONS - FREE, "nonsense") | MEANT | {"XLA_FLAGS": "--xla_dump_max_hlo_modules=1"}
    for folder, variables in ((tmp_path / "plain", {}), (tmp_path / "hostile", hostile)):
        folder.mkdir()
        done = command(folder, *bundle, **variables)
        assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: not taken from the shell")
    assert set(line.partition(": not ")[2].partition(": ")[2].split(", ")) == {*hostile} - {"XLA_FLAGS"}
    assert trained(tmp_path / "plain") == trained(tmp_path / "hostile")


@pytest.mark.parametrize(
    "flags",
    [
        "--xla_cpu_enable_fast_math=true",
        "--xla_cpu_enable_fast_math",
        "--xla_dump_to=/tmp/x --xla_cpu_enable_fast_math=1",
        "--xla_gpu_enable_fast_min_max=true",
        "--xla_cpu_enable_fast_math=false --xla_cpu_enable_fast_math=true",
    ],
)
@pytest.mark.parametrize("in_a_file", [False, True])
def test_fast_math_is_refused_in_one_line(flags, in_a_file, monkeypatch, tmp_path, capsys):
    (tmp_path / "flags").write_text(flags)
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags") if in_a_file else flags)
    assert main(["reproduce", "--list"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedpareto reproduce: XLA_FLAGS has --xla_")
    assert line.endswith("(take it out)")


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ("", ""),
        ("--xla_force_host_platform_device_count=8 --xla_dump_to=/tmp/x --xla_gpu_cuda_data_dir=/x", ""),
        ("--xla_gpu_autotune_level=0 --xla_dump_to=/tmp/x", "--xla_gpu_autotune_level=0"),
        (
            "--xla_cpu_enable_fast_math=false --xla_allow_excess_precision=false",
            "--xla_allow_excess_precision=false --xla_cpu_enable_fast_math=false",
        ),
    ],
)
def test_other_flags_make_other_runs_and_are_recorded(flags, kept, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    plain, libraries = provenance.fingerprint(provenance.sources("fedpareto.sweep.run")), provenance.versions()
    assert "XLA_FLAGS" not in libraries
    monkeypatch.setenv("XLA_FLAGS", flags)
    jax_settings.settle()
    assert provenance.versions() == libraries | ({"XLA_FLAGS": kept} if kept else {})
    assert (provenance.fingerprint(provenance.sources("fedpareto.sweep.run")) != plain) == bool(kept)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("JAX_NUM_CPU_DEVICES", value) for value in ("abc", "0", "-1", "2.5", "")),
        ("XLA_FLAGS", "no/such/file"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name} = {value} .*\(unset it.*\)$"):
        jax_settings.settle()


def test_a_platform_that_is_not_there_is_one_line(tmp_path, monkeypatch, bundle):
    found = json.loads(command(tmp_path, "doctor", "--json", JAX_PLATFORMS="cuda").stdout)
    assert any(
        line.startswith("JAX does not start with ") and "JAX_PLATFORMS=cuda" in line for line in found["problems"]
    )
    done = command(tmp_path, *bundle, JAX_PLATFORMS="nosuch")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("fedpareto train: JAX does not start with ")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(SettingsError, match=r"JAX_PLATFORMS=cuda.*no such device.*JAX_PLATFORMS=cpu"):
        environment.platform()


def test_nonsense_in_a_setting_that_is_free_is_one_line(tmp_path, bundle):
    done = command(tmp_path, *bundle, JAX_LOGGING_LEVEL="loud")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "JAX_LOGGING_LEVEL=loud" in line
