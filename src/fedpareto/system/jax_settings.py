"""The start of JAX: its devices, and the package's settings of everything that could change numbers, whatever the shell says.

Standard library only until it is started.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Variables that JAX, flax and the libraries below them read. `jax.config` reads those without a prefix, too.
_READ = re.compile(r"JAX|FLAX_|EAGER_CONSTANT_FOLDING$|CHECK_VMA$|MOCK_NUM_GPU_PROCESSES$|NVIDIA_TF32_OVERRIDE$")
# Of these, what changes no number: which devices, what is cached, what is said.
_KEPT = re.compile(
    r"JAX_(PLATFORMS|PLATFORM_NAME|NUM_CPU_DEVICES|(CUDA|ROCM|ONEAPI)_VISIBLE_DEVICES|SKIP_CUDA_CONSTRAINTS_CHECK"
    r"|COMPILATION_CACHE_\w+|ENABLE_COMPILATION_CACHE|PERSISTENT_CACHE_\w+|RAISE_PERSISTENT_CACHE_ERRORS|EXPLAIN_CACHE_MISSES"
    r"|LOGGING_LEVEL|LOG_COMPILES|DEBUG_LOG_MODULES|COMPILER_DETAILED_LOGGING_MIN_OPS|DUMP_IR_\w+|INCLUDE_DEBUG_INFO_IN_DUMPS"
    r"|TRACEBACK_FILTERING|TRACEBACK_IN_LOCATIONS_LIMIT|TRACER_ERROR_NUM_TRACEBACK_FRAMES|PPRINT_USE_COLOR)$"
    r"|FLAX_(FILTER_FRAMES|PROFILE|MAX_REPR_DEPTH)$"
)
# Flags of XLA that give up infinities and NaN, which clipping and the check for divergence rely on.
_UNSAFE = re.compile(r"--xla_\w*enable_fast_(math|min_max)$")
# Flags of XLA that change no number.
_HARMLESS = re.compile(
    r"--xla_(\w*dump\w*|\w*logging\w*|hlo_profile|force_host_platform_device_count|gpu_cuda_data_dir)$"
)


class SettingsError(RuntimeError):
    """A setting of the shell with which nothing can be computed; the message is one line with the way out."""


def settle() -> None:
    """Removes variables that would change numbers from the environment, and says so in one line on standard error.

    Raises:
      SettingsError: XLA's flags give up NaN, or the number of devices is none.
    """
    taken = sorted(name for name in os.environ if _READ.match(name) and not _KEPT.match(name))
    for name in taken:
        del os.environ[name]
    if taken:
        print(f"warning: not taken from the shell, for it could change numbers: {', '.join(taken)}", file=sys.stderr)
    for name, value in _flags().items():
        if _UNSAFE.match(name) and value.lower() not in ("false", "0"):
            raise SettingsError(
                f"XLA_FLAGS has {name}, with which NaN goes unseen and an update may exceed its clip norm (take it out)"
            )
    devices = os.environ.get("JAX_NUM_CPU_DEVICES")
    if devices is not None and not re.fullmatch(r"0*[1-9][0-9]*", devices):
        raise SettingsError(f"JAX_NUM_CPU_DEVICES = {devices} must be a whole number from 1 (unset it: one a core)")


def use_all_cores() -> None:
    """One XLA CPU device a core. Must be called before JAX starts; no effect where there is a GPU."""
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", available_cores())


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start() -> list[Any]:
    """Starts JAX and returns its devices: one a core, or the GPUs.

    Raises:
      SettingsError: It does not start with what the shell's variables say; they may name a device that is not there.
    """
    settle()
    try:
        use_all_cores()
        import jax

        return jax.local_devices()
    except (ValueError, RuntimeError, AssertionError) as error:  # a platform without its plugin is a bare assertion
        raise nothing_starts(error) from error


def flags() -> str:
    """The flags of XLA that may change numbers, as text; empty where there are none."""
    return " ".join(f"{name}={value}" for name, value in sorted(_flags().items()) if not _HARMLESS.match(name))


def nothing_starts(reason: object, environ: Mapping[str, str] = os.environ) -> SettingsError:
    """The error for a JAX that does not start: the variables that it was given, and the way out."""
    settings = [f"{name}={value}" for name, value in environ.items() if _KEPT.match(name) or name == "XLA_FLAGS"]
    told = f" with {' '.join(sorted(settings))}" if settings else ""
    why = (str(reason).strip().splitlines() or [""])[-1]
    if why in ("", "AssertionError"):
        why = "there is no such device, or its plugin is not installed"
    return SettingsError(f"JAX does not start{told}: {why} (unset or correct it; JAX_PLATFORMS=cpu trains on the CPU)")


def _flags() -> dict[str, str]:
    """XLA's flags by name, the last of a name as XLA takes it. The variable may also name a file of flags."""
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("--"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SettingsError(f"XLA_FLAGS = {text} is neither flags (--...) nor a file of them (unset it)") from error
    parts = (flag.partition("=") for flag in text.split())
    return {name: value if equals else "true" for name, equals, value in parts}
